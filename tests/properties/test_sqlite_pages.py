"""Calls that come back as a whole file, one after the other, by journal or by copy. Pages that one
call gives up are needed by the next, so every journal has to hold what its own call freed: after
any sequence of calls, reverts, and reverts of reverts, newest first, the file is whole and every
row what it was."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.options import size
from tests.upstreams.sql.sqlite.driving import Done, Driver, call_of, driving, rows_in

CASES = size("cases", 60)
_MANY = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
SCHEMA = (
    "CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE INDEX t_v ON t(v); CREATE TABLE u(k, v);"
    + _MANY.format(40)
    + " INSERT INTO t SELECT i, hex(zeroblob(i * 90)) || i FROM n;"
)
SMALL = SqlLimits(row_images=0)
# What stands before and after the schema, and what a call may keep.
MODES = {
    "journal": ("", "", SMALL),
    "small pages": ("PRAGMA page_size = 512;", "", SMALL),
    "incremental": ("PRAGMA auto_vacuum = INCREMENTAL;", "", SMALL),
    "wal": ("", "PRAGMA journal_mode = wal;", SqlLimits(max_capture_rows=12)),
}

amount = st.integers(1, 40)
length = st.sampled_from([10, 700, 3000, 9000])
CALLS = st.one_of(
    st.builds("DELETE FROM t WHERE k % {} = 0".format, st.integers(1, 4)),
    st.just("DELETE FROM t"),
    st.builds("DELETE FROM u WHERE k > {}".format, amount),
    st.builds(
        (_MANY + " INSERT OR REPLACE INTO t SELECT i * {}, hex(randomblob({})) FROM n").format,
        amount, st.integers(1, 5), length,
    ),
    st.builds(
        (_MANY + " INSERT INTO u SELECT i, hex(randomblob({})) FROM n").format, amount, length
    ),
    st.builds("UPDATE t SET v = hex(zeroblob({})) || k WHERE k % 3 = {}".format, length,
              st.integers(0, 2)),
    st.just("DROP TABLE IF EXISTS u"),
    st.just("CREATE TABLE IF NOT EXISTS u(k, v)"),
    st.just("DROP INDEX IF EXISTS t_v"),
    st.just("CREATE INDEX IF NOT EXISTS t_v ON t(v)"),
    st.just("CREATE TABLE IF NOT EXISTS w AS SELECT * FROM t"),
    st.just("DROP TABLE IF EXISTS w"),
    st.just("REPLACE INTO t VALUES(1000, 'made up'); DELETE FROM t WHERE k < 30"),
)  # fmt: skip
TEXTS = st.lists(CALLS, min_size=2, max_size=4).map("; ".join)
STEPS = st.lists(
    st.one_of(CALLS, TEXTS, st.sampled_from(["undo", "undo", "redo"])), min_size=2, max_size=14
)


def state(path: Path) -> object:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert db.pragma("integrity_check") == "ok"
        schema = db.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        return rows_in(db), sorted(map(repr, schema))
    finally:
        db.close()


async def changes(driver: Driver, sql: str) -> bool:
    """Whether it would; what changes nothing is never committed, and so never taken back."""
    action = await driver.parse(sql)
    if isinstance(action, Deny):  # there is no such table now
        return False
    if action.cls not in (ActionClass.WRITE, ActionClass.DESTRUCTIVE):
        return True
    async with driver.upstream.attempt(call_of(driver.number, sql), action) as attempt:
        return (await attempt.run()).measured.rows > 0


def compared(path: Path, wanted: object, states: set[str]) -> Iterator[str]:
    if states != {"reverted"}:
        yield f"not taken back: {states}"
    if state(path) != wanted:
        yield "something else than before stands there"


async def walked(driver: Driver, steps: Sequence[str]) -> list[str]:
    """What went wrong."""
    wrong: list[str] = []
    done: list[tuple[object, Done]] = []  # and the state before each
    undone: list[tuple[object, Done]] = []  # reverts, and the state that each took away
    for step in steps:
        now = state(driver.path)
        if step not in ("undo", "redo"):
            if await changes(driver, step):
                done.append((now, await driver.do(step)))
                undone.clear()
            continue
        stack, other = (done, undone) if step == "undo" else (undone, done)
        if not stack:
            continue
        wanted, call = stack.pop()
        taken, back = await driver.revert(call)
        wrong += compared(driver.path, wanted, {one.state for one in taken})
        if back is not None:
            other.append((now, back))
        elif now != wanted:  # rows that are what they were have nothing to restore
            return [*wrong, "it cannot be taken forward again"]
    if done:  # all that is left at once
        taken, _ = await driver.revert(*(call for _, call in reversed(done)))
        wrong += compared(driver.path, done[0][0], {one.state for one in taken})
    return wrong


async def walk(mode: str, steps: Sequence[str]) -> list[str]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        before, after, limits = MODES[mode]
        schema = before + SCHEMA + after
        async with driving(Path(folder) / "a.db", schema, limits=limits) as driver:
            return await walked(driver, steps)


@settings(max_examples=CASES)
@given(mode=st.sampled_from(sorted(MODES)), steps=STEPS)
def test_pages_that_were_freed_come_back_whatever_needed_them_since(
    mode: str, steps: Sequence[str]
) -> None:
    assert asyncio.run(walk(mode, steps)) == []
