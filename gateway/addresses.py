"""Paths and queries with exactly one meaning: what is judged is what is matched and what is sent.

A path or query that two readers could take for two different things is refused (``Ambiguous``),
never repaired. What passes is decoded once, judged as text, and written again in one canonical
form; only that form leaves the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote_to_bytes

# A query as it was written: a name without ``=`` has no value.
Pairs = tuple[tuple[str, str | None], ...]

MOST_SEGMENTS = 64
MOST_PAIRS = 256

_PATH = re.compile(r"[!$&'()*+,\-./0-9:=@A-Z_a-z~%]*")
_QUERY = re.compile(r"[\x21-\x7e]*")
_LOOSE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FOREIGN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DOTS = re.compile(r"[. ]+")
_SAFE_IN_PATH = "-._~!$&'()*+,=:@"
_SAFE_IN_QUERY = "-._~!$'()*,:@/?"


class Ambiguous(ValueError):
    """Why this path or query is not accepted, for the one who sent it."""


def segments_of(path: str) -> tuple[str, ...]:
    """The decoded segments of an absolute path as it stood on the wire; a path that ends in a
    slash has an empty last one. Raises ``Ambiguous``."""
    if not path.startswith("/"):
        raise Ambiguous("a path begins with a slash")
    if ";" in path:
        raise Ambiguous("a path with ; parameters is read differently by different servers")
    if _PATH.fullmatch(path) is None:
        raise Ambiguous("a path has letters, digits, -._~!$&'()*+,=:@/ and % escapes only")
    pieces = path[1:].split("/")
    if len(pieces) > MOST_SEGMENTS:
        raise Ambiguous(f"a path has at most {MOST_SEGMENTS} segments")
    if "" in pieces[:-1]:
        raise Ambiguous("a path with // is read differently by different servers")
    return tuple(_segment(piece) for piece in pieces)


def _segment(piece: str) -> str:
    text = _decoded(piece, "path") if "%" in piece else piece
    if any(sign in text for sign in "/\\;"):
        raise Ambiguous("an escaped slash, backslash or ; in a path is not accepted")
    if _CONTROL.search(text):
        raise Ambiguous("a control character in a path is not accepted")
    if _ESCAPE.search(text):
        raise Ambiguous("a path that is escaped twice is not accepted")
    if _DOTS.fullmatch(text):
        raise Ambiguous("a path with dot segments is not accepted")
    return text


def _decoded(piece: str, what: str) -> str:
    if _LOOSE_PERCENT.search(piece):
        raise Ambiguous(f"a % in a {what} is followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(piece).decode("utf-8")
    except UnicodeDecodeError:
        raise Ambiguous(f"the escapes in a {what} must be UTF-8") from None


def path_from(segments: Iterable[str]) -> str:
    """The canonical path of decoded ``segments``."""
    return "/" + "/".join(quote(segment, safe=_SAFE_IN_PATH) for segment in segments)


def query_of(query: str) -> Pairs:
    """The decoded pairs of a query as it stood on the wire, in its order. Raises ``Ambiguous``."""
    if not query:
        return ()
    if _QUERY.fullmatch(query) is None:
        raise Ambiguous("a query has printable ASCII characters only")
    for sign, name in (("#", "#"), ("\\", "backslash"), (";", ";")):
        if sign in query:
            raise Ambiguous(f"a bare {name} in a query is not accepted; escape it")
    pairs = tuple(_pair(piece) for piece in query.split("&") if piece)
    if len(pairs) > MOST_PAIRS:
        raise Ambiguous(f"a query has at most {MOST_PAIRS} parameters")
    return pairs


def _pair(piece: str) -> tuple[str, str | None]:
    name, equals, value = piece.partition("=")
    return _text(name), _text(value) if equals else None


def _text(piece: str) -> str:
    text = piece.replace("+", " ")
    text = _decoded(text, "query") if "%" in text else text
    if _FOREIGN.search(text):
        raise Ambiguous("a control character in a query is not accepted")
    return text


def query_from(pairs: Iterable[Sequence[str | None]]) -> str:
    """The canonical query of decoded ``pairs``; empty without any."""
    return "&".join(_written(*pair) for pair in pairs)


def _written(name: str | None, value: str | None) -> str:
    left = quote(name or "", safe=_SAFE_IN_QUERY)
    return left if value is None else f"{left}={quote(value, safe=_SAFE_IN_QUERY)}"


def by_name(pairs: Iterable[Sequence[str | None]]) -> dict[str, list[str | None]]:
    """Every value of every name, in order: how policy sees a query."""
    found: dict[str, list[str | None]] = {}
    for name, value in pairs:
        found.setdefault(name or "", []).append(value)
    return found
