"""Rows of one table by their identity: the row id, or the primary key of a table WITHOUT ROWID."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import apsw

from gateway.upstreams.sql.sqlite.catalog import Shape, quoted
from gateway.upstreams.sql.sqlite.cells import Cell, RawText, Row, fetch
from gateway.upstreams.sql.sqlite.facts import Value

Key = tuple[Cell, ...]

_CHUNK = 500


def chunks(keys: Sequence[Key], size: int = _CHUNK) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def by_key(db: apsw.Connection, shape: Shape, keys: Iterable[Key]) -> dict[Key, Row]:
    """The stored columns of the rows that exist among ``keys``."""
    wanted = list(keys)
    if shape.without_rowid:
        return _by_primary_key(db, shape, wanted)
    found: dict[Key, Row] = {}
    source = (
        f"FROM main.{quoted(shape.name)} WHERE {shape.rowid} IN (SELECT value FROM json_each(?))"
    )
    columns = [str(shape.rowid), *map(quoted, shape.columns)]
    for chunk in chunks(wanted):
        numbers = json.dumps([key[0] for key in chunk])
        for row in fetch(db, columns, source, (numbers,)):
            found[row[:1]] = row[1:]
    return found


def _by_primary_key(db: apsw.Connection, shape: Shape, keys: Sequence[Key]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    columns = [quoted(c) for c in shape.columns]
    for key in keys:
        source = f"FROM main.{quoted(shape.name)} WHERE {matching(shape.key, key)}"
        rows = fetch(db, columns, source, plain(key))
        if rows:
            found[key] = rows[0]
    return found


def everything(db: apsw.Connection, shape: Shape) -> dict[Key, Row]:
    """The whole table."""
    columns = [quoted(c) for c in shape.columns]
    source = f"FROM main.{quoted(shape.name)}"
    if shape.without_rowid:
        return {key_of(shape, row): row for row in fetch(db, columns, source, ())}
    return {row[:1]: row[1:] for row in fetch(db, [str(shape.rowid), *columns], source, ())}


def key_of(shape: Shape, row: Row) -> Key:
    """The primary key's part of a row."""
    return tuple(row[shape.columns.index(column)] for column in shape.key)


def identity(shape: Shape) -> tuple[str, ...]:
    """The columns that identify a row, as SQL names."""
    return tuple(map(quoted, shape.key)) if shape.without_rowid else (str(shape.rowid),)


def matching(columns: Sequence[str], key: Key) -> str:
    """``"a" = ? AND "b" = ?`` for column names and the values that ``plain`` binds."""
    pairs = zip(columns, key, strict=True)
    return " AND ".join(f"{quoted(column)} = {placeholder(cell)}" for column, cell in pairs)


def placeholder(cell: Cell) -> str:
    return "CAST(? AS TEXT)" if isinstance(cell, RawText) else "?"


def plain(cells: Iterable[Cell]) -> tuple[Value, ...]:
    """The values to bind where ``placeholder`` stands."""
    return tuple(c.raw if isinstance(c, RawText) else c for c in cells)


def insert(db: apsw.Connection, shape: Shape, key: Key, row: Row) -> None:
    """OR ABORT: a conflict clause in the table's definition must not replace anybody's row."""
    columns = [quoted(c) for c in shape.columns]
    cells = row
    if not shape.without_rowid and not _numbered(shape, key, row):
        columns.insert(0, str(shape.rowid))
        cells = (*key, *row)
    db.execute(
        f"INSERT OR ABORT INTO main.{quoted(shape.name)}({', '.join(columns)}) "
        f"VALUES({', '.join(map(placeholder, cells))})",
        plain(cells),
    )


def _numbered(shape: Shape, key: Key, row: Row) -> bool:
    # An INTEGER PRIMARY KEY is the row id itself.
    if len(shape.key) != 1 or shape.rowid_column is None:
        return False
    return row[shape.columns.index(shape.rowid_column)] == key[0]


def delete(db: apsw.Connection, shape: Shape, key: Key) -> None:
    where = matching(shape.key, key) if shape.without_rowid else f"{shape.rowid} = ?"
    db.execute(f"DELETE FROM main.{quoted(shape.name)} WHERE {where}", plain(key))


def count(db: apsw.Connection, table: str) -> int:
    for (number,) in db.execute(f"SELECT count(*) FROM main.{quoted(table)}"):
        return int(number)
    return 0
