"""Which columns are not shown, and values without them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from gateway.model.actions import EXECUTE, Action, ActionClass, Effect, Json

REDACTED = "[redacted]"
_ROWS = ("before", "after", "now", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """``patterns``: ``column``, ``table.column`` or ``schema.table.column``, in any case; ``*``
    stands for any characters of a part. What a pattern does not name matches everything."""

    patterns: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __or__(self, other: Redaction) -> Redaction:
        return Redaction(patterns=tuple(dict.fromkeys((*self.patterns, *other.patterns))))

    def covers(self, resource: str, column: str) -> bool:
        """``resource``: ``schema.table``, or whatever else names where a value is from."""
        return any(_matches(pattern, resource, column) for pattern in self.patterns)

    def touches(self, resource: str) -> bool:
        """Whether some column of ``resource`` might be covered."""
        return any(_at(pattern, resource) for pattern in self.patterns)

    def reached_by(self, action: Action) -> bool:
        """Whether ``action`` could show a covered column."""
        reads = action.cls is ActionClass.READ
        return any(self._reached(effect, reads) for effect in action.effects)

    def reached_by_json(self, action: Mapping[str, Json] | None) -> bool:
        """``reached_by`` for an action as it is recorded."""
        if not self.patterns or action is None:
            return False
        reads = action.get("class") == ActionClass.READ
        return any(
            self._reached(
                Effect(
                    verb=str(told.get("verb")),
                    kind=str(told.get("kind")),
                    name=str(told.get("name")),
                    columns=tuple(told.get("columns") or ()),
                ),
                reads,
            )
            for told in action.get("effects") or ()
        )

    def _reached(self, effect: Effect, reads: bool) -> bool:
        if effect.verb == EXECUTE:  # what code reads is not known
            return True
        if effect.kind not in ("table", "view"):
            return False
        if reads and "*" not in effect.columns:
            return any(self.covers(effect.name, column) for column in effect.columns)
        # What a write returns is not among the columns that it sets.
        return self.touches(effect.name)

    def image(self, shown: Mapping[str, Json]) -> dict[str, Json]:
        """An image or a conflict (``{"resource", "key", "before", "after", "now"}``) as it may be
        shown. The one function for every view of them."""
        if not self.patterns:
            return dict(shown)
        resource = str(shown.get("resource", ""))
        return {
            name: self._hidden(resource, value) if name in _ROWS else value
            for name, value in shown.items()
        }

    def _hidden(self, resource: str, value: Json) -> Json:
        if isinstance(value, Mapping):
            return {
                name: REDACTED
                if self.covers(resource, str(name))
                else self._hidden(resource, member)
                for name, member in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._hidden(resource, member) for member in value]
        return value

    def result(self, result: Mapping[str, Json] | None) -> dict[str, Json] | None:
        """A result of SQL none of whose values may be shown: where its columns are from is not
        known any more."""
        if result is None:
            return None
        if isinstance(result.get("results"), list):
            return {**result, "results": [self.result(one) for one in result["results"]]}
        rows = result.get("rows")
        hidden = [[REDACTED for _ in row] for row in rows] if isinstance(rows, list) else rows
        return {**result, "rows": hidden} if "rows" in result else dict(result)


@lru_cache(maxsize=4096)
def _parts(pattern: str) -> tuple[re.Pattern[str], ...]:
    """Column first, then table, then schema."""
    return tuple(
        re.compile(re.escape(part.casefold()).replace(r"\*", ".*"), re.DOTALL)
        for part in reversed(pattern.split("."))
    )


def _matches(pattern: str, resource: str, column: str) -> bool:
    name = _parts(pattern)[0]
    return name.fullmatch(column.casefold()) is not None and _at(pattern, resource)


def _at(pattern: str, resource: str) -> bool:
    where = _parts(pattern)[1:]
    schema, _, table = resource.casefold().rpartition(".")
    have = (table, schema)
    return all(part.fullmatch(name) for part, name in zip(where, have, strict=False))
