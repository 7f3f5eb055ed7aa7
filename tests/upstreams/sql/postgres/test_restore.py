from __future__ import annotations

from gateway.model import LISTED, OnConflict
from tests.fixtures.postgres_case import Case

_T = """
CREATE TABLE t(id int PRIMARY KEY, v text, code text UNIQUE);
INSERT INTO t SELECT i, 'v' || i, 'c' || i FROM generate_series(1, 6) i;
"""
_BAG = "CREATE TABLE bag(v text, n int); INSERT INTO bag VALUES ('a', 1), ('a', 1), ('b', 2)"


async def test_equal_copies_without_a_key_are_counted(case: Case) -> None:
    case.setup(_BAG)
    before = case.dump()
    done = await case.call("UPDATE bag SET v = 'b', n = 2 WHERE v = 'a'")
    case.admin.execute("INSERT INTO bag VALUES ('b', 2), ('new', 0)")
    assert (await case.revert(done.undo)).states == ["reverted"]
    case.admin.execute("DELETE FROM bag WHERE v = 'new'")
    case.admin.execute("DELETE FROM bag WHERE ctid = (SELECT max(ctid) FROM bag WHERE v = 'b')")
    assert case.dump() == before


async def test_a_missing_copy_without_a_key_leaves_the_table_alone(case: Case) -> None:
    case.setup(_BAG)
    done = await case.call("UPDATE bag SET v = 'z', n = n + 5")
    case.admin.execute("UPDATE bag SET v = 'theirs' WHERE n = 7")
    there = case.dump()
    for mode, whys in (
        (OnConflict.ABORT, ["changed"]),
        (OnConflict.SKIP, ["changed", "linked"]),
        (OnConflict.FORCE, ["changed", "linked"]),
    ):
        assert (await case.revert(done.undo, mode=mode)).whys == whys
        assert case.dump() == there


async def test_a_row_that_somebody_put_back_is_named_and_needs_nothing(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 2")
    case.admin.execute("UPDATE t SET v = 'v1' WHERE id = 1")
    there = case.dump()
    refused = await case.revert(done.undo)
    assert (refused.states, refused.whys) == (["conflict"], ["undone"])
    assert case.dump() == there
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert (reverted.states, reverted.whys) == (["reverted"], ["undone"])
    assert reverted.steps[0].restored == 1
    assert case.dump() == before


async def test_values_that_compare_equal_are_still_told_apart(case: Case) -> None:
    case.setup(
        "CREATE TABLE t(id int PRIMARY KEY, n numeric, f float8, i interval);"
        "INSERT INTO t VALUES (1, 1.0, 0, '1 mon'), (2, 1.0, 0, '1 mon')"
    )
    done = await case.call("UPDATE t SET n = 2")
    case.admin.execute("UPDATE t SET n = 2.00 WHERE id = 1; UPDATE t SET f = '-0' WHERE id = 2")
    assert len((await case.revert(done.undo)).steps[0].conflicts) == 2


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
