"""Rows that referred to nothing before a call: whatever it does to them, or to what they lack,
comes back as it was, and an orphan of anybody else stays a conflict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from gateway.model import OnConflict
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite.adoption import MOST_ORPHANS, Orphans, orphans_before
from gateway.upstreams.sql.sqlite.recorder import Touched
from tests.upstreams.sql.sqlite.driving import Driver, call_of, change, driving, rows_of

SCHEMA = """
PRAGMA foreign_keys = OFF;
CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n);
CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p, n);
CREATE TABLE named(k TEXT COLLATE NOCASE PRIMARY KEY, p REFERENCES p(name) ON UPDATE CASCADE)
  WITHOUT ROWID;
CREATE TABLE pair(a, b, PRIMARY KEY (a, b));
CREATE TABLE of_pair(x, y, FOREIGN KEY (x, y) REFERENCES pair(a, b));
CREATE TABLE self(id INTEGER PRIMARY KEY, up REFERENCES self);
INSERT INTO p VALUES (1, 'ann', 1), (2, 'bob', 2);
INSERT INTO c VALUES (1, 1, 0), (7, 99, 0), (8, 98, 0), (9, NULL, 0);
INSERT INTO named VALUES ('one', 'ann'), ('lost', 'zoe'), ('too', 'yan');
INSERT INTO pair VALUES (1, 1);
INSERT INTO of_pair VALUES (1, 1), (1, 2), (NULL, 5);
INSERT INTO self VALUES (1, 1), (2, 50), (3, 2);
"""


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    async with driving(tmp_path / "a.db", SCHEMA) as made:
        yield made


async def _rehearsed(driver: Driver, sql: str) -> object:
    action = await driver.judged(sql)
    async with driver.upstream.attempt(call_of(driver.number, sql), action) as attempt:
        await attempt.run()
        await attempt.capture()
        return await attempt.rehearse(demanded=True)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM c WHERE id = 7",
        "DELETE FROM c WHERE p NOT IN (SELECT id FROM p)",
        "UPDATE c SET n = 5 WHERE id > 6",
        "UPDATE c SET p = 1 WHERE id = 7",
        "UPDATE c SET id = 70 WHERE id = 8",
        "INSERT INTO p VALUES (99, 'new', 0)",
        "INSERT INTO p VALUES (99, 'new', 0); UPDATE c SET n = 1 WHERE id = 7",
        "INSERT INTO p VALUES (99, 'zoe', 0), (98, 'yan', 0); DELETE FROM c WHERE id = 8",
        "UPDATE p SET id = 99 WHERE id = 2",
        "UPDATE p SET name = 'zoe' WHERE id = 2",
        "UPDATE p SET name = 'yan' WHERE id = 1",
        "DELETE FROM named WHERE k = 'LOST'",
        "UPDATE named SET p = 'ann' WHERE p = 'zoe'",
        "INSERT INTO pair VALUES (1, 2), (7, 7)",
        "DELETE FROM of_pair",
        "INSERT INTO self VALUES (50, NULL)",
        "INSERT INTO self VALUES (50, 50); UPDATE self SET up = 50 WHERE id = 1",
        "DELETE FROM self WHERE id = 2 OR id = 3",
    ],
)
async def test_it_comes_back_as_it_was(driver: Driver, sql: str) -> None:
    before = rows_of(driver.path)
    assert await _rehearsed(driver, sql) is None
    assert rows_of(driver.path) == before
    done = await driver.do(sql)
    after = rows_of(driver.path)
    assert after != before
    for wanted in (before, after, before):
        steps, back = await driver.revert(done)
        assert [step.state for step in steps] == ["reverted"], steps
        assert rows_of(driver.path) == wanted
        assert back is not None
        done = back


async def test_calls_come_back_together(driver: Driver) -> None:
    before = rows_of(driver.path)
    made = await driver.do("INSERT INTO p VALUES (99, 'new', 0)")
    gone = await driver.do("DELETE FROM c WHERE id = 7")
    steps, _ = await driver.revert(gone, made)
    assert [step.state for step in steps] == ["reverted", "reverted"]
    assert rows_of(driver.path) == before


@pytest.mark.parametrize(
    ("agent", "other", "why"),
    [
        ("INSERT INTO p VALUES (99, 'x', 0)", "INSERT INTO c VALUES (20, 99, 0)", "referenced"),
        ("INSERT INTO p VALUES (99, 'x', 0)", "UPDATE c SET p = 99 WHERE id = 1", "referenced"),
        ("INSERT INTO p VALUES (97, 'x', 0)", "UPDATE c SET p = 97 WHERE id = 7", "referenced"),
        (
            "INSERT INTO p VALUES (99, 'x', 0)",
            "DELETE FROM c WHERE id = 7; INSERT INTO c VALUES (7, 99, 'another')",
            "referenced",
        ),
        ("INSERT INTO p VALUES (99, 'x', 0)", "UPDATE c SET n = 1 WHERE id = 7", "referenced"),
        ("DELETE FROM c WHERE id = 1", "DELETE FROM p WHERE id = 1", "orphan"),
        ("INSERT INTO pair VALUES (1, 2)", "INSERT INTO of_pair VALUES (1, 2)", "referenced"),
    ],
)
async def test_what_others_did_since_is_a_conflict(
    driver: Driver, agent: str, other: str, why: str
) -> None:
    done = await driver.do(agent)
    change(driver.path, f"PRAGMA foreign_keys = OFF; {other}")
    left = rows_of(driver.path)
    steps, _ = await driver.revert(done)
    assert {c.why for step in steps for c in step.conflicts} == {why}
    assert rows_of(driver.path) == left


async def test_a_merged_row_is_no_orphan_of_before(driver: Driver) -> None:
    """Its reference is somebody's own by then."""
    done = await driver.do("UPDATE c SET n = 5 WHERE id = 7")
    change(driver.path, "PRAGMA foreign_keys = OFF; UPDATE c SET p = 55 WHERE id = 7")
    steps, _ = await driver.revert(done, on_conflict=OnConflict.MERGE)
    assert [c.why for c in steps[0].conflicts] == ["orphan"]


async def test_names_are_kept_as_digests(driver: Driver) -> None:
    done = await driver.do("DELETE FROM named WHERE k = 'lost'")
    (told,) = done.undo.manifest["orphans"]
    assert len(told) == 32
    assert "lost" not in str(done.undo.manifest["orphans"])
    assert (await driver.do("DELETE FROM named WHERE k = 'one'")).undo.manifest["orphans"] == []


async def test_a_file_that_comes_back_whole_needs_none(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA, limits=SqlLimits(row_images=0)) as driver:
        before = rows_of(driver.path)
        done = await driver.do("INSERT INTO p VALUES (99, 'new', 0)")
        assert done.undo.manifest["orphans"] == []
        steps, _ = await driver.revert(done)
        assert steps[0].state == "reverted"
        assert rows_of(driver.path) == before


def test_nobody_looks_through_a_large_table_for_each_of_many_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "b.db")
    many = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"
    with apsw.Connection(path) as db:
        db.execute(f"CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p);"
                   f"INSERT INTO c {many.format(15_000)}")  # fmt: skip
    before, after = apsw.Connection(path), apsw.Connection(path)
    after.execute("BEGIN")
    after.execute(f"INSERT INTO p {many.format(15_000)}")
    touched = {"p": Touched(keys={(i,) for i in range(1, 15_001)}, inserted=15_000)}
    assert orphans_before(before, after, touched) == []
    few = {"p": Touched(keys={(1,), (2,)}, inserted=2)}
    assert len(orphans_before(before, after, few) or ()) == 2
    after.execute("ROLLBACK")
    after.execute("CREATE INDEX by_p ON c(p); BEGIN")
    after.execute(f"INSERT INTO p {many.format(15_000)}")
    assert orphans_before(before, after, touched) is None  # more than are kept
    some = {"p": Touched(keys={(i,) for i in range(1, 5001)}, inserted=5000)}
    assert len(orphans_before(before, after, some) or ()) == 5000
    after.execute("ROLLBACK")


async def test_more_than_are_kept_come_back_with_the_whole_file(tmp_path: Path) -> None:
    many = f"WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= {MOST_ORPHANS})"
    setup = (
        "PRAGMA foreign_keys = OFF; CREATE TABLE p(id INTEGER PRIMARY KEY);"
        "CREATE TABLE c(p REFERENCES p); CREATE INDEX by_p ON c(p);"
        f"INSERT INTO c {many} SELECT 7 FROM n;"
    )
    async with driving(tmp_path / "a.db", setup) as driver:
        before = rows_of(driver.path)
        done = await driver.do("INSERT INTO p VALUES (7)")
        assert done.undo.manifest["orphans"] == []
        assert not done.undo.manifest["rowwise"]
        steps, _ = await driver.revert(done)
        assert steps[0].state == "reverted"
        assert rows_of(driver.path) == before


def test_no_row_is_known_unless_it_was_told() -> None:
    assert Orphans().have_all(None, [])  # type: ignore[arg-type]
    assert not Orphans().have_all(None, None)  # type: ignore[arg-type]
