"""Regular expressions of other people's schemas, matched in time linear in the text.

JSON Schema writes them as JavaScript does. The engine is Rust's, which has no backtracking: what it
cannot match without (look-around, references back) is refused, never skipped. Where the two read
the same signs differently, the pattern is written anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter
from pydantic_core import SchemaError, SchemaValidator

_LONGEST = 4_096
_WIDE = {"d": "[0-9]", "D": "[^0-9]", "w": "[A-Za-z0-9_]", "W": "[^A-Za-z0-9_]"}
_PLAIN = {"<": "<", ">": ">"}  # the engine takes these, escaped, for the edges of words
_ANY, _PROPERTY = 10, 500  # automaton states that one sign may need
_PIECE = re.compile(
    r"""
      (?P<escape>\\[pP]\{[^}]*\}|\\u\{[0-9A-Fa-f]+\}|\\.)
    | (?P<open>\((?:\?(?:P?<[A-Za-z_]\w*>|:))?)
    | (?P<close>\))
    | (?P<count>\{(?P<least>\d+)(?:,(?P<most>\d*))?\}|[*+?])
    | (?P<class>\[\^?)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_CLASS = re.compile(r"\\[pP]\{[^}]*\}|\\u\{[0-9A-Fa-f]+\}|\\.|.", re.DOTALL)


class PatternUnusable(ValueError):
    """The pattern cannot be matched in bounded time, or is none."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """``steps``: the most that one character of text may cost, some ten nanoseconds each."""

    steps: int
    _engine: SchemaValidator

    def found_in(self, text: str) -> bool:
        return self._engine.isinstance_python(text)


@lru_cache(maxsize=4_096)
def pattern(text: str) -> Pattern:
    """The pattern, ready to match. Raises ``PatternUnusable`` with the reason."""
    if len(text) > _LONGEST:
        raise PatternUnusable(f"it is longer than {_LONGEST} characters")
    written = _Writer(text).write()
    kind = Annotated[str, StringConstraints(pattern=written.text, strict=True)]
    try:
        engine = TypeAdapter(kind).validator
    except SchemaError as error:
        # The last line says what is wrong; those before it quote the pattern.
        raise PatternUnusable(str(error).rstrip().splitlines()[-1].strip()) from None
    if not isinstance(engine, SchemaValidator):
        raise PatternUnusable("it cannot be compiled")
    return Pattern(written.steps, engine)


@dataclass(frozen=True, slots=True)
class _Written:
    text: str
    steps: int


class _Writer:
    """Writes a pattern for the engine, sign by sign, and counts how large its automaton gets."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._out: list[str] = []
        self._groups: list[list[int]] = [[]]  # the sizes of the parts of each open group

    def write(self) -> _Written:
        while self._at < len(self._text):
            piece = _PIECE.match(self._text, self._at)
            if piece is None:
                raise PatternUnusable("it is not a regular expression")
            self._at = piece.end()
            self._take(piece)
        if len(self._groups) != 1:
            raise PatternUnusable("a group is not closed")
        return _Written("".join(self._out), max(1, sum(self._groups[0])))

    def _take(self, piece: re.Match[str]) -> None:
        text, kind = piece.group(), piece.lastgroup
        if kind == "escape":
            self._one(_escaped(text), _size_of(text))
        elif kind == "class":
            self._one(text + self._members(), _ANY)
        elif kind == "open":
            self._out.append(text)
            self._groups.append([])
        elif kind == "close":
            self._close()
        elif piece["count"] is not None:
            self._count(piece)
        else:
            self._one(text, _ANY if text == "." else 1)

    def _one(self, text: str, size: int) -> None:
        self._out.append(text)
        self._groups[-1].append(size)

    def _close(self) -> None:
        if len(self._groups) == 1:
            raise PatternUnusable("a group is closed that was not opened")
        inner = sum(self._groups.pop())
        self._one(")", inner + 1)

    def _count(self, piece: re.Match[str]) -> None:
        self._out.append(piece["count"])
        sizes = self._groups[-1]
        if piece["least"] is not None and sizes:
            most = max(int(piece["least"]), int(piece["most"] or 0))
            sizes[-1] *= max(1, most)

    def _members(self) -> str:
        """What stands in a class, to its end: the engine would read sets in it."""
        out: list[str] = []
        while self._at < len(self._text):
            member = _IN_CLASS.match(self._text, self._at)
            if member is None:
                break
            self._at = member.end()
            sign = member.group()
            if sign == "]":
                return "".join(out) + "]"
            out.append(_escaped(sign) if len(sign) > 1 else _in_class(sign, out))
        raise PatternUnusable("a class is not closed")


def _in_class(sign: str, before: list[str]) -> str:
    twice = sign == "-" and before[-1:] == ["-"]
    return "\\" + sign if sign in "[&~" or twice else sign


def _escaped(text: str) -> str:
    return _WIDE.get(text[1:], _PLAIN.get(text[1:], text))


def _size_of(escape: str) -> int:
    return _PROPERTY if escape[1] in "pPsS" else _ANY
