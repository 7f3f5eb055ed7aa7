"""Row images of one call: what it changed, net, and the bytes they are kept as: lines of JSON, in
which integers and floats are exact and apart, blobs are ``{"b": hex}`` and undecodable text is
``{"t": hex}``, compressed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import zstandard

from gateway.errors import ImageDamaged
from gateway.model import Json
from gateway.upstreams.sql.sqlite.catalog import Shape
from gateway.upstreams.sql.sqlite.cells import Cell, RawText, Row, shown, shown_row
from gateway.upstreams.sql.sqlite.rows import Key

FORMAT = 1
_MAGIC = b"holdfast row images 1"
LINE_ROWS = 1000
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One row before and after; ``None`` where there was none. A row whose identity changed is
    two changes."""

    key: Key
    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableImage:
    shape: Shape
    changes: tuple[Change, ...]

    def resource(self) -> str:
        return f"main.{self.shape.name}"

    def key_shown(self, change: Change) -> Json:
        """The primary key where the table has one, the row id otherwise."""
        row = change.before or change.after
        if self.shape.key and row is not None:
            places = [self.shape.columns.index(c) for c in self.shape.key]
            return {c: shown(row[i]) for c, i in zip(self.shape.key, places, strict=True)}
        return {"rowid": shown(change.key[0])}

    def shown(self, change: Change) -> dict[str, Json]:
        return {
            "resource": self.resource(),
            "key": self.key_shown(change),
            "before": shown_row(self.shape.columns, change.before),
            "after": shown_row(self.shape.columns, change.after),
        }


class Packer:
    """Packs changes as they come, table by table, and holds none of them. ``max_bytes`` bounds what
    they take before compression."""

    def __init__(self, *, max_bytes: int) -> None:
        self._room = max_bytes
        self._packing = zstandard.ZstdCompressor(level=1).compressobj()
        self._parts = [self._packing.compress(_MAGIC)]
        self._tables: list[tuple[Shape, int]] = []

    def table(self, shape: Shape) -> None:
        """What is added from now on are rows of this table."""
        self._tables.append((shape, 0))

    def add(self, changes: Sequence[tuple[Key, Row | None, Row | None]]) -> bool:
        """False when that is more than there is room for."""
        shape, rows = self._tables[-1]
        self._tables[-1] = (shape, rows + len(changes))
        line = json.dumps(changes, default=_written).encode("ascii")
        self._room -= len(line)
        if self._room < 0:
            return False
        self._parts.append(self._packing.compress(b"\n" + line))
        return True

    def finish(self) -> tuple[list[Json], bytes]:
        """The tables, as ``unpack`` asks for them, and the bytes."""
        self._parts.append(self._packing.flush())
        return [_told(shape, rows) for shape, rows in self._tables if rows], b"".join(self._parts)


def pack(images: Sequence[TableImage], *, max_bytes: int) -> bytes | None:
    """``None`` when the images, before compression, take more than ``max_bytes``."""
    packer = Packer(max_bytes=max_bytes)
    for image in images:
        packer.table(image.shape)
        for start in range(0, len(image.changes), LINE_ROWS):
            changes = image.changes[start : start + LINE_ROWS]
            if not packer.add([(c.key, c.before, c.after) for c in changes]):
                return None
    return packer.finish()[1]


def _written(cell: object) -> dict[str, str]:
    if isinstance(cell, bytes):
        return {"b": cell.hex()}
    if isinstance(cell, RawText):
        return {"t": cell.raw.hex()}
    raise TypeError(f"{type(cell).__name__} is no value of a row")


def _read(told: dict[str, str]) -> Cell:
    if "b" in told:
        return bytes.fromhex(told["b"])
    return RawText(bytes.fromhex(told["t"]))


def manifest_of(images: Sequence[TableImage]) -> list[Json]:
    """The tables in the order in which ``pack`` wrote them."""
    return [_told(image.shape, len(image.changes)) for image in images]


def _told(shape: Shape, rows: int) -> dict[str, Json]:
    return {
        "name": shape.name,
        "columns": list(shape.columns),
        "key": list(shape.key),
        "rowid": shape.rowid,
        "rowid_column": shape.rowid_column,
        "without_rowid": shape.without_rowid,
        "generated": list(shape.generated),
        "fingerprint": shape.fingerprint,
        "types": list(shape.types),
        "rows": rows,
    }


def unpack(tables: Sequence[Mapping[str, Json]], image: bytes) -> list[TableImage]:
    """Raises ``ImageDamaged`` where the bytes are not what ``pack`` made for these tables."""
    try:
        lines = _lines(image)
        if next(lines) != _MAGIC:
            raise ValueError("not row images")
        rows = chain.from_iterable(json.loads(line, object_hook=_read) for line in lines)
        found = [_image(table, list(islice(rows, table["rows"]))) for table in tables]
        if next(rows, None) is not None:
            raise ValueError("more than the manifest says")
    except (ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise ImageDamaged(f"The row images cannot be read: {error}.") from error
    return found


def _lines(image: bytes) -> Iterator[bytes]:
    unpacking = zstandard.ZstdDecompressor().decompressobj()
    rest = b""
    for start in range(0, len(image), _PIECE):
        *whole, rest = (rest + unpacking.decompress(image[start : start + _PIECE])).split(b"\n")
        yield from whole
    if not unpacking.eof:
        raise ValueError("they end too early")
    yield rest


def _image(table: Mapping[str, Json], rows: list[Any]) -> TableImage:
    if len(rows) != table["rows"]:
        raise ValueError("less than the manifest says")
    changes = tuple(
        Change(tuple(key), before and tuple(before), after and tuple(after))
        for key, before, after in rows
    )
    return TableImage(shape=_shape(table), changes=changes)


def _shape(table: Mapping[str, Json]) -> Shape:
    return Shape(
        name=table["name"],
        columns=tuple(table["columns"]),
        key=tuple(table["key"]),
        rowid=table["rowid"],
        rowid_column=table["rowid_column"],
        without_rowid=table["without_rowid"],
        generated=tuple(table["generated"]),
        fingerprint=table["fingerprint"],
        types=tuple(table.get("types", ())),
    )


def each(images: Sequence[TableImage]) -> Iterator[tuple[TableImage, Change]]:
    for image in images:
        for change in image.changes:
            yield image, change
