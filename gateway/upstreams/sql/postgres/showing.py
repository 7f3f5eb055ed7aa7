"""Row images for people: paired by key, a page at a time, values as the server writes them."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus, Format

from gateway.errors import ImageDamaged
from gateway.model import Json
from gateway.upstreams.sql.postgres.copying import Segments
from gateway.upstreams.sql.postgres.images import BINARY, Rows, TableImage
from gateway.upstreams.sql.postgres.session import Session

Raw = tuple[bytes | None, ...]
Texts = dict[str, str | None]

# Beyond this many rows the sides of a table are listed one after the other: pairing needs the keys
# of all of them at once.
_PAIRED = 200_000
_PARAMETERS = 30_000


@dataclass(slots=True)
class _Line:
    """One row of the page: as it is in the image."""

    image: TableImage
    before: Raw | None
    after: Raw | None


async def page(
    session: Session, images: Sequence[TableImage], pieces: Iterator[bytes], offset: int, limit: int
) -> list[Mapping[str, Json]]:
    """``{"resource", "key", "before", "after"}`` per row; without a key each side alone. Raises
    ``ImageDamaged``."""
    lines = await asyncio.to_thread(_lines, images, Segments(pieces), offset, limit)
    shown: list[Mapping[str, Json]] = []
    for image in images:
        own = [line for line in lines if line.image is image]
        raws = [raw for line in own for raw in (line.before, line.after) if raw is not None]
        texts = iter(await _texts(session, image, raws))
        for line in own:
            before = next(texts) if line.before is not None else None
            after = next(texts) if line.after is not None else None
            known = before or after or {}
            shown.append(
                {
                    "resource": image.resource,
                    "key": {name: known[name] for name in image.key} or None,
                    "before": before,
                    "after": after,
                }
            )
    return shown


def _lines(
    images: Sequence[TableImage], segments: Segments, offset: int, limit: int
) -> list[_Line]:
    found: list[_Line] = []
    at = 0  # the number of the next line over all tables
    for image in images:
        at = _table(image, segments, found, at, offset, offset + limit)
    segments.drain()
    return found


def _table(
    image: TableImage, segments: Segments, found: list[_Line], at: int, start: int, end: int
) -> int:
    numbers = [i for i, c in enumerate(image.columns) if c.name in image.key]
    paired = bool(numbers) and max(image.before.count, image.after.count) <= _PAIRED
    keys: dict[Raw, _Line | None] = {}
    for raw in _rows(image, image.before, segments):
        line = _Line(image, raw, None) if start <= at < end else None
        if line is not None:
            found.append(line)
        if paired:
            keys[tuple(raw[n] for n in numbers)] = line
        at += 1
    for raw in _rows(image, image.after, segments):
        key = tuple(raw[n] for n in numbers)
        if paired and key in keys:
            line = keys.pop(key)
            if line is not None:
                line.after = raw
            continue
        if start <= at < end:
            found.append(_Line(image, None, raw))
        at += 1
    return at


# --- values ---------------------------------------------------------------------------------


def _rows(image: TableImage, rows: Rows, segments: Segments) -> Iterator[Raw]:
    if not rows.count:
        return iter(())
    pieces = segments.part(rows.offset, rows.size)
    return (_binary if image.coding == BINARY else _text)(pieces, len(image.columns))


def _binary(pieces: Iterable[bytes], width: int) -> Iterator[Raw]:
    held = b""
    for piece in pieces:
        held += piece
        at = 0
        while (row := _tuple(held, at, width)) is not None:
            values, at = row
            yield values
        held = held[at:]
    if held:
        raise ImageDamaged("The images of this call are not complete.")


def _tuple(held: bytes, at: int, width: int) -> tuple[Raw, int] | None:
    """One row and where the next one begins; ``None`` where it is not all there yet."""
    if len(held) - at < 2:
        return None
    if struct.unpack_from("!h", held, at)[0] != width:
        raise ImageDamaged("The images of this call cannot be read.")
    at += 2
    values: list[bytes | None] = []
    for _ in range(width):
        if len(held) - at < 4:
            return None
        (length,) = struct.unpack_from("!i", held, at)
        at += 4
        if length > len(held) - at:
            return None
        values.append(None if length < 0 else held[at : at + length])
        at += max(length, 0)
    return tuple(values), at


_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _text(pieces: Iterable[bytes], width: int) -> Iterator[Raw]:
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            values = tuple(map(_field, line.split(b"\t")))
            if len(values) != width:
                raise ImageDamaged("The images of this call cannot be read.")
            yield values
    if held:
        raise ImageDamaged("The images of this call are not complete.")


def _field(text: bytes) -> bytes | None:
    if text == b"\\N":
        return None
    return _ESCAPE.sub(lambda m: _CONTROL.get(m.group(1), m.group(1)), text)


async def _texts(session: Session, image: TableImage, raws: Sequence[Raw]) -> list[Texts]:
    names = [c.name for c in image.columns]
    if image.coding != BINARY:
        return [dict(zip(names, map(_decoded, raw), strict=True)) for raw in raws]
    texts: list[Texts] = []
    step = max(1, _PARAMETERS // max(1, len(names)))
    for start in range(0, len(raws), step):
        some = raws[start : start + step]
        flat = await _asked(session, [c.oid for c in image.columns] * len(some), some)
        values = iter(flat)
        texts += [{name: next(values) for name in names} for _ in some]
    return texts


async def _asked(session: Session, oids: list[int], raws: Sequence[Raw]) -> list[str | None]:
    """The server's own text of values in binary; in hexadecimal where a type is no more."""
    values = [value for raw in raws for value in raw]
    array = ", ".join(f"${n}::text" for n in range(1, len(values) + 1))
    pgconn = session.connection.pgconn
    async with session.connection.lock:
        pgconn.send_query_params(
            f"SELECT pg_catalog.unnest(ARRAY[{array}])".encode(),
            values,
            param_types=oids,
            param_formats=[Format.BINARY] * len(values),
        )
        results = await session.connection.wait(generators.execute(pgconn))
    result = results[-1]
    if result.status == ExecStatus.TUPLES_OK:
        return [_decoded(result.get_value(row, 0)) for row in range(result.ntuples)]
    error = psycopg.errors.error_from_result(result)
    if isinstance(error, psycopg.OperationalError):
        raise error
    return [None if value is None else f"\\x{value.hex()}" for value in values]


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
