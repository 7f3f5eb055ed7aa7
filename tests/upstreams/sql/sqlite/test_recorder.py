"""Every change of a row is seen, with the identity it had and the one it has."""

from __future__ import annotations

import apsw
import pytest

from gateway.upstreams.sql.sqlite.catalog import shape
from gateway.upstreams.sql.sqlite.facts import Sole
from gateway.upstreams.sql.sqlite.recorder import Recorder


def test_identities_and_gross_counts() -> None:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE holdfast_receipt(a)")
    db.execute("CREATE TABLE w(a, b, PRIMARY KEY(b)) WITHOUT ROWID")
    keyed = shape(db, "w")
    assert keyed is not None
    recorder = Recorder(db, {"w": keyed}, max_rows=4)
    recorder.start()
    db.execute("INSERT INTO t VALUES(1, 1); UPDATE t SET id = 2; DELETE FROM t")
    db.execute("INSERT INTO w VALUES(1, 'k'); INSERT INTO holdfast_receipt VALUES(1)")
    recorder.stop()
    db.execute("INSERT INTO t VALUES(9, 9)")
    assert recorder.tables["t"].keys == {(1,), (2,)}
    assert recorder.tables["w"].keys == {("k",)}
    told = recorder.measured().as_json()["tables"]
    assert told["main.t"] == {"inserted": 1, "updated": 1, "deleted": 1}
    assert set(told) == {"main.t", "main.w"}
    assert not recorder.overflowed
    db.close()


@pytest.mark.parametrize(
    ("verb", "sql", "keys"),
    [
        ("delete", "DELETE FROM t WHERE id > 2", {(3,), (4,)}),
        ("update", "UPDATE t SET id = id + 10 WHERE id > 3", {(4,), (14,)}),
        ("insert", "INSERT INTO t VALUES(7, 7), (8, 8)", {(7,), (8,)}),
        ("delete", "DELETE FROM t WHERE id > 9", None),
    ],
)
def test_a_sole_change_is_told_by_numbers(
    verb: str, sql: str, keys: set[tuple[int]] | None
) -> None:
    db = table(4)
    recorder = Recorder(db, {}, max_rows=4, sole=Sole(table="t", verb=verb, every=False))
    recorder.start()
    db.execute(sql)
    during = recorder.measured()
    recorder.stop()
    db.execute("DELETE FROM t")
    assert recorder.complete
    assert recorder.measured().tables == during.tables
    if keys is None:
        assert recorder.tables == {}
        return
    assert recorder.tables["t"].keys == keys
    told = {"inserted": 0, "updated": 0, "deleted": 0}
    told[f"{verb.removesuffix('e')}ed"] = db.changes() and len(keys) // (
        2 if verb == "update" else 1
    )
    assert during.as_json()["tables"]["main.t"] == told


@pytest.mark.parametrize("follow", [True, False])
def test_more_rows_than_are_kept_are_counted_by_the_engine(follow: bool) -> None:
    db = table(1000)
    sole = Sole(table="t", verb="delete", every=True)
    recorder = Recorder(db, {}, max_rows=10, sole=sole, follow=follow)
    recorder.start()
    db.execute("DELETE FROM t")
    recorder.stop()
    assert (recorder.overflowed, recorder.complete) == (True, True)
    assert recorder.tables["t"].keys == set()
    told = recorder.measured()
    assert told.as_json()["tables"]["main.t"]["deleted"] == 1000
    assert told.share == 1.0


def test_a_change_that_was_not_seen_is_noticed() -> None:
    db = table(4)
    recorder = Recorder(db, {}, max_rows=10, sole=Sole(table="t", verb="delete", every=False))
    db.execute("CREATE TABLE other(a)")
    recorder.start()
    db.execute("DELETE FROM t WHERE id = 1")
    db.preupdate_hook(None, id="holdfast")
    db.execute("INSERT INTO other VALUES(1)")
    recorder.stop()
    assert not recorder.complete


def table(rows: int) -> apsw.Connection:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    db.executemany("INSERT INTO t VALUES(?, ?)", ((n + 1, n) for n in range(rows)))
    return db
