"""What a read shows, and whether two reads show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.audit import canonical
from gateway.errors import UpstreamError
from gateway.model import Json
from gateway.upstreams.remote.transport import Answer

_GONE = (404, 410)
_ERROR = "holdfast:error"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """``view`` is ``None`` where there is nothing."""

    view: Mapping[str, Json] | None

    @classmethod
    def of(cls, answer: Answer) -> View:
        """Raises ``UpstreamError`` for an answer that shows neither a state nor its absence."""
        if answer.absent or answer.view.get("status") in _GONE:
            return cls(view=None)
        if answer.failed:
            status = answer.view.get("status")
            shown = "" if status is None else f" with status {status}"
            raise UpstreamError(f"The state cannot be read: the tool answers{shown} with an error.")
        return cls(view=answer.view)

    @classmethod
    def now(cls, answer: Answer) -> View:
        """``of`` for a read that is only compared: an error that a tool words itself (one without
        an HTTP status) is a state like any other, the same only where the words are the same. So
        "there is no note 'a'" after a call and now shows that nobody made one in between."""
        if answer.failed and not answer.absent and "status" not in answer.view:
            return cls(view={_ERROR: dict(answer.view)})
        return cls.of(answer)

    def state(self, ignore: Sequence[str]) -> bytes:
        """The bytes that are compared: headers and what is declared to change by itself left
        out."""
        if self.view is None:
            return b"absent"
        kept: Json = {name: value for name, value in self.view.items() if name != "headers"}
        for path in ignore:
            kept = _without(kept, path.split("."))
        return b"present" + canonical(kept)

    def same(self, other: View, ignore: Sequence[str]) -> bool:
        return self.state(ignore) == other.state(ignore)


def _without(value: Json, path: Sequence[str]) -> Json:
    """``value`` without what stands at ``path``; every item of a list on the way is meant."""
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: member for name, member in value.items() if name != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}
