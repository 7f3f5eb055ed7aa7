"""Shapes of tables: what identifies a row and what can be written."""

from __future__ import annotations

import apsw
import pytest

from gateway.upstreams.sql.sqlite.catalog import foreign_keys, names, quoted, shape, unique_keys


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
