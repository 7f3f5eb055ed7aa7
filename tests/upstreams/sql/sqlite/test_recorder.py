"""Every change of a row is seen, with the identity it had and the one it has."""

from __future__ import annotations

import apsw

from gateway.upstreams.sql.sqlite.catalog import shape
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
    assert (recorder.events, recorder.overflowed) == (4, False)
    db.close()
