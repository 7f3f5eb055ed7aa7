"""What a call did, compared with what is there now."""

from __future__ import annotations

from gateway.model import OnConflict
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
