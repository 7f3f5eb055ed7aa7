"""Laws of chains on SQLite: calls of every kind, kept as rows or as pages, come back newest first
to what stood before any of them; a suffix of them to what stood before that; the revert of the
revert brings it all again, whatever mode the first one had. And the law of merging, by a model."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import UpstreamError
from gateway.model import OnConflict
from gateway.upstreams.sql.limits import SqlLimits
from tests.properties.test_sqlite_revert import agents, foreign_key_faults, schemas, tried, written
from tests.properties.test_sqlite_revert import literal as literals
from tests.upstreams.sql.sqlite.driving import Done, Driver, change, driving, rows_of

CASES = int(os.environ.get("HOLDFAST_CASES", "500"))
SEEN: Counter[str] = Counter()
SETTINGS = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="HOLDFAST_CASES" not in os.environ,
)
SCHEMA_CHANGES = [
    "CREATE TABLE z{n}(a PRIMARY KEY, b)",
    "CREATE INDEX i{n} ON p(a, u)",
    "ALTER TABLE loose ADD COLUMN x{n} DEFAULT {n}",
    "DROP TABLE loose; CREATE TABLE loose(k, a, b)",
    "CREATE VIEW v{n} AS SELECT * FROM c",
    "ALTER TABLE audit RENAME COLUMN what TO what{n}",
]


def in_folder(work: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    """Runs ``work`` in a folder of its own, in memory where there is such a place."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="holdfast-", dir=where))
    try:
        asyncio.run(work(folder))
    finally:
        shutil.rmtree(folder)


def schema_of(path: Path) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert db.pragma("integrity_check") == "ok"
        return sorted(map(tuple, db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")))
    finally:
        db.close()


def state(path: Path) -> tuple[object, object]:
    return rows_of(path), schema_of(path)


@st.composite
def chains(draw: st.DrawFn) -> list[str]:
    calls = []
    for number in range(draw(st.integers(2, 6))):
        if draw(st.integers(0, 3)) == 0:
            calls.append(draw(st.sampled_from(SCHEMA_CHANGES)).format(n=number))
        else:
            calls.append("; ".join(draw(st.lists(agents(), min_size=1, max_size=2))))
    return calls


@st.composite
def filled(draw: st.DrawFn) -> tuple[str, list[str]]:
    rows = [draw(written(t, k, literals)) for t in ("p", "c", "loose") for k in range(1, 5)]
    return draw(schemas()), rows


async def acted(driver: Driver, sql: str) -> Done | None:
    """The call; ``None`` where the database or the judge refused it."""
    try:
        return await driver.do(sql)
    except (UpstreamError, AssertionError):
        return None


@given(filled(), chains(), st.sampled_from([0, 3, 10_000]), st.integers(1, 6))
@SETTINGS
def chains_come_back(
    made: tuple[str, list[str]], calls: list[str], row_images: int, cut: int
) -> None:
    async def work(folder: Path) -> None:
        path = folder / "a.db"
        limits = SqlLimits(lock_timeout_s=1.0, row_images=row_images)
        async with driving(path, made[0], limits=limits) as driver:
            tried(path, *made[1])
            states, done = [state(path)], []
            for sql in calls:
                call = await acted(driver, sql)
                if call is not None:
                    done.append(call)
                    states.append(state(path))
            if not done:
                SEEN["nothing"] += 1
                return
            kinds = {bool(d.undo.manifest["rowwise"]) for d in done}
            SEEN["mixed" if len(kinds) == 2 else "rows" if True in kinds else "pages"] += 1
            taken = done[-min(cut, len(done)) :]
            after = states[-1]
            steps, back = await driver.revert(*reversed(taken))
            assert {s.state for s in steps} == {"reverted"}, steps
            assert state(path) == states[len(done) - len(taken)]
            if back is None:
                return
            again, back = await driver.revert(back)
            assert again[0].state == "reverted", again
            assert state(path) == after
            if back is not None:
                assert (await driver.revert(back))[0][0].state == "reverted"
                assert state(path) == states[len(done) - len(taken)]

    in_folder(work)


@given(filled(), st.lists(agents(), min_size=1, max_size=4))
@settings(SETTINGS, max_examples=max(1, CASES // 2))
def test_one_by_one_and_all_at_once_are_the_same(
    made: tuple[str, list[str]], calls: list[str]
) -> None:
    async def work(folder: Path) -> None:
        found = []
        for number in range(2):
            path = folder / f"{number}.db"
            async with driving(path, made[0]) as driver:
                tried(path, *made[1])
                done = [c for c in [await acted(driver, sql) for sql in calls] if c is not None]
                if number:
                    for each in reversed(done):
                        (step,), _ = await driver.revert(each)
                        assert step.state == "reverted"
                elif done:
                    steps, _ = await driver.revert(*reversed(done))
                    assert {s.state for s in steps} == {"reverted"}
            found.append(rows_of(path))
        assert found[0] == found[1]

    in_folder(work)


MERGED = "CREATE TABLE m(k INTEGER PRIMARY KEY, a, b, c, g AS (a || b));"
columns = st.sampled_from("abc")
touches = st.dictionaries(st.integers(1, 6), st.sets(columns, min_size=1), max_size=6)
fewer = st.dictionaries(st.integers(1, 6), st.sets(columns, min_size=1, max_size=2), max_size=2)


@given(touches, fewer, st.sets(st.integers(1, 6), max_size=2), st.sampled_from(list(OnConflict)))
@SETTINGS
def modes_keep_their_law(
    agent: dict[int, set[str]], others: dict[int, set[str]], gone: set[int], mode: OnConflict
) -> None:
    """The model: a row in which nobody touched anything comes back; under ``merge`` also the
    agent's columns of a row in which others touched only further ones."""

    async def work(folder: Path) -> None:
        path = folder / "a.db"
        async with driving(path, MERGED) as driver:
            change(
                path,
                "INSERT INTO m(k, a, b, c) VALUES"
                + ",".join(f"({k},'a{k}','b{k}','c{k}')" for k in range(1, 7)),
            )
            if not agent:
                return
            done = await driver.do("; ".join(_update(k, cs, "x") for k, cs in agent.items()))
            change(path, *(_update(k, cs, "y") for k, cs in others.items()))
            change(path, *(f"DELETE FROM m WHERE k = {k}" for k in sorted(gone)))
            there = rows_of(path)
            expected = _expected(agent, others, gone, mode)
            steps, back = await driver.revert(done, on_conflict=mode)
            assert _seen(path) == expected
            assert foreign_key_faults(path) == []
            if back is not None:
                assert (await driver.revert(back))[0][0].state == "reverted"
                assert rows_of(path) == there
            SEEN[f"{mode} {steps[0].state}"] += 1

    in_folder(work)


def _update(key: int, touched: set[str], mark: str) -> str:
    sets = ", ".join(f"{c} = '{mark}' || {c}" for c in sorted(touched))
    return f"UPDATE m SET {sets} WHERE k = {key}"


def _expected(
    agent: dict[int, set[str]], others: dict[int, set[str]], gone: set[int], mode: OnConflict
) -> dict[int, tuple[str, ...]]:
    disputed = {k for k in agent if k in others or k in gone}
    rows: dict[int, tuple[str, ...]] = {}
    for k in range(1, 7):
        mine, theirs = agent.get(k, set()), others.get(k, set())
        back = k in agent and (
            k not in disputed
            or mode is OnConflict.FORCE
            or (mode is OnConflict.MERGE and k not in gone and not mine & theirs)
        )
        if mode is OnConflict.ABORT and disputed:
            back = False
        if k in gone and not back:
            continue
        whole = back and (mode is OnConflict.FORCE or k not in disputed)
        rows[k] = tuple(
            f"{c}{k}"
            if whole
            else ("y" if c in theirs else "") + ("x" if c in mine and not back else "") + f"{c}{k}"
            for c in "abc"
        )
    return rows


def _seen(path: Path) -> dict[int, tuple[str, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {k: tuple(rest) for k, *rest in db.execute("SELECT k, a, b, c FROM m")}
    finally:
        db.close()


# The laws would also hold if nothing had been done: each is followed by a look at what was.


def test_a_chain_and_every_end_of_it_come_back() -> None:
    chains_come_back()
    assert min(SEEN[kind] for kind in ("mixed", "rows", "pages")) > CASES / 20, SEEN


def test_each_mode_does_what_the_model_says() -> None:
    modes_keep_their_law()
    assert min(SEEN[f"{mode} reverted"] for mode in OnConflict) >= max(1, CASES // 250), SEEN
    assert min(SEEN[f"{mode} partial"] for mode in ("skip", "merge")) >= max(1, CASES // 250), SEEN
