"""Rows as typed values: exact comparison, and what people are shown.

A row's values are ``None``, ``int``, ``float``, ``str``, ``bytes`` and ``RawText``, one for each
storage class, and text that is not valid UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from gateway.model import Json
from gateway.upstreams.sql.sqlite.facts import Value
from gateway.upstreams.sql.values import render


@dataclass(frozen=True, slots=True)
class RawText:
    """Text as the file holds it, in the database's encoding, when it cannot be decoded."""

    raw: bytes


Cell = Value | RawText
Row = tuple[Cell, ...]

_FLOAT = struct.Struct("<d")


def same(one: Row | None, other: Row | None) -> bool:
    """Equal in type and value, floats by their bits: 1 and 1.0, or 0.0 and -0.0, are not."""
    if one is None or other is None:
        return one is other
    if one != other or list(map(type, one)) != list(map(type, other)):
        return False
    # Of equal values of one type only zeros can still differ.
    return 0.0 not in one or all(map(same_cell, one, other))


def same_cell(one: Cell, other: Cell) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return _FLOAT.pack(one) == _FLOAT.pack(other)
    return one == other


def exact(row: Row) -> tuple[tuple[str, Cell], ...]:
    """A dictionary key that is equal for rows that are ``same``."""
    return tuple((_kind(c), _FLOAT.pack(c) if isinstance(c, float) else c) for c in row)


def _kind(cell: Cell) -> str:
    return type(cell).__name__


def shown(cell: object) -> Json:
    """Any value of a row, as JSON for people."""
    return render(cell.raw if isinstance(cell, RawText) else cell)


def shown_row(columns: Sequence[str], row: Row | None) -> Json:
    if row is None:
        return None
    return {column: shown(cell) for column, cell in zip(columns, row, strict=True)}


def fetch(
    db: apsw.Connection, wanted: Sequence[str], source: str, bound: Sequence[Value]
) -> list[Row]:
    """Rows of ``SELECT {wanted} {source}``, ``wanted`` being expressions. Text that cannot be
    decoded comes as ``RawText``."""
    try:
        return db.execute(f"SELECT {', '.join(wanted)} {source}", tuple(bound)).fetchall()
    except UnicodeDecodeError:
        return _fetch_raw(db, wanted, source, bound)


def _fetch_raw(
    db: apsw.Connection, wanted: Sequence[str], source: str, bound: Sequence[Value]
) -> list[Row]:
    doubled = ", ".join(
        f"typeof({p}), CASE WHEN typeof({p}) = 'text' THEN CAST({p} AS BLOB) ELSE {p} END"
        for p in wanted
    )
    encoding = str(db.pragma("encoding"))
    rows: list[Row] = []
    for got in db.execute(f"SELECT {doubled} {source}", tuple(bound)):
        cells: list[Cell] = []
        for kind, cell in zip(got[::2], got[1::2], strict=True):
            cells.append(_decoded(cell, encoding) if kind == "text" else cell)
        rows.append(tuple(cells))
    return rows


def _decoded(raw: object, encoding: str) -> Cell:
    assert isinstance(raw, bytes)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return RawText(raw)
