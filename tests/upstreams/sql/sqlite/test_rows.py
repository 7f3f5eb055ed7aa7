"""Rows are found, put back and removed by their identity, whatever their values."""

from __future__ import annotations

import apsw

from gateway.upstreams.sql.sqlite import rows
from gateway.upstreams.sql.sqlite.catalog import shape
from gateway.upstreams.sql.sqlite.cells import RawText


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
