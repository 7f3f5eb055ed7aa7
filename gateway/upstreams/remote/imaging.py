"""What is kept of a request so that it can be taken back, in the form that is stored.

``Image`` is durable before the request is sent. ``Left`` is what only its answer tells; it becomes
durable with the outcome. Neither ever holds a credential: the transport adds those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from gateway.errors import ImageDamaged
from gateway.model import Json, Reversibility, ToolClass, Undo
from gateway.upstreams.remote.views import View

KIND = "request"
_FORMAT = 1

Request = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """``request`` is what was sent. ``read`` shows the state that is compared, ``before`` what it
    showed (``None``: nothing was there). ``undo`` and ``verify`` are ``None`` where they need the
    answer. ``undo_safe``: ``undo`` may be sent twice; ``undo_keyed``: it takes
    a key. ``goal``: for a revert, what should stand
    after it. ``bare``: the request is whole without a payload that is not recorded.
    ``redo_declared``: the call's own request is not what brings its effect back.
    ``again``: the request without the condition (``If-Match``) that only fits ``before``."""

    plan: str
    resource: str
    tool_class: ToolClass
    request: Request
    before: Mapping[str, Json] | None = None
    read: Request | None = None
    undo: Request | None = None
    verify: Request | None = None
    undo_safe: bool = False
    undo_keyed: bool = False
    safe: bool = False
    ignore: tuple[str, ...] = ()
    goal: Mapping[str, Json] | None = None
    fence_s: float = 0.0
    key_kept_s: float = 0.0
    bare: bool = True
    again: Request | None = None
    redo_declared: bool = False
    redo_safe: bool = False

    @property
    def stood(self) -> View:
        return View(view=self.before)

    @property
    def tells(self) -> bool:
        """Of a compensation: whether the read shows a difference between before and after it."""
        return not self.stood.same(View(view=self.goal), self.ignore)

    def as_undo(self, upstream: str, reversibility: Reversibility) -> Undo:
        manifest = {"format": _FORMAT, "plan": self.plan, "resource": self.resource}
        body = {**asdict(self), "tool_class": self.tool_class.value}
        return Undo(
            upstream=upstream,
            kind=KIND,
            reversibility=reversibility,
            manifest=manifest,
            image=json.dumps(body, separators=(",", ":"), ensure_ascii=True).encode(),
        )

    @classmethod
    def of(cls, undo: Undo) -> Image:
        """Raises ``ImageDamaged`` for what another version or another kind of upstream kept."""
        if undo.kind != KIND or undo.manifest.get("format") != _FORMAT:
            raise ImageDamaged("It was captured in a form that this version does not read.")
        try:
            body = json.loads(undo.image)
            image = cls(**{**body, "tool_class": ToolClass(body["tool_class"])})
        except (ValueError, TypeError, KeyError):
            raise ImageDamaged("The stored request cannot be read.") from None
        return replace(image, ignore=tuple(image.ignore))


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """``undo`` and ``read`` are rendered with the answer where ``Image`` lacks them. ``after`` is
    the state that the call left; ``seen`` says whether it could be read. ``redo``: the declared
    request that leads there again."""

    undo: Request | None = None
    read: Request | None = None
    verify: Request | None = None
    after: Mapping[str, Json] | None = None
    seen: bool = False
    redo: Request | None = None

    def as_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def of(cls, undo: Undo) -> Left:
        """Nothing is known where the answer was never recorded."""
        answer = undo.answer
        return cls() if answer is None else cls(**{k: answer.get(k) for k in _LEFT})  # type: ignore[arg-type]


_LEFT = ("undo", "read", "verify", "after", "seen", "redo")
