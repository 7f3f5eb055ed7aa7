"""Bytes to JSON with exactly one meaning, or ``Malformed`` with the place of the fault.

Stricter than RFC 8259 where readers differ: duplicate keys, keys that differ only by case or
compatibility form, numbers that a 64-bit reader would change, lone surrogates, a byte order mark.
What passes is what policy judges and what the target receives.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import NoReturn

from gateway.errors import Malformed, TooLarge
from gateway.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonBounds:
    bytes: int = 1_048_576
    depth: int = 64
    keys: int = 10_000
    key_length: int = 256


# Possessive and with an optional end, so that no text makes it go back or start over.
_TOKEN = re.compile(
    r'"(?P<body>[^"\\]*+(?:\\.[^"\\]*+)*+)(?P<end>"?)(?P<colon>[ \t\n\r]*+:)?|[\[\]{}]', re.DOTALL
)
_LEXEME = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[-+.0-9A-Za-z]+', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_INT64 = range(-(2**63), 2**63)
_MAX_NUMBER = 400  # characters


class _BadNumber(ValueError):
    def __init__(self, literal: str, why: str) -> None:
        super().__init__(why)
        self.literal = literal
        self.why = why


def parse(data: bytes, bounds: JsonBounds | None = None) -> Json:
    """The one value that ``data`` stands for. Raises ``TooLarge`` and ``Malformed``; the latter's
    ``extra["position"]`` counts characters from 0 (bytes where it is not UTF-8)."""
    bounds = bounds or JsonBounds()
    if len(data) > bounds.bytes:
        raise TooLarge(f"The body has more than {bounds.bytes} bytes.", limit=bounds.bytes)
    text = _decoded(data)
    try:
        return _plain(text, bounds)
    except _NotPlain:
        return _careful(text, bounds)


def _careful(text: str, bounds: JsonBounds) -> Json:
    _scan(text, bounds)
    try:
        return json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=_constant)
    except _BadNumber as error:
        _refuse(error.why, _place_of(error.literal, text))
    except json.JSONDecodeError as error:
        _refuse(error.msg, error.pos)


class _NotPlain(ValueError):
    """The text needs a closer look before anything can be said of it."""


def _plain(text: str, bounds: JsonBounds) -> Json:
    """The value of a text that is acceptable for certain: most are. Raises ``_NotPlain`` for every
    other, whatever is wrong with it, if anything is."""
    # No more brackets than levels, no more colons than keys: neither can be too many.
    if (
        "\\" in text
        or text.count("[") + text.count("{") > bounds.depth
        or text.count(":") > bounds.keys
    ):
        raise _NotPlain

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        folded = {key.lower() for key, _ in pairs}
        if len(folded) != len(pairs) or "__proto__" in folded:
            raise _NotPlain
        for key in folded:
            if len(key) > bounds.key_length or not key.isascii():
                raise _NotPlain
        return dict(pairs)

    try:
        return json.loads(
            text,
            object_pairs_hook=members,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise _NotPlain from None


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        _refuse("a byte order mark is not accepted", 0)
    zero = data.find(b"\0")
    if zero >= 0:
        _refuse("a NUL byte (JSON is UTF-8 here)", zero)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("not UTF-8", error.start)


def _scan(text: str, bounds: JsonBounds) -> None:
    """Depth, keys and strings in one pass without recursion, before anything is built."""
    seen: list[set[str] | None] = []
    keys = 0
    for match in _TOKEN.finditer(text):
        first = text[match.start()]
        if first in "[{":
            seen.append(set() if first == "{" else None)
            if len(seen) > bounds.depth:
                _refuse(f"nested deeper than {bounds.depth}", match.start())
        elif first in "]}":
            if seen:
                seen.pop()
        else:
            string = _string(match)
            names = seen[-1] if seen else None
            if match["colon"] is None or names is None:
                continue
            keys += 1
            if keys > bounds.keys:
                _refuse(f"more than {bounds.keys} keys", match.start())
            _note_key(string, names, match.start(), bounds)


def _string(match: re.Match[str]) -> str:
    body = match["body"]
    if not match["end"]:
        _refuse("a string without an end", match.start())
    if "\\" not in body:
        return body
    if match["colon"] is None and _SURROGATE.search(body) is None:
        return body  # a value: the parser reads its escapes
    try:
        string: str = json.loads(f'"{body}"')
        string.encode("utf-8")
    except UnicodeEncodeError:
        _refuse("a lone surrogate", match.start())
    except json.JSONDecodeError as error:
        _refuse(error.msg, match.start() + error.pos)
    return string


def _note_key(key: str, names: set[str], place: int, bounds: JsonBounds) -> None:
    if len(key) > bounds.key_length:
        _refuse(f"a key longer than {bounds.key_length} characters", place)
    if "\0" in key or key == "__proto__":
        _refuse("a key that is not accepted", place)
    folded = _folded(key)
    if folded in names:
        _refuse(
            "a key twice in one object (letter case and compatibility forms count as one)", place
        )
    names.add(folded)


def _folded(key: str) -> str:
    if key.isascii():
        return key.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())


def _integer(literal: str) -> int:
    if len(literal) > 20 or int(literal) not in _INT64:
        raise _BadNumber(literal, "an integer beyond 64 bit; send it as a string")
    return int(literal)


def _real(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise _BadNumber(literal, "a number beyond the range of a double")
    try:
        exact = len(literal) <= _MAX_NUMBER and Decimal(literal) == Decimal(repr(value))
    except InvalidOperation:
        exact = False
    if not exact:
        raise _BadNumber(literal, "a number that a double cannot hold; send it as a string")
    return value


def _constant(literal: str) -> NoReturn:
    raise _BadNumber(literal, f"{literal} is not JSON")


def _place_of(literal: str, text: str) -> int:
    return next((m.start() for m in _LEXEME.finditer(text) if m[0] == literal), 0)


def _refuse(why: str, position: int) -> NoReturn:
    raise Malformed(f"The body is not acceptable JSON: {why} (at {position}).", position=position)
