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


def matching(columns: Sequence[str], key: Key, of: str = "") -> str:
    """``"a" = ? AND "b" = ?`` for column names and the values that ``plain`` binds. ``of``: what
    stands before each name, ``c.`` for an alias."""
    pairs = zip(columns, key, strict=True)
    return " AND ".join(f"{of}{quoted(column)} = {placeholder(cell)}" for column, cell in pairs)


def any_of(
    columns: Sequence[str], wanted: Sequence[Key], of: str = ""
) -> tuple[str, tuple[Value, ...]]:
    """``matching`` for one of several keys, and the values to bind."""
    if len(columns) == 1:
        choices = ", ".join(placeholder(key[0]) for key in wanted)
        where = f"{of}{quoted(columns[0])} IN ({choices})"
    else:
        where = " OR ".join(f"({matching(columns, key, of)})" for key in wanted)
    return f"({where})", tuple(value for key in wanted for value in plain(key))


def placeholder(cell: Cell) -> str:
    return "CAST(? AS TEXT)" if isinstance(cell, RawText) else "?"


def plain(cells: Iterable[Cell]) -> tuple[Value, ...]:
    """The values to bind where ``placeholder`` stands."""
    return tuple(c.raw if isinstance(c, RawText) else c for c in cells)


class Inserter:
    """Puts rows into one table under their own identities. OR ABORT: a conflict clause in the
    table's definition must not replace anybody's row."""

    def __init__(self, db: apsw.Connection, shape: Shape) -> None:
        self._db = db
        # An INTEGER PRIMARY KEY is the row id itself.
        self._numbered = not shape.without_rowid and shape.rowid_column is None
        names = [quoted(c) for c in shape.columns]
        if self._numbered:
            names.insert(0, str(shape.rowid))
        self._into = f"INSERT OR ABORT INTO main.{quoted(shape.name)}({', '.join(names)}) VALUES("
        self._plain = f"{self._into}{', '.join('?' * len(names))})"

    def insert_all(self, found: Sequence[tuple[Key, Row]]) -> None:
        cells = [(*key, *row) if self._numbered else row for key, row in found]
        if any(isinstance(cell, RawText) for row in cells for cell in row):
            for key, row in found:
                self.insert(key, row)
        else:
            self._db.executemany(self._plain, cells)

    def insert(self, key: Key, row: Row) -> None:
        cells = (*key, *row) if self._numbered else row
        if any(isinstance(cell, RawText) for cell in cells):
            self._db.execute(f"{self._into}{', '.join(map(placeholder, cells))})", plain(cells))
        else:
            self._db.execute(self._plain, cells)


def delete(db: apsw.Connection, shape: Shape, keys: Sequence[Key]) -> None:
    table = f"main.{quoted(shape.name)}"
    if shape.without_rowid:
        for key in keys:
            db.execute(f"DELETE FROM {table} WHERE {matching(shape.key, key)}", plain(key))
        return
    for chunk in chunks(keys):
        db.execute(
            f"DELETE FROM {table} WHERE {shape.rowid} IN (SELECT value FROM json_each(?))",
            (json.dumps([key[0] for key in chunk]),),
        )


def count(db: apsw.Connection, table: str, *, most: int | None = None) -> int:
    """How many rows there are; ``most``: counting ends there, if that is the cheaper way."""
    source = f"main.{quoted(table)}"
    # The engine counts whole tables twice as fast as it counts up to a limit.
    if most is not None and not _within(db, source, most):
        source = f"(SELECT 1 FROM {source} LIMIT {most})"
    for (number,) in db.execute(f"SELECT count(*) FROM {source}"):
        return int(number)
    return 0


def _within(db: apsw.Connection, source: str, most: int) -> bool:
    """Whether the row ids alone show that there are no more rows. A column of that name may say
    anything, which then costs time and no more."""
    ends = f"(SELECT max(rowid) FROM {source}) - (SELECT min(rowid) FROM {source})"
    try:
        found = db.execute(f"SELECT {ends}").get
    except apsw.SQLError:
        return False
    return isinstance(found, int) and found < most
