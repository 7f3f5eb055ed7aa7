"""Row images: what one call did to its tables, net, and the bytes they are kept as."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import ImageDamaged
from gateway.model import Json, RowCounts, Undo
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.catalog import Column, Name, Table
from gateway.upstreams.sql.mysql.rows import Key
from gateway.upstreams.sql.mysql.streams import Row

KIND = "mariadb.rows"
NO_WAY_BACK = "mariadb.irreversible"
FORMAT = "mariadb-rows-1"
MAGIC = b"holdfast mariadb rows 1\n"

_NULL = 0xFFFFFFFF
_ABSENT = _NULL.to_bytes(4, "big")
_BEFORE, _AFTER = 1, 2
_PIECE = 64 * 1024
PART = 2000  # rows that are held at once where there may be a great many,
PART_BYTES = 4 * 1024 * 1024  # and about so many bytes of them


class Change(NamedTuple):
    """One row before and after; ``None`` where there was none."""

    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How much of a table changed, without the rows: those that only came, only went, and did
    both."""

    table: Table
    came: int = 0
    went: int = 0
    both: int = 0

    @property
    def rows(self) -> int:
        return self.came + self.went + self.both

    def counts(self) -> RowCounts:
        moved = 0 if rows.keyed(self.table) else min(self.came, self.went)
        return RowCounts(
            inserted=self.came - moved, deleted=self.went - moved, updated=self.both + moved
        )

    def plus(self, other: Summary) -> Summary:
        return Summary(
            table=self.table,
            came=self.came + other.came,
            went=self.went + other.went,
            both=self.both + other.both,
        )

    def turned(self) -> Summary:
        """Of the way back."""
        return Summary(table=self.table, came=self.went, went=self.came, both=self.both)


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

    def summary(self) -> Summary:
        came = sum(c.before is None for c in self.changes)
        went = sum(c.after is None for c in self.changes)
        both = len(self.changes) - came - went
        return Summary(table=self.table, came=came, went=went, both=both)

    def turned(self) -> TableImage:
        """Of the way back."""
        changes = tuple(Change(c.after, c.before) for c in self.changes)
        return TableImage(table=self.table, changes=changes)

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


def summed(images: Iterable[TableImage]) -> tuple[Summary, ...]:
    """One for each table, in their order."""
    found: dict[Name, Summary] = {}
    for image in images:
        more = image.summary()
        known = found.get(image.table.at)
        found[image.table.at] = more if known is None else known.plus(more)
    return tuple(found.values())


def manifest(found: Sequence[Summary]) -> dict[str, Json]:
    """What says how ``pack``'s bytes are to be read."""
    return {
        "format": FORMAT,
        "tables": [
            {
                "schema": one.table.schema,
                "name": one.table.name,
                "fingerprint": one.table.fingerprint,
                "key": list(one.table.key),
                "rows": one.rows,
                "sides": [one.came, one.went, one.both],
                "columns": [
                    {
                        "name": c.name,
                        "type": c.type,
                        "charset": c.charset,
                        "generated": c.generated,
                        "counter": c.counter,
                    }
                    for c in one.table.columns
                ],
            }
            for one in found
        ],
    }


class RowTooLong(Exception):
    """No statement could write the row again."""

    def __init__(self, table: Table) -> None:
        super().__init__(
            f"A row of {table.resource} is too long to be written again in one statement: "
            "max_allowed_packet of the server has to be more than twice its size."
        )


def pack(images: Iterable[TableImage], packet: int) -> Iterator[bytes]:
    """The bytes of ``images``, piece by piece; those of one table follow each other. Raises
    ``RowTooLong`` for a row that no statement of ``packet`` bytes could write."""
    yield MAGIC
    for image in images:
        yield from packed(image, packet)


def packed(image: TableImage, packet: int) -> Iterator[bytes]:
    """What follows ``MAGIC``. As ``pack``."""
    most = rows.longest(image.table, packet)
    parts: list[bytes] = []
    size = 0
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
    found = itertools.groupby(parts(undo, pieces), lambda part: part.table)
    return tuple(
        TableImage(table=table, changes=tuple(c for part in group for c in part.changes))
        for table, group in found
    )


def parts(undo: Undo, pieces: Iterable[bytes]) -> Iterator[TableImage]:
    """As ``unpack``, with no more than a part of a table at a time. What was made of the parts
    must not be committed before all were taken."""
    tables = _tables(undo)
    reader = _Reader(pieces)
    if reader.take(len(MAGIC)) != MAGIC:
        raise ImageDamaged("The images of this call cannot be read.")
    for table, count in tables:
        changes: list[Change] = []
        start, width = reader.loaded, len(rows.stored(table))
        for _ in range(count):
            changes.append(reader.change(width))
            if len(changes) >= PART or reader.loaded - start > PART_BYTES:
                yield TableImage(table=table, changes=tuple(changes))
                changes, start = [], reader.loaded
        if changes:
            yield TableImage(table=table, changes=tuple(changes))
    reader.end()


def noted(undo: Undo) -> tuple[Summary, ...] | None:
    """What ``manifest`` was given, where it says so: earlier versions noted no sides. Raises
    ``ImageDamaged``."""
    tables = [table for table, _ in _tables(undo)]
    sides = [entry.get("sides") for entry in undo.manifest["tables"]]
    if None in sides:
        return None
    return tuple(
        Summary(table=table, came=int(came), went=int(went), both=int(both))
        for table, (came, went, both) in zip(tables, sides, strict=True)
    )


def size(undo: Undo) -> int:
    """How many rows the images of a call are of. Raises ``ImageDamaged``."""
    return sum(count for _, count in _tables(undo))


def _tables(undo: Undo) -> list[tuple[Table, int]]:
    if undo.kind != KIND or undo.manifest.get("format") != FORMAT:
        raise ImageDamaged("The images of this call are in a form that is not known here.")
    try:
        return [(_table(entry), int(entry["rows"])) for entry in undo.manifest["tables"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ImageDamaged("The manifest of this call's images cannot be read.") from error


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
        self.loaded = 0
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
            self.loaded += len(piece)
            self._piece, self._at = piece, min(missing, len(piece))
            parts.append(piece[: self._at])
            missing -= self._at
        return b"".join(parts)

    def change(self, width: int) -> Change:
        sides = self.take(1)[0]
        before = self._row(width) if sides & _BEFORE else None
        return Change(before, self._row(width) if sides & _AFTER else None)

    def _row(self, width: int) -> Row:
        """The cells of one row. Most rows lie in one piece, and a revert reads each several times:
        those are cut out of it without a call for each cell."""
        piece, at = self._piece, self._at
        end, number = len(piece), int.from_bytes
        cells: list[bytes | None] = []
        for _ in range(width):
            start = at + 4
            size = number(piece[at:start], "big")
            at = start if size == _NULL else start + size
            if at > end:
                return self._row_in_parts(width)
            cells.append(None if size == _NULL else piece[start:at])
        self._at = at
        return tuple(cells)

    def _row_in_parts(self, width: int) -> Row:
        cells: list[bytes | None] = []
        for _ in range(width):
            size = int.from_bytes(self.take(4), "big")
            cells.append(None if size == _NULL else self.take(size))
        return tuple(cells)

    def end(self) -> None:
        """Raises ``ImageDamaged`` when something is left. Exhausts the pieces either way."""
        left = len(self._piece) - self._at + sum(map(len, self._pieces))
        if left:
            raise ImageDamaged("The images of this call hold more than their manifest says.")
