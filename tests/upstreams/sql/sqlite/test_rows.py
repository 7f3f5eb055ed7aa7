"""Rows are found, put back and removed by their identity, whatever their values."""

from __future__ import annotations

import apsw
import pytest

from gateway.upstreams.sql.sqlite import rows
from gateway.upstreams.sql.sqlite.catalog import shape
from gateway.upstreams.sql.sqlite.cells import RawText
from gateway.upstreams.sql.sqlite.rows import count


def test_a_row_of_every_kind_of_value_comes_back_under_its_row_id() -> None:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE t(a, b, c); INSERT INTO t(rowid, a, b, c) VALUES(7, 1, 2.5, NULL)")
    db.execute("INSERT INTO t(rowid, a, b) VALUES(9, CAST(x'ff' AS TEXT), x'00')")
    found = shape(db, "t")
    assert found is not None
    before = rows.by_key(db, found, [(7,), (8,), (9,)])
    assert before == {(7,): (1, 2.5, None), (9,): (RawText(b"\xff"), b"\x00", None)}
    rows.delete(db, found, list(before))
    assert rows.everything(db, found) == {}
    inserter = rows.Inserter(db, found)
    for key, row in before.items():
        inserter.insert(key, row)
    assert rows.everything(db, found) == before
    assert rows.count(db, "t") == 2
    db.close()


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE t(id PRIMARY KEY, v) WITHOUT ROWID",
        "CREATE TABLE t(id, rowid)",
        "CREATE TABLE t(rowid, oid)",
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_rows_are_counted_as_far_as_asked(table: str, step: int) -> None:
    db = apsw.Connection(":memory:")
    db.execute(table)
    assert count(db, "t", most=5) == 0
    db.executemany("INSERT INTO t VALUES(?, 'x')", ((n * step,) for n in range(9)))
    assert count(db, "t") == 9
    assert min(count(db, "t", most=5), 5) == 5
    assert count(db, "t", most=90) == 9
    db.close()
