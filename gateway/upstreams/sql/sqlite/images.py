"""Row images of one call: what it changed, net, and the bytes they are kept as."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import zstandard

from gateway.errors import ImageDamaged
from gateway.model import Json
from gateway.upstreams.sql.sqlite.catalog import Shape
from gateway.upstreams.sql.sqlite.cells import Row, decode, encode, shown, shown_row
from gateway.upstreams.sql.sqlite.rows import Key

FORMAT = 1
_MAGIC = b"HFROWS1\n"
_COUNT = struct.Struct("<I")


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


def pack(images: Sequence[TableImage], *, max_bytes: int) -> bytes | None:
    """``None`` when the images, before compression, take more than ``max_bytes``."""
    data = bytearray(_MAGIC)
    for image in images:
        data += _COUNT.pack(len(image.changes))
        for change in image.changes:
            data.append((change.before is not None) | (change.after is not None) << 1)
            encode(change.key, data)
            encode(change.before or (), data)
            encode(change.after or (), data)
            if len(data) > max_bytes:
                return None
    return zstandard.ZstdCompressor(level=1).compress(bytes(data))


def manifest_of(images: Sequence[TableImage]) -> list[Json]:
    """The tables in the order in which ``pack`` wrote them."""
    return [
        {
            "name": image.shape.name,
            "columns": list(image.shape.columns),
            "key": list(image.shape.key),
            "rowid": image.shape.rowid,
            "rowid_column": image.shape.rowid_column,
            "without_rowid": image.shape.without_rowid,
            "generated": list(image.shape.generated),
            "fingerprint": image.shape.fingerprint,
            "rows": len(image.changes),
        }
        for image in images
    ]


def unpack(tables: Sequence[Mapping[str, Json]], image: bytes) -> list[TableImage]:
    """Raises ``ImageDamaged`` where the bytes are not what ``pack`` made for these tables."""
    try:
        data = zstandard.ZstdDecompressor().decompress(image)
        if not data.startswith(_MAGIC):
            raise ValueError("not row images")
        found: list[TableImage] = []
        at = len(_MAGIC)
        for table in tables:
            shape = _shape(table)
            changes, at = _changes(data, at, shape)
            found.append(TableImage(shape=shape, changes=tuple(changes)))
        if at != len(data):
            raise ValueError("more than the manifest says")
    except (ValueError, KeyError, IndexError, struct.error, zstandard.ZstdError) as error:
        raise ImageDamaged(f"The row images cannot be read: {error}.") from error
    return found


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
    )


def _changes(data: bytes, at: int, shape: Shape) -> tuple[list[Change], int]:
    changes: list[Change] = []
    number = _COUNT.unpack_from(data, at)[0]
    at += _COUNT.size
    width = len(shape.columns)
    for _ in range(number):
        flags = data[at]
        key, at = decode(data, at + 1, len(shape.key) if shape.without_rowid else 1)
        before: Row | None = None
        after: Row | None = None
        if flags & 1:
            before, at = decode(data, at, width)
        if flags & 2:
            after, at = decode(data, at, width)
        changes.append(Change(key, before, after))
    return changes, at


def each(images: Sequence[TableImage]) -> Iterator[tuple[TableImage, Change]]:
    for image in images:
        for change in image.changes:
            yield image, change
