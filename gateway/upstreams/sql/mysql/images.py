"""Row images: what one call did to its tables, net, and the bytes they are kept as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import ImageDamaged
from gateway.model import Json, RowCounts, Undo
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.catalog import Column, Table
from gateway.upstreams.sql.mysql.rows import Key
from gateway.upstreams.sql.mysql.streams import Row

KIND = "mariadb.rows"
NO_WAY_BACK = "mariadb.irreversible"
FORMAT = "mariadb-rows-1"
_MAGIC = b"holdfast mariadb rows 1\n"

_NULL = 0xFFFFFFFF
_ABSENT = _NULL.to_bytes(4, "big")
_BEFORE, _AFTER = 1, 2
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One row before and after; ``None`` where there was none."""

    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableImage:
    """``changes`` of a table with a primary key are one for each key; without one, each side of a
    row stands alone and equal rows are counted."""

    table: Table
    changes: tuple[Change, ...]

    def key(self, change: Change) -> Key | None:
        row = change.before if change.before is not None else change.after
        if row is None or not rows.keyed(self.table):
            return None
        return rows.key_of(self.table, row)

    def counts(self) -> RowCounts:
        came = sum(c.before is None for c in self.changes)
        went = sum(c.after is None for c in self.changes)
        both = 0 if rows.keyed(self.table) else min(came, went)
        return RowCounts(
            inserted=came - both,
            deleted=went - both,
            updated=len(self.changes) - came - went + both,
        )

    def shown(self, change: Change) -> dict[str, Json]:
        return {
            "resource": self.table.resource,
            "key": rows.shown_key(self.table, self.key(change)),
            "before": rows.shown(self.table, change.before),
            "after": rows.shown(self.table, change.after),
        }


def paired(table: Table, before: Iterable[Row], after: Iterable[Row]) -> TableImage:
    """The image of a table whose rows ``before`` and ``after`` are those that differ."""
    if not rows.keyed(table):
        gone = [Change(row, None) for row in before]
        return TableImage(table=table, changes=(*gone, *(Change(None, row) for row in after)))
    left = {rows.key_of(table, row): row for row in after}
    changes: list[Change] = []
    for row in before:
        now = left.pop(rows.key_of(table, row), None)
        if now != row:
            changes.append(Change(row, now))
    changes += [Change(None, row) for row in left.values()]
    return TableImage(table=table, changes=tuple(changes))


def manifest(images: Sequence[TableImage]) -> dict[str, Json]:
    """What says how ``pack``'s bytes are to be read."""
    return {
        "format": FORMAT,
        "tables": [
            {
                "schema": image.table.schema,
                "name": image.table.name,
                "fingerprint": image.table.fingerprint,
                "key": list(image.table.key),
                "rows": len(image.changes),
                "columns": [
                    {
                        "name": c.name,
                        "type": c.type,
                        "charset": c.charset,
                        "generated": c.generated,
                        "counter": c.counter,
                    }
                    for c in image.table.columns
                ],
            }
            for image in images
        ],
    }


class RowTooLong(Exception):
    """No statement could write the row again."""

    def __init__(self, table: Table) -> None:
        super().__init__(
            f"A row of {table.resource} is too long to be written again in one statement: "
            "max_allowed_packet of the server has to be more than twice its size."
        )


def pack(images: Sequence[TableImage], packet: int) -> Iterator[bytes]:
    """The bytes of ``images``, piece by piece. Raises ``RowTooLong`` for a row that no
    statement of ``packet`` bytes could write."""
    parts: list[bytes] = [_MAGIC]
    size = 0
    for image in images:
        most = rows.longest(image.table, packet)
        for change in image.changes:
            sides = (_BEFORE if change.before is not None else 0) | (
                _AFTER if change.after is not None else 0
            )
            parts.append(bytes((sides,)))
            for row in (change.before, change.after):
                if row is not None:
                    packed = b"".join([_cell(cell) for cell in row])
                    if len(packed) > most:
                        raise RowTooLong(image.table)
                    parts.append(packed)
                    size += len(packed)
            if size > _PIECE or len(parts) > 10_000:
                yield b"".join(parts)
                parts, size = [], 0
    yield b"".join(parts)


def _cell(cell: bytes | None) -> bytes:
    return _ABSENT if cell is None else len(cell).to_bytes(4, "big") + cell


def unpack(undo: Undo, pieces: Iterable[bytes]) -> tuple[TableImage, ...]:
    """Raises ``ImageDamaged`` for a manifest or bytes that ``pack`` did not make."""
    if undo.kind != KIND or undo.manifest.get("format") != FORMAT:
        raise ImageDamaged("The images of this call are in a form that is not known here.")
    try:
        tables = [(_table(entry), int(entry["rows"])) for entry in undo.manifest["tables"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ImageDamaged("The manifest of this call's images cannot be read.") from error
    reader = _Reader(pieces)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise ImageDamaged("The images of this call cannot be read.")
    found = [
        TableImage(table=table, changes=tuple(_change(reader, table) for _ in range(count)))
        for table, count in tables
    ]
    reader.end()
    return tuple(found)


def _change(reader: _Reader, table: Table) -> Change:
    sides = reader.take(1)[0]
    width = len(rows.stored(table))
    before = _row(reader, width) if sides & _BEFORE else None
    return Change(before, _row(reader, width) if sides & _AFTER else None)


def _row(reader: _Reader, width: int) -> Row:
    cells: list[bytes | None] = []
    take = reader.take
    for _ in range(width):
        size = int.from_bytes(take(4), "big")
        cells.append(None if size == _NULL else take(size))
    return tuple(cells)


def _table(entry: Mapping[str, Json]) -> Table:
    return Table(
        schema=str(entry["schema"]),
        name=str(entry["name"]),
        fingerprint=str(entry["fingerprint"]),
        key=tuple(entry["key"]),
        columns=tuple(
            Column(
                name=str(c["name"]),
                type=str(c["type"]),
                charset=c["charset"],
                generated=bool(c["generated"]),
                counter=bool(c["counter"]),
            )
            for c in entry["columns"]
        ),
    )


class _Reader:
    """Bytes by number out of pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count <= len(self._piece):
            self._at += count
            return self._piece[self._at - count : self._at]
        parts = [self._piece[self._at :]]
        missing = count - len(parts[0])
        self._piece, self._at = b"", 0
        while missing > 0:
            piece = next(self._pieces, None)
            if piece is None:
                raise ImageDamaged("The images of this call are not complete.")
            self._piece, self._at = piece, min(missing, len(piece))
            parts.append(piece[: self._at])
            missing -= self._at
        return b"".join(parts)

    def end(self) -> None:
        """Raises ``ImageDamaged`` when something is left. Exhausts the pieces either way."""
        left = len(self._piece) - self._at + sum(map(len, self._pieces))
        if left:
            raise ImageDamaged("The images of this call hold more than their manifest says.")
