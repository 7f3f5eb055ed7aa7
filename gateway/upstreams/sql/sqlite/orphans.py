"""After a restore: no row that it touched may refer to nothing, or be referred to and be gone,
unless it was so before the call (``adoption``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import apsw

from gateway.upstreams.sql.sqlite import rows
from gateway.upstreams.sql.sqlite.adoption import Orphans, referring
from gateway.upstreams.sql.sqlite.catalog import ForeignKey, folded, quoted
from gateway.upstreams.sql.sqlite.cells import Cell, Row, exact, fetch

if TYPE_CHECKING:
    from gateway.upstreams.sql.sqlite.restore import Item

_CHUNK = 200


def leave_out(
    db: apsw.Connection, keys: Sequence[ForeignKey], items: Sequence[Item], known: Orphans
) -> bool:
    """Marks the restored rows that leave an orphan as conflicts; whether there was one. ``known``:
    those that were orphans before the call."""
    names: dict[str, str] = {}
    chosen: dict[str, list[Item]] = {}
    for item in items:
        if item.restore and keys:
            name = item.image.shape.name
            if name not in names:
                names[name] = folded(name)
            chosen.setdefault(names[name], []).append(item)
    found = False
    for key in keys:
        found |= _children(db, key, chosen.get(folded(key.table), []), known)
        found |= _parents(db, key, chosen.get(folded(key.parent), []), known)
    return found


def _children(db: apsw.Connection, key: ForeignKey, items: Sequence[Item], known: Orphans) -> bool:
    """Restored rows of the referring table whose parent is not there."""
    found = False
    for item in items:
        if item.target is None:
            continue
        cells = _present(db, item, key.columns)
        if cells is None or _exists(db, key.parent, key.to, cells):
            continue
        if known.has(key, (*item.change.key, *item.target)):
            continue
        item.leave("orphan")
        found = True
    return found


def _parents(db: apsw.Connection, key: ForeignKey, items: Sequence[Item], known: Orphans) -> bool:
    """Rows of the table referred to whose removal leaves somebody's row without its parent."""
    gone: dict[object, tuple[Item, tuple[Cell, ...]]] = {}
    found = False
    for item in items:
        if item.now is None:
            continue
        if not _stored(item, key.to):
            where = f"{quoted(key.columns[0])} IS NOT NULL"
            found |= _leave_referenced(db, item, key, where, (), known)
            continue
        cells = _cells(item, key.to, item.now)
        if cells is not None and not _exists(db, key.parent, key.to, cells):
            gone[exact(cells)] = (item, cells)
    waiting = list(gone.values())
    for start in range(0, len(waiting), _CHUNK):
        chunk = waiting[start : start + _CHUNK]
        # One look for all of them first: the referring column may have no index.
        if _any_child(db, key, [cells for _, cells in chunk]):
            for item, cells in chunk:
                where = rows.matching(key.columns, cells)
                found |= _leave_referenced(db, item, key, where, cells, known)
    return found


def _leave_referenced(
    db: apsw.Connection,
    item: Item,
    key: ForeignKey,
    where: str,
    cells: tuple[Cell, ...],
    known: Orphans,
) -> bool:
    if known.have_all(key, referring(db, key, where, cells, known)):
        return False
    item.leave("referenced")
    return True


def _any_child(db: apsw.Connection, key: ForeignKey, wanted: Sequence[tuple[Cell, ...]]) -> bool:
    where, bound = rows.any_of(key.columns, wanted)
    return bool(fetch(db, ["1"], f"FROM main.{quoted(key.table)} WHERE {where} LIMIT 1", bound))


def _stored(item: Item, columns: Sequence[str]) -> bool:
    return {folded(c) for c in columns} <= {folded(c) for c in item.image.shape.columns}


def _cells(item: Item, columns: Sequence[str], row: Row) -> tuple[Cell, ...] | None:
    """The values of stored ``columns``; ``None`` where a NULL among them refers to nothing."""
    names = [folded(c) for c in item.image.shape.columns]
    cells = tuple(row[names.index(folded(column))] for column in columns)
    return None if None in cells else cells


def _present(db: apsw.Connection, item: Item, columns: Sequence[str]) -> tuple[Cell, ...] | None:
    """The values of ``columns``, generated ones too, of a row that was put back."""
    assert item.target is not None
    if _stored(item, columns):
        return _cells(item, columns, item.target)
    shape = item.image.shape
    names = shape.key if shape.without_rowid else (str(shape.rowid),)
    source = f"FROM main.{quoted(shape.name)} WHERE {rows.matching(names, item.change.key)}"
    found = fetch(db, [quoted(c) for c in columns], source, rows.plain(item.change.key))
    return None if not found or None in found[0] else found[0]


def _exists(
    db: apsw.Connection, table: str, columns: Sequence[str], cells: tuple[Cell, ...]
) -> bool:
    source = f"FROM main.{quoted(table)} WHERE {rows.matching(columns, cells)} LIMIT 1"
    return bool(fetch(db, ["1"], source, rows.plain(cells)))
