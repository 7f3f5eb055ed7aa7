"""Values of MariaDB's row format, as the binary log holds them, from their text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DIG = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes for so many decimal digits
_SCALES = (1_000_000, 10_000, 100, 1)  # what a fraction of so many bytes counts in, in microseconds
_MOMENT = re.compile(rb"(\d+)-(\d+)-(\d+)(?: (\d+):(\d+):(\d+)(?:\.(\d+))?)?")
_TIME = re.compile(rb"(-?)(\d+):(\d+):(\d+)(?:\.(\d+))?")


def decimal(text: bytes, digits: int, places: int) -> bytes:
    """Groups of nine digits, of which the first and the last may be shorter, big-endian; the sign
    is the first bit, and all bits of a negative number are turned."""
    negative = text.startswith(b"-")
    whole, _, rest = text.lstrip(b"-").partition(b".")
    left = whole.lstrip(b"0").rjust(digits - places, b"0")
    right = rest.ljust(places, b"0")
    first = (digits - places) % 9
    groups = [left[:first]] if first else []
    groups += [left[i : i + 9] for i in range(first, len(left), 9)]
    groups += [right[i : i + 9] for i in range(0, len(right), 9)]
    packed = bytearray(b"".join(int(g or 0).to_bytes(_DIG[len(g)], "big") for g in groups))
    packed[0] ^= 0x80
    return bytes(b ^ 0xFF for b in packed) if negative else bytes(packed)


def year(text: bytes) -> bytes:
    number = int(text)
    return bytes((number - 1900 if number else 0,))


def date(text: bytes) -> bytes:
    y, m, d = _parts(text)[:3]
    return (y << 9 | m << 5 | d).to_bytes(3, "little")


def moment(text: bytes, fraction: int) -> bytes:
    y, m, d, hour, minute, second, micro = _parts(text)
    number = ((y * 13 + m) << 5 | d) << 17 | hour << 12 | minute << 6 | second
    return (number + (1 << 39)).to_bytes(5, "big") + _fraction(micro, fraction)


def stamp(text: bytes, fraction: int) -> bytes:
    """In UTC, as sessions are pinned to."""
    y, m, d, hour, minute, second, micro = _parts(text)
    seconds = 0
    if y:
        seconds = int(datetime(y, m, d, hour, minute, second, tzinfo=UTC).timestamp())
    return seconds.to_bytes(4, "big") + _fraction(micro, fraction)


def time_of_day(text: bytes, fraction: int) -> bytes:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("this is no time")
    sign, hour, minute, second, rest = found.groups()
    size = (fraction + 1) // 2
    number = (int(hour) << 12 | int(minute) << 6 | int(second)) << 8 * size
    number |= int.from_bytes(_fraction(_micro(rest), fraction), "big")
    number = (1 << (23 + 8 * size)) + (-number if sign else number)
    return number.to_bytes(3 + size, "big")


def _fraction(micro: int, fraction: int) -> bytes:
    size = (fraction + 1) // 2
    return (micro // _SCALES[size]).to_bytes(size, "big")


def _micro(digits: bytes | None) -> int:
    return int((digits or b"").ljust(6, b"0"))


def _parts(text: bytes) -> tuple[int, ...]:
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("this is no date")
    numbers = [int(part or 0) for part in found.groups()[:6]]
    return (*numbers, _micro(found[7]))
