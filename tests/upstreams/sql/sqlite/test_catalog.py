"""Shapes of tables: what identifies a row and what can be written."""

from __future__ import annotations

import apsw
import pytest

from gateway.upstreams.sql.sqlite.catalog import (
    foreign_keys,
    listed,
    names,
    quoted,
    shape,
    unique_keys,
    without_rowid,
)


@pytest.mark.parametrize(
    ("sql", "rowid", "rowid_column", "without_rowid", "columns"),
    [
        ("t(a, b)", "rowid", None, False, ("a", "b")),
        ("t(id INTEGER PRIMARY KEY, b)", "rowid", "id", False, ("id", "b")),
        ("t(id INTEGER PRIMARY KEY DESC, b)", "rowid", None, False, ("id", "b")),
        ("t(id INT PRIMARY KEY, b)", "rowid", None, False, ("id", "b")),
        ("t(rowid, oid, b)", "_rowid_", None, False, ("rowid", "oid", "b")),
        ("t(rowid, OID, _rowid_)", None, None, False, ("rowid", "OID", "_rowid_")),
        ("t(a PRIMARY KEY, b AS (a) STORED) WITHOUT ROWID", None, None, True, ("a",)),
    ],
)
def test_the_identity_of_a_row(
    sql: str, rowid: str | None, rowid_column: str | None, without_rowid: bool, columns: object
) -> None:
    db = apsw.Connection(":memory:")
    db.execute(f"CREATE TABLE {sql}")
    found = shape(db, "T")
    assert found is not None
    assert (found.rowid, found.rowid_column) == (rowid, rowid_column)
    assert (found.without_rowid, found.columns) == (without_rowid, columns)
    assert found.capturable is (rowid is not None or without_rowid)
    db.close()


def test_keys_that_bind_tables_and_rows() -> None:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE p(a, b UNIQUE, PRIMARY KEY(a, b)); CREATE TABLE lone(x REFERENCES no)")
    db.execute("CREATE TABLE c(x, y, FOREIGN KEY(x, y) REFERENCES P)")
    assert [(k.table, k.columns, k.parent, k.to) for k in foreign_keys(db)] == [
        ("c", ("x", "y"), "p", ("a", "b"))
    ]
    assert set(unique_keys(db, "p")) == {("b",), ("a", "b")}
    assert names(db).kinds["c"] == "table"
    assert quoted('a"b') == '"a""b"'
    db.close()


def test_kinds_of_tables_are_those_that_the_engine_tells() -> None:
    db = apsw.Connection(":memory:")
    db.execute(
        "CREATE TABLE plain(a); CREATE TABLE keyed(a PRIMARY KEY, b) WITHOUT ROWID;"
        "CREATE TABLE counted(a INTEGER PRIMARY KEY AUTOINCREMENT); CREATE VIEW v AS SELECT 1;"
        "create /* odd */ virtual table Texts using fts5(a, content='');"
        "CREATE VIRTUAL TABLE old USING fts4(a); CREATE VIRTUAL TABLE places USING rtree(i, a, b);"
        "CREATE TABLE texts_other(x); CREATE TABLE texts_idx_x(x); CREATE TABLE plain_data(x);"
        "CREATE TABLE 'it''s _ odd'(x)"
    )
    told = db.execute(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' "
        "AND name <> 'sqlite_schema'"
    ).fetchall()
    assert listed(db) == {name: kind for name, kind, _ in told}
    keyed = {name for name, kind, wr in told if wr}
    assert {name for name in listed(db) if without_rowid(db, name)} == keyed


def test_views_of_views_are_not_worked_out() -> None:
    """One of them stands for half a million others: the engine needs minutes for all of them."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE t(x REFERENCES t); CREATE VIEW v0 AS SELECT * FROM t")
    for n in range(1, 60):
        db.execute(f"CREATE VIEW v{n} AS SELECT * FROM v{n - 1} UNION SELECT * FROM v{n - 1}")
    assert len(listed(db)) == 61
    assert names(db).kinds["v59"] == "view"
    assert shape(db, "t") is not None
    assert shape(db, "v59") is None
    assert foreign_keys(db) == []
