"""Result values as JSON. What JSON numbers cannot hold exactly comes as a string; the type that is
named beside the column says how to read it."""

from __future__ import annotations

import math

from gateway.model import Json

# Readers of JSON keep numbers as doubles: integers are exact up to here.
_EXACT = 2**53 - 1

_BOOLEANS = frozenset({"bool", "boolean"})
_SMALL_INTEGERS = frozenset({"int2", "int4", "smallint", "integer"})
_FLOATS = frozenset({"float4", "float8", "real", "double precision"})


def render(value: object) -> Json:
    """A value as Python holds it (``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``).

    Integers beyond 2^53 - 1, NaN and the infinities come as strings, bytes as ``\\x`` and hex
    digits, anything else as its ``str``.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _special(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    return str(value)


def render_text(text: str | None, type_name: str) -> Json:
    """A value as PostgreSQL writes it. ``type_name``: the catalog's name (``int4``) or the
    standard's (``integer``).

    Booleans, 16 and 32 bit integers and finite floats become JSON's own; everything else,
    ``int8``, ``numeric`` and ``json`` included, stays the server's text.
    """
    if text is None:
        return None
    if type_name in _BOOLEANS:
        return {"t": True, "f": False, "true": True, "false": False}.get(text, text)
    if type_name in _SMALL_INTEGERS:
        return int(text)
    if type_name in _FLOATS:
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
