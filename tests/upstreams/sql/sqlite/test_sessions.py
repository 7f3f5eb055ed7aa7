"""A long session comes back newest first, tells how far it is, and takes the memory of one call."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from gateway.model import Conflict, OnConflict, Permit
from gateway.upstreams.sql.limits import SqlLimits
from tests.upstreams.sql.sqlite.driving import Driver, call_of, driving, rows_of

ROWS = 1500
SCHEMA = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v, pad);"
    "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 1500)"
    " INSERT INTO t SELECT i, 0, hex(randomblob(60)) FROM g"
)


class Watching:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int | None]] = []

    def progress(self, done: int, total: int | None) -> None:
        self.seen.append((done, total))

    def conflict(self, call: str, conflict: Conflict) -> None:
        raise AssertionError(f"{call}: {conflict}")


async def session(driver: Driver, calls: int) -> tuple[int, Watching]:
    """The most memory that the revert of so many calls took, and what it told."""
    for _ in range(calls):
        await driver.do("UPDATE t SET v = v + 1")
    undos = [(each.call.id, each.undo) for each in reversed(driver.done[-calls:])]
    driver.number += 1
    call, watching = call_of(driver.number, "revert"), Watching()
    async with driver.upstream.unwind(call, undos, OnConflict.ABORT) as unwinding:
        unwinding.watch(watching)
        tracemalloc.start()
        try:
            steps = await unwinding.run()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert {s.state for s in steps} == {"reverted"}
        await unwinding.capture()
        await unwinding.commit(Permit.issue(call.id, 1))
    return peak, watching


@pytest.mark.parametrize("row_images", [10_000, 0])
async def test_the_memory_of_a_long_session_is_that_of_a_short_one(
    tmp_path: Path, row_images: int
) -> None:
    limits = SqlLimits(lock_timeout_s=1.0, row_images=row_images)
    async with driving(tmp_path / "a.db", SCHEMA, limits=limits) as driver:
        before = rows_of(driver.path)
        short, _ = await session(driver, 2)
        assert rows_of(driver.path) == before
        long, watching = await session(driver, 12)
        assert rows_of(driver.path) == before
    assert long < short * 1.5
    if row_images:
        assert watching.seen[-1] == (12 * ROWS, 12 * ROWS)
        assert watching.seen == sorted(watching.seen)
        assert len(watching.seen) > 12
