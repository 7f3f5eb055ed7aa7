"""Rows that referred to nothing before a call: it may have changed or deleted one, or made what it
refers to. A revert then leaves an orphan where one was; any other would be a conflict.

The engine enforces foreign keys only for connections that ask for it, so such rows are common.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apsw

from gateway.upstreams.sql.sqlite import catalog, rows
from gateway.upstreams.sql.sqlite.catalog import ForeignKey, Shape, folded, quoted
from gateway.upstreams.sql.sqlite.cells import Cell, Row, exact, fetch
from gateway.upstreams.sql.sqlite.recorder import Touched
from gateway.upstreams.sql.sqlite.rows import Key

_CHUNK = 200
# Without an index on the referring columns each look at them goes through the whole table: so many
# rows in all, beyond which nobody looks, and a revert that leaves such an orphan is a conflict.
_MOST_STEPS = 20_000
# Of a call: beyond that the file as a whole has to take it back.
MOST_ORPHANS = 10_000
_SOME = f"LIMIT {MOST_ORPHANS + 1}"


@dataclass(frozen=True, slots=True)
class Orphans:
    """By foreign key, identity and content, as digests: what a row says is for its images alone,
    and one that says something else by now is somebody's own."""

    known: frozenset[str] = frozenset()

    @classmethod
    def of(cls, told: Iterable[str]) -> Orphans:
        return cls(frozenset(told))

    def has(self, key: ForeignKey, row: Row) -> bool:
        """``row``: its identity, then its columns."""
        return bool(self.known) and _digest(key, row) in self.known

    def have_all(self, key: ForeignKey, found: Sequence[Row] | None) -> bool:
        """Also where there are none; never where they are too many to be told."""
        return found is not None and all(self.has(key, row) for row in found)


def _digest(key: ForeignKey, row: Row) -> str:
    named = (folded(key.table), tuple(map(folded, key.columns)), folded(key.parent))
    told = repr((named, exact(row))).encode("utf-8", "surrogatepass")
    return hashlib.sha256(told).hexdigest()[:32]


def _told(shape: Shape) -> list[str]:
    """The identity and the columns of a row ``c``."""
    return [f"c.{name}" for name in (*rows.identity(shape), *map(quoted, shape.columns))]


def referring(
    db: apsw.Connection, key: ForeignKey, where: str, cells: tuple[Cell, ...], known: Orphans
) -> list[Row] | None:
    """The rows of the referring table that ``where`` finds, as ``Orphans.has`` takes them; ``None``
    where there are some that cannot be ``known``."""
    shape = catalog.shape(db, key.table) if known.known else None
    source = f"FROM main.{quoted(key.table)} AS c WHERE {where}"
    if shape is None or not shape.capturable:
        return None if fetch(db, ["1"], f"{source} LIMIT 1", rows.plain(cells)) else []
    found = fetch(db, _told(shape), f"{source} {_SOME}", rows.plain(cells))
    return None if len(found) > MOST_ORPHANS else list(found)


def orphans_before(
    before: apsw.Connection, after: apsw.Connection, tables: Mapping[str, Touched]
) -> list[str] | None:
    """For the manifest: those among the touched rows, and those that refer to a row that the call
    made; ``None`` where they are too many. ``before`` sees the file as it was."""
    touched = {folded(name): what for name, what in tables.items()}
    found: set[str] = set()
    for key in catalog.foreign_keys(after, touched) if touched else ():
        shape = catalog.shape(before, key.table)
        if shape is None or not shape.capturable or catalog.shape(before, key.parent) is None:
            continue
        orphans: list[Row] = []
        if folded(key.table) in touched:
            orphans += _among(before, key, shape, touched[folded(key.table)])
        if folded(key.parent) in touched:
            made = _made(before, after, key, touched[folded(key.parent)])
            orphans += _adopted(before, key, shape, made)
        found.update(_digest(key, row) for row in orphans)
        if len(found) > MOST_ORPHANS:
            return None
    return sorted(found)


def _among(
    before: apsw.Connection, key: ForeignKey, shape: Shape, touched: Touched
) -> Iterator[Row]:
    """Touched rows of the referring table."""
    source = f"FROM main.{quoted(key.table)} AS c WHERE {_dangling(key)}"
    if touched.whole:
        yield from fetch(before, _told(shape), f"{source} {_SOME}", ())
    elif shape.without_rowid:
        for one in touched.keys:
            where = rows.matching(shape.key, one, "c.")
            yield from fetch(before, _told(shape), f"{source} AND {where}", rows.plain(one))
    else:
        for chunk in rows.chunks(list(touched.keys)):
            numbers = json.dumps([one[0] for one in chunk])
            where = f"c.{shape.rowid} IN (SELECT value FROM json_each(?))"
            yield from fetch(before, _told(shape), f"{source} AND {where}", (numbers,))


def _dangling(key: ForeignKey) -> str:
    """Of a row ``c``: it refers to a row that is not there."""
    pairs = zip(key.to, key.columns, strict=True)
    equal = " AND ".join(f"p.{quoted(to)} = c.{quoted(column)}" for to, column in pairs)
    given = " AND ".join(f"c.{quoted(column)} IS NOT NULL" for column in key.columns)
    return f"{given} AND NOT EXISTS (SELECT 1 FROM main.{quoted(key.parent)} AS p WHERE {equal})"


def _made(
    before: apsw.Connection, after: apsw.Connection, key: ForeignKey, touched: Touched
) -> list[tuple[Cell, ...]]:
    """The values that can be referred to since the call."""
    parent = catalog.shape(after, key.parent)
    columns = tuple(map(folded, key.to))
    if parent is None or not touched.inserted + touched.updated:
        return []
    if not touched.whole and columns == (folded(parent.rowid_column or ""),):
        there = f"SELECT 1 FROM main.{quoted(key.parent)} AS p WHERE p.{parent.rowid} = j.value"
        source = f"FROM json_each(?) AS j WHERE NOT EXISTS ({there})"
        numbers = json.dumps([one[0] for one in touched.keys])
        return fetch(before, ["value"], source, (numbers,))
    names = [folded(c) for c in parent.columns]
    if not set(columns) <= set(names):
        return []
    places = [names.index(column) for column in columns]
    now, then = (
        {
            exact(cells): cells
            for row in _rows(db, parent, touched).values()
            if None not in (cells := tuple(row[place] for place in places))
        }
        for db in (after, before)
    )
    return [cells for same, cells in now.items() if same not in then]


def _rows(db: apsw.Connection, shape: Shape, touched: Touched) -> Mapping[Key, Row]:
    return rows.everything(db, shape) if touched.whole else rows.by_key(db, shape, touched.keys)


def _adopted(
    before: apsw.Connection, key: ForeignKey, shape: Shape, made: Sequence[tuple[Cell, ...]]
) -> Iterator[Row]:
    """Rows that referred to what was ``made`` before it was."""
    looks = -(-len(made) // _CHUNK)
    most = _MOST_STEPS // looks if looks else 0
    if looks and not _indexed(before, key) and rows.count(before, key.table, most=most + 1) > most:
        return
    source = f"FROM main.{quoted(key.table)} AS c WHERE {_dangling(key)}"
    for chunk in rows.chunks(made, _CHUNK):
        where, bound = rows.any_of(key.columns, chunk, "c.")
        yield from fetch(before, _told(shape), f"{source} AND {where} {_SOME}", bound)


def _indexed(db: apsw.Connection, key: ForeignKey) -> bool:
    """Whether some index begins with the first of the referring columns."""
    found = db.execute(
        "SELECT 1 FROM pragma_index_list(?, 'main') AS l "
        "JOIN pragma_index_info(l.name, 'main') AS i "
        "WHERE i.seqno = 0 AND NOT l.partial AND i.name = ? COLLATE NOCASE LIMIT 1",
        (key.table, key.columns[0]),
    ).fetchone()
    return found is not None
