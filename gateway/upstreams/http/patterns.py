"""Which route a method and a path belong to: never more than one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.addresses import Ambiguous, segments_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")


@dataclass(frozen=True, slots=True)
class Variable:
    """Stands for one whole segment."""

    name: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """``segments`` are decoded texts and variables."""

    method: str
    segments: tuple[str | Variable, ...]

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(s.name for s in self.segments if isinstance(s, Variable))

    @property
    def literals(self) -> int:
        return sum(isinstance(s, str) for s in self.segments)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The variables' values, or ``None``. A variable is never empty."""
        if len(segments) != len(self.segments):
            return None
        found: dict[str, str] = {}
        for want, have in zip(self.segments, segments, strict=True):
            if isinstance(want, Variable):
                if not have:
                    return None
                found[want.name] = have
            elif want != have:
                return None
        return found

    def covers(self, other: Pattern) -> bool:
        """Whether every path that ``other`` matches is matched by this one too."""
        return self._alike(other) and all(
            isinstance(mine, Variable) or mine == theirs
            for mine, theirs in zip(self.segments, other.segments, strict=True)
        )

    def meets(self, other: Pattern) -> bool:
        """Whether some path is matched by both."""
        return self._alike(other) and all(
            isinstance(mine, Variable) or isinstance(theirs, Variable) or mine == theirs
            for mine, theirs in zip(self.segments, other.segments, strict=True)
        )

    def _alike(self, other: Pattern) -> bool:
        return self.method == other.method and len(self.segments) == len(other.segments)


def pattern_of(match: str) -> Pattern:
    """``DELETE /customers/{id}``. Raises ``Ambiguous``."""
    method, _, path = match.partition(" ")
    if method not in METHODS:
        raise Ambiguous(f"a route begins with one of {', '.join(METHODS)} and a space")
    if not path.startswith("/"):
        raise Ambiguous("the path of a route begins with a slash")
    segments: list[str | Variable] = []
    for piece in path[1:].split("/"):
        found = _VARIABLE.fullmatch(piece)
        if found is not None:
            segments.append(Variable(found[1]))
        elif "{" in piece or "}" in piece:
            raise Ambiguous("a variable such as {id} stands for one whole segment")
        else:
            segments.append(piece)
    literal = segments_of("/" + "/".join("x" if isinstance(s, Variable) else s for s in segments))
    segments = [s if isinstance(s, Variable) else t for s, t in zip(segments, literal, strict=True)]
    pattern = Pattern(method, tuple(segments))
    if len(pattern.variables) < sum(isinstance(s, Variable) for s in segments):
        raise Ambiguous("a variable is named once")
    return pattern


def clash(first: Pattern, second: Pattern) -> str | None:
    """Why both cannot be declared, or ``None``: one must be the special case of the other."""
    if not first.meets(second):
        return None
    if first.covers(second) and second.covers(first):
        return "matches the same requests"
    if first.covers(second) or second.covers(first):
        return None
    return "matches some of the same requests, and neither is a special case of the other"
