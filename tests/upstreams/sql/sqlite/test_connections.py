"""Connections behind walls, each on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.sqlite.connections import Deadline, Lane, explained, open_reader
from tests.upstreams.sql.sqlite.driving import change


async def test_a_reader_cannot_write_attach_or_load(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    change(path, "CREATE TABLE t(a)")
    db = open_reader(path, busy_s=1, foreign_keys=True)
    try:
        for sql in (
            "INSERT INTO t VALUES(1)",
            "ATTACH 'evil.db' AS e",
            "SELECT load_extension('x')",
        ):
            with pytest.raises(apsw.Error):
                db.execute(sql)
    finally:
        db.close()


async def test_cancelled_work_is_stopped_and_waited_for() -> None:
    lane, stopped = Lane("t"), threading.Event()
    ended: list[bool] = []
    task = asyncio.create_task(lane.run(lambda: ended.append(stopped.wait(10)), stop=stopped.set))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
    lane.close()


def test_a_deadline_interrupts_and_can_be_cleared() -> None:
    db = apsw.Connection(":memory:")
    deadline = Deadline(db)
    long = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000) "
        "SELECT count(*) FROM n"
    )
    deadline.start(-1)
    with pytest.raises(apsw.InterruptError):
        db.execute(long).fetchall()
    deadline.clear()
    assert db.execute(long).fetchall() == [(50000,)]
    db.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (apsw.BusyError("x"), "upstream.timeout"),
        (apsw.InterruptError("x"), "upstream.timeout"),
        (apsw.CantOpenError("x"), "upstream.unreachable"),
        (apsw.ConstraintError("x"), "upstream.failed"),
    ],
)
def test_errors_are_named(error: Exception, reason: str) -> None:
    named = explained(error, "run")
    assert isinstance(named, UpstreamError)
    assert (named.reason, named.proves_no_effect) == (reason, True)
