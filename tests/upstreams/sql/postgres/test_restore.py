from __future__ import annotations

from gateway.model import LISTED, OnConflict
from tests.fixtures.postgres_case import Case


async def test_a_deferrable_unique_value_is_checked_although_triggers_are_off(case: Case) -> None:
    case.setup(
        "CREATE TABLE t(id int PRIMARY KEY, code text UNIQUE DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')"
    )
    done = await case.call("DELETE FROM t WHERE id = 1")
    case.admin.execute("INSERT INTO t VALUES (3, 'a')")
    for mode in OnConflict:
        assert (await case.revert(done.undo, mode=mode)).whys == ["unique"]
    assert case.admin.execute("SELECT id FROM t ORDER BY id").fetchall() == [(2,), (3,)]


async def test_a_long_list_of_conflicts_is_cut_and_counted(case: Case) -> None:
    case.setup(
        "CREATE TABLE t(id int PRIMARY KEY, v int);"
        "INSERT INTO t SELECT i, 0 FROM generate_series(1, 1200) i"
    )
    done = await case.call("UPDATE t SET v = 1")
    case.admin.execute("UPDATE t SET v = 2")
    (step,) = (await case.revert(done.undo)).steps
    assert (len(step.conflicts), step.more) == (LISTED, 1200 - LISTED)
    assert step.detail == "1200 rows were changed by others and left as they are."


async def test_many_unique_conflicts_are_found_one_by_one(case: Case) -> None:
    case.setup(
        "CREATE TABLE t(id int PRIMARY KEY, code int UNIQUE);"
        "INSERT INTO t SELECT i, i FROM generate_series(1, 100) i"
    )
    done = await case.call("DELETE FROM t")
    case.admin.execute("INSERT INTO t SELECT 1000 + i, i * 10 FROM generate_series(1, 10) i")
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert reverted.steps[0].restored == 90
    assert sorted(int(c.before["code"]) for c in reverted.steps[0].conflicts) == list(
        range(10, 101, 10)
    )
