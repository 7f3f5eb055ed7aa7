"""Pieces of SQL over whole rows, compared as their binary images and not by ``=``."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.upstreams.sql.postgres.catalog import Column


def listed(columns: Sequence[Column], alias: str = "") -> str:
    dot = f"{alias}." if alias else ""
    return ", ".join(f"{dot}{c.quoted}" for c in columns)


def same_row(left: str, right: str, columns: Sequence[Column]) -> str:
    # The casts keep the parser from comparing column by column.
    return (
        f"ROW({listed(columns, left)})::record OPERATOR(pg_catalog.*=) "
        f"ROW({listed(columns, right)})::record"
    )


def row_text(alias: str, columns: Sequence[Column]) -> str:
    return f'(ROW({listed(columns, alias)})::text COLLATE "C")'


def texts(alias: str, columns: Sequence[Column]) -> str:
    return "ARRAY[" + ", ".join(f"{alias}.{c.quoted}::text" for c in columns) + "]"
