"""Rows as exact bytes: how they are selected, compared and written back.

Read under ``character_set_results = NULL`` and UTC, every value is what the table holds: text in
its own character set, floats with all their digits, ENUM, SET and BIT as numbers. Two rows are
the same when their bytes are; no collation has a say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.model import Json
from gateway.upstreams.sql.mysql.catalog import FLOATS, Column, Table
from gateway.upstreams.sql.mysql.literals import quoted, text_literal
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row

Key = tuple[bytes, ...]

_NUMBERS = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year"}
)  # fmt: skip
_AS_NUMBERS = frozenset({"enum", "set", "bit"})
_QUOTED = frozenset({"date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"})
_SHAPES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
     "multipolygon", "geometrycollection"}
)  # fmt: skip
_BYTES = _SHAPES | {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
KNOWN = _NUMBERS | FLOATS | _AS_NUMBERS | _QUOTED | _TEXTS | _BYTES

EXACT = "SET character_set_results = NULL"  # before rows are read as images
_IN = 1000
_MOST = 1 << 60
_AROUND = 300  # names of tables and columns, and how a value is introduced


def stored(table: Table) -> tuple[Column, ...]:
    """The columns that hold something of their own."""
    return table.stored


def selected(columns: Sequence[Column], alias: str | None = None) -> str:
    """What to select for images of ``columns``."""
    return ", ".join(_wanted(c, alias) for c in columns)


def _wanted(column: Column, alias: str | None) -> str:
    name = quoted(column.name) if alias is None else quoted(alias, column.name)
    if column.type in _AS_NUMBERS:
        return f"{name} + 0"
    if column.type == _JSON:
        return _told(name)
    return f"{name} + 0e0" if column.type in FLOATS else name


# In MySQL a type of its own, whose values may hold more than their text tells: decimals, times,
# bytes. MariaDB's is a text.
_JSON = "json"
UNTOLD = 3141  # the error of a query that comes to such a value
_TELLING = "'OBJECT', 'ARRAY', 'STRING', 'BOOLEAN', 'NULL', 'INTEGER', 'UNSIGNED INTEGER', 'DOUBLE'"


def _told(name: str) -> str:
    """The value, or an error where something inside would be another type when its text is read."""
    inside = f"JSON_ARRAY({name}), JSON_EXTRACT({name}, '$**.*'), JSON_EXTRACT({name}, '$**[*]')"
    found = (
        f"SELECT COUNT(*) FROM JSON_TABLE(JSON_ARRAY({inside}), '$[*][*]' COLUMNS "
        f"(x JSON PATH '$')) AS parts WHERE JSON_TYPE(parts.x) NOT IN ({_TELLING})"
    )
    return f"IF(({found}), CAST(CONCAT('!', LEFT({name}, 0)) AS JSON), {name})"


def literal(column: Column, cell: bytes | None) -> str:
    """The value as SQL, to be written to the column or compared with it."""
    if cell is None:
        return "NULL"
    if column.type in _TEXTS:
        return text_literal(cell, column.charset or "utf8mb4")
    if column.type in _BYTES:
        return f"X'{cell.hex()}'"
    text = cell.decode("ascii")
    if column.type in _QUOTED:
        return f"'{text}'"
    if column.type in FLOATS and "e" not in text:
        return f"{text}e0"
    return text


def keyed(table: Table) -> bool:
    """Whether rows can be found again by their primary key."""
    return table.keyed


def key_of(table: Table, row: Row) -> Key:
    key: list[bytes] = []
    for place in table.places:
        cell = row[place]
        assert cell is not None
        key.append(cell)
    return tuple(key)


def among(table: Table, keys: Sequence[Key], alias: str | None = None) -> str:
    """The condition that a row has one of ``keys``."""
    types = {c.name: c for c in table.columns}
    columns = [types[name] for name in table.key]
    names = [quoted(c.name) if alias is None else quoted(alias, c.name) for c in columns]
    if len(columns) == 1:
        listed = ", ".join(literal(columns[0], key[0]) for key in keys)
        return f"{names[0]} IN ({listed})"
    listed = ", ".join(
        "(" + ", ".join(literal(c, cell) for c, cell in zip(columns, key, strict=True)) + ")"
        for key in keys
    )
    return f"({', '.join(names)}) IN ({listed})"


def chunks(session: Session, keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """``keys`` in parts that fit into a statement."""
    longest = max((sum(map(len, key)) for key in keys), default=0)
    size = max(1, min(_IN, session.part // (longest + 16)))
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def by_key(session: Session, table: Table, keys: Sequence[Key], lock: str = "") -> list[Row]:
    """The rows that have one of ``keys`` now; equal to a key by its collation is enough."""
    columns = selected(stored(table))
    found: list[Row] = []
    for part in chunks(session, keys):
        query = f"SELECT {columns} FROM {table.quoted} WHERE {among(table, part)} {lock}"
        found += session.rows(query)
    return found


def same_row(table: Table, row: Row, alias: str | None = None) -> str:
    """A condition that finds the row, and no more than rows that look like it."""
    parts = []
    for column, cell in zip(stored(table), row, strict=True):
        name = quoted(column.name) if alias is None else quoted(alias, column.name)
        if column.type in _TEXTS and cell is not None:
            parts.append(f"CAST({name} AS BINARY) <=> X'{cell.hex()}'")
        elif column.type in _SHAPES and cell is not None:
            parts.append(f"HEX({name}) <=> '{cell.hex().upper()}'")
        elif column.type == "decimal" and cell is not None:
            # As a bare column the server may look for it in the wrong partition (MDEV-21195).
            parts.append(f"{name} + 0 <=> {literal(column, cell)}")
        elif column.type in _AS_NUMBERS or column.type in FLOATS:
            parts.append(f"{_wanted(column, alias)} <=> {literal(column, cell)}")
        else:
            parts.append(f"{name} <=> {literal(column, cell)}")
    return " AND ".join(parts)


def checksum(session: Session, table: Table) -> int:
    """Of all rows of a table, in any order; two tables with the same columns and rows have the
    same. ``CHECKSUM TABLE`` is none: it was seen to differ for the same rows."""
    [(count, total)] = session.rows(
        f"SELECT COUNT(*), SUM(CAST(CONV(LEFT({digest(session, table)}, 15), 16, 10) "
        f"AS UNSIGNED)) FROM {table.quoted}"
    )
    return (int(total or 0) + int(count or 0)) % _MOST


def digest(session: Session, table: Table) -> str:
    """An expression over a row of the table that is the same for equal rows only."""
    of = session.variety.digest.format
    cells = ", ".join(f"IFNULL({of(_summed(c))}, '-')" for c in stored(table))
    return of(f"CONCAT_WS('|', {cells})")


def _summed(column: Column) -> str:
    name = _wanted(column, None)
    return name if column.type in _SHAPES else f"CAST({name} AS BINARY)"


def longest(table: Table, packet: int) -> int:
    """The most bytes that the values of a row may take, so that a statement of ``packet`` bytes
    can write it."""
    return (packet - _AROUND * (1 + len(table.columns))) // 2


def shown(table: Table, row: Row | None) -> dict[str, Json] | None:
    """A row for people."""
    if row is None:
        return None
    return {c.name: _shown(c, cell) for c, cell in zip(stored(table), row, strict=True)}


def shown_key(table: Table, key: Key | None) -> dict[str, Json] | None:
    if key is None:
        return None
    types = {c.name: c for c in table.columns}
    return {n: _shown(types[n], cell) for n, cell in zip(table.key, key, strict=True)}


_CODECS = {"latin1": "cp1252", "ascii": "ascii", "ucs2": "utf-16-be", "utf16": "utf-16-be",
           "utf16le": "utf-16-le", "utf32": "utf-32-be", "cp1251": "cp1251", "latin2": "latin2",
           "sjis": "shift_jis", "cp932": "cp932", "gbk": "gbk", "big5": "big5", "euckr": "euc_kr",
           "ujis": "euc_jp", "koi8r": "koi8_r", "greek": "iso8859_7"}  # fmt: skip


def _shown(column: Column, cell: bytes | None) -> Json:
    if cell is None:
        return None
    if column.type in _BYTES:
        return "\\x" + cell.hex()
    codec = _CODECS.get(column.charset or "", "utf-8") if column.type in _TEXTS else "ascii"
    return cell.decode(codec, "replace")
