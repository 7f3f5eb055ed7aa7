"""Values and names as SQL that can only be read in one way: text as hexadecimal digits with its
character set, so that no quote or backslash is ever sent for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.model import Deny, Json


@dataclass(frozen=True, slots=True)
class Literal:
    """``text`` for the server; ``shown`` for sqlglot."""

    kind: str
    text: str
    shown: str


def quoted(*names: str) -> str:
    """A name, qualified when several are given."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def text_literal(raw: bytes, charset: str = "utf8mb4") -> str:
    """Text of a character set, byte for byte. Compares as a literal: the column's collation
    decides."""
    return f"_{charset} X'{raw.hex()}'"


def parameter(value: Json) -> Literal | Deny:
    """A bound value. ``malformed`` for lists, objects and what the server cannot hold."""
    if value is None:
        return Literal("word", "NULL", "NULL")
    if isinstance(value, bool):
        word = "TRUE" if value else "FALSE"
        return Literal("word", word, word)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            return _malformed("An integer parameter has more than 64 bits.")
        return _number(str(value), value < 0)
    if isinstance(value, float):
        if not math.isfinite(value):
            return _malformed("A parameter is not a finite number.")
        digits = repr(value)
        return _number(digits if "e" in digits else digits + "e0", math.copysign(1, value) < 0)
    if isinstance(value, str):
        try:
            return Literal("string", text_literal(value.encode()), "'_'")
        except UnicodeEncodeError:
            return _malformed("A text parameter holds a lone surrogate.")
    return _malformed("A parameter is null, a boolean, a number or a string.")


def _number(digits: str, negative: bool) -> Literal:
    text = f"({digits})" if negative else digits
    return Literal("other", text, text)


def _malformed(detail: str) -> Deny:
    return Deny(reason="malformed", detail=detail)
