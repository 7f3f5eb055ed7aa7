"""Conflicts: what others changed since is never overwritten silently, and no orphan is left."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import EffectState, OnConflict, Reversibility, Undo
from tests.fixtures.postgres_case import Case

_T = """
CREATE TABLE t(id int PRIMARY KEY, v text, code text UNIQUE);
INSERT INTO t SELECT i, 'v' || i, 'c' || i FROM generate_series(1, 6) i;
"""
_FAMILY = """
CREATE TABLE p(id int PRIMARY KEY, v text);
CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p);
INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO c VALUES (1, 1);
"""


async def test_a_row_that_others_changed_stops_the_whole_revert(case: Case) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 3")
    case.admin.execute("UPDATE t SET v = 'person' WHERE id = 2")
    there = case.dump()
    reverted = await case.revert(done.undo)
    (step,) = reverted.steps
    assert step.state == "conflict"
    assert step.restored == 0
    assert step.reason == "revert.conflict"
    (conflict,) = step.conflicts
    assert conflict.as_json() == {
        "resource": "public.t",
        "key": {"id": "2"},
        "before": {"id": "2", "v": "v2", "code": "c2"},
        "after": {"id": "2", "v": "agent", "code": "c2"},
        "now": {"id": "2", "v": "person", "code": "c2"},
        "why": "changed",
    }
    assert case.dump() == there


async def test_skip_leaves_the_changed_row_and_restores_the_rest(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 3")
    case.admin.execute("UPDATE t SET v = 'person' WHERE id = 2")
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert (reverted.states, reverted.steps[0].restored) == (["partial"], 2)
    assert reverted.outcome is not None
    assert (reverted.outcome.state, reverted.outcome.effect) == (
        State.REVERTED,
        EffectState.APPLIED,
    )
    case.admin.execute("UPDATE t SET v = 'v2' WHERE id = 2 AND v = 'person'")
    assert case.dump() == before


async def test_force_overwrites_the_changed_row_and_lists_it(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 3", "DELETE FROM t WHERE id = 6")
    case.admin.execute("UPDATE t SET v = 'person' WHERE id = 2; DELETE FROM t WHERE id = 3")
    case.admin.execute("INSERT INTO t VALUES (6, 'taken', 'x')")
    reverted = await case.revert(done.undo, mode=OnConflict.FORCE)
    (step,) = reverted.steps
    assert step.state == "reverted"
    assert [c.now and c.now["v"] for c in step.conflicts] == ["person", None, "taken"]
    assert case.dump() == before


async def test_merge_restores_the_columns_that_only_the_call_changed(case: Case) -> None:
    case.setup(
        "CREATE TABLE m(id int PRIMARY KEY, v numeric, code text UNIQUE, "
        "twice int GENERATED ALWAYS AS (id * 2) STORED);"
        "INSERT INTO m SELECT i, 1.0, 'c' || i FROM generate_series(1, 5) i"
    )
    before = case.dump()
    done = await case.call("UPDATE m SET v = 2.0, code = 'x' || id")
    case.admin.execute("DELETE FROM m WHERE id = 5")
    there = case.dump()
    assert (await case.revert(done.undo, mode=OnConflict.MERGE, commit=False)).states == ["partial"]
    assert case.dump() == there
    case.admin.execute("INSERT INTO m VALUES (5, 2.0, 'x5')")
    case.admin.execute(
        "UPDATE m SET v = 2.00 WHERE id = 2; UPDATE m SET code = 'mine' WHERE id = 3"
    )
    merged = await case.revert(done.undo, mode=OnConflict.MERGE)
    assert (merged.states, merged.whys) == (["partial"], ["changed"])
    assert [c.key for c in merged.steps[0].conflicts] == [{"id": "2"}, {"id": "3"}]
    case.admin.execute("UPDATE m SET v = 1.0, code = 'c' || id WHERE id IN (2, 3)")
    assert case.dump() == before


async def test_a_merge_leaves_what_others_wrote_in_other_columns(case: Case) -> None:
    case.setup("CREATE TABLE m(id int PRIMARY KEY, v numeric, note text, code text UNIQUE)")
    case.admin.execute("INSERT INTO m SELECT i, 1.0, 'n', 'c' || i FROM generate_series(1, 4) i")
    before = case.dump()
    done = await case.call("UPDATE m SET v = 2, code = 'x' || id")
    case.admin.execute("UPDATE m SET note = 'theirs' WHERE id <= 2")
    merged = await case.revert(done.undo, mode=OnConflict.MERGE)
    assert (merged.states, merged.whys, merged.steps[0].restored) == (["reverted"], [], 4)
    assert merged.steps[0].detail == "2 rows were merged with what others changed in them."
    assert merged.undo is not None
    case.admin.execute("UPDATE m SET note = 'n'")
    assert case.dump() == before
    case.admin.execute("UPDATE m SET note = 'theirs' WHERE id <= 2")
    assert (await case.revert(merged.undo)).states == ["reverted"]
    assert case.admin.execute("SELECT v::text, note, code FROM m ORDER BY id").fetchall() == [
        ("2", "theirs", "x1"),
        ("2", "theirs", "x2"),
        ("2", "n", "x3"),
        ("2", "n", "x4"),
    ]


async def test_an_altered_table_is_told_column_by_column(case: Case) -> None:
    case.setup("CREATE TABLE m(id int PRIMARY KEY, v numeric, w text); INSERT INTO m VALUES (1, 1)")
    done = await case.call("UPDATE m SET v = 2")
    case.admin.execute("ALTER TABLE m DROP COLUMN w, ALTER v TYPE text")
    (step,) = (await case.revert(done.undo)).steps
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")
    assert step.detail is not None
    assert "column w is gone; column v was numeric, is text" in step.detail
    assert step.detail.endswith("the values of id still have their place.")
    case.admin.execute("DROP TABLE m")
    (step,) = (await case.revert(done.undo)).steps
    assert (step.reason, "is gone" in str(step.detail)) == ("revert.schema_changed", True)


async def test_a_row_that_others_deleted_is_a_conflict(case: Case) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'agent' WHERE id = 3")
    case.admin.execute("DELETE FROM t WHERE id = 3")
    (step,) = (await case.revert(done.undo)).steps
    assert step.conflicts[0].now is None
    assert step.state == "conflict"


async def test_a_key_that_others_used_again_is_a_conflict(case: Case) -> None:
    case.setup(_T)
    done = await case.call("DELETE FROM t WHERE id = 3")
    case.admin.execute("INSERT INTO t VALUES (3, 'new', 'new')")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.whys == ["changed"]
    assert case.dump() == there


async def test_a_unique_value_that_others_used_again_is_a_conflict(case: Case) -> None:
    case.setup(_T)
    done = await case.call(
        "DELETE FROM t WHERE id IN (2, 3, 4)", "UPDATE t SET code = 'x' WHERE id = 5"
    )
    case.admin.execute("INSERT INTO t VALUES (30, 'new', 'c3'), (50, 'new', 'c5')")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert [(c.key, c.why) for c in reverted.steps[0].conflicts] == [
        ({"id": "3"}, "unique"),
        ({"id": "5"}, "unique"),
    ]
    assert case.dump() == there
    forced = await case.revert(done.undo, mode=OnConflict.FORCE)
    assert (forced.states, forced.steps[0].restored) == (["partial"], 2)
    assert case.admin.execute("SELECT id, code FROM t WHERE id IN (3, 5)").fetchall() == [(5, "x")]


async def test_a_row_that_changed_its_key_comes_back_whole_or_not_at_all(case: Case) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET id = 60 WHERE id = 6", "UPDATE t SET v = 'a' WHERE id = 1")
    case.admin.execute("UPDATE t SET v = 'theirs' WHERE id = 60")
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert reverted.states == ["partial"]
    there = case.admin.execute("SELECT id, v FROM t WHERE id IN (1, 6, 60) ORDER BY id")
    assert there.fetchall() == [(1, "v1"), (60, "theirs")]


async def test_a_chain_is_taken_back_newest_first(case: Case) -> None:
    case.setup(_FAMILY)
    before = case.dump()
    calls = [
        await case.call("INSERT INTO p VALUES (5, 'five')"),
        await case.call("INSERT INTO c VALUES (5, 5)"),
        await case.call("UPDATE p SET v = 'x' WHERE id >= 2"),
        await case.call("DELETE FROM c", "DELETE FROM p WHERE id <> 5"),
        await case.call("UPDATE p SET id = 6, v = 'six'"),
    ]
    after = case.dump()
    reverted = await case.revert(*(done.undo for done in reversed(calls)))
    assert reverted.states == ["reverted"] * 5
    assert case.dump() == before
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    assert case.dump() == after


async def test_with_abort_a_conflict_in_one_call_restores_none(case: Case) -> None:
    case.setup(_T)
    first = await case.call("UPDATE t SET v = 'one' WHERE id = 1")
    second = await case.call("UPDATE t SET v = 'two' WHERE id = 2")
    case.admin.execute("UPDATE t SET v = 'person' WHERE id = 1")
    there = case.dump()
    reverted = await case.revert(second.undo, first.undo)
    assert reverted.states == ["skipped", "conflict"]
    assert case.dump() == there


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ADD COLUMN extra int",
        "ALTER TABLE t ALTER COLUMN v TYPE varchar(50)",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        "ALTER TABLE t RENAME TO t2",
        "ALTER TABLE t RENAME COLUMN v TO w",
        "DROP TABLE t",
    ],
)
async def test_a_changed_schema_fails_the_step(case: Case, change: str) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'x'")
    case.admin.execute(change)
    (step,) = (await case.revert(done.undo)).steps
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("ALTER TABLE t DROP v; ALTER TABLE t ADD v text; UPDATE t SET v = 'x'", None),
        ("ALTER TABLE t DROP v; ALTER TABLE t ADD v text", "revert.conflict"),
        ("ALTER TABLE t DROP v; ALTER TABLE t ADD v varchar", "revert.schema_changed"),
        ("ALTER TABLE t ADD w text; UPDATE t SET w = v; ALTER TABLE t RENAME v TO x;"
         "ALTER TABLE t RENAME w TO v; ALTER TABLE t DROP x", None),
        ("ALTER TABLE t ADD w text; UPDATE t SET w = v; ALTER TABLE t RENAME v TO x;"
         "ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME x TO w", "revert.schema_changed"),
    ],
)  # fmt: skip
async def test_a_column_that_came_back_is_known_by_its_name_and_type(
    case: Case, change: str, reason: str | None
) -> None:
    case.setup(_T)
    before = case.admin.execute("SELECT id, v FROM t ORDER BY id").fetchall()
    done = await case.call("UPDATE t SET v = 'x'")
    case.admin.execute(change)
    (step,) = (await case.revert(done.undo)).steps
    assert step.reason == reason, step
    after = case.admin.execute("SELECT id, v FROM t ORDER BY id").fetchall()
    assert (after == before) is (reason is None)


async def test_two_columns_that_swapped_their_names_are_not_taken_for_each_other(
    case: Case,
) -> None:
    case.setup("CREATE TABLE s(id int PRIMARY KEY, a int, b int); INSERT INTO s VALUES (1, 2, 3)")
    done = await case.call("UPDATE s SET a = 7, b = 7")
    case.admin.execute(
        "ALTER TABLE s RENAME a TO c; ALTER TABLE s RENAME b TO a; ALTER TABLE s RENAME c TO b"
    )
    (step,) = (await case.revert(done.undo)).steps
    assert step.reason == "revert.schema_changed"


async def test_a_row_that_a_new_constraint_refuses_fails_the_step(case: Case) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'x'")
    case.admin.execute("ALTER TABLE t ADD CHECK (v = 'x')")
    there = case.dump()
    (step,) = (await case.revert(done.undo, mode=OnConflict.SKIP)).steps
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")
    assert case.dump() == there


async def test_an_irreversible_call_is_said_to_be_so(case: Case) -> None:
    undo = Undo(
        upstream="app", kind="postgres.irreversible", reversibility=Reversibility.IRREVERSIBLE
    )
    (step,) = (await case.revert(undo)).steps
    assert (step.state, step.reason) == ("failed", "revert.not_revertible")


async def test_damaged_images_are_never_restored(case: Case) -> None:
    case.setup(_T)
    done = await case.call("DELETE FROM t")
    cut = Undo(
        upstream="app",
        kind=done.undo.kind,
        reversibility=done.undo.reversibility,
        manifest=done.undo.manifest,
        image=done.undo.image[:-5],
    )
    (step,) = (await case.revert(cut)).steps
    assert (step.state, step.reason) == ("failed", "revert.not_revertible")


async def test_a_revert_waits_for_a_locked_row_only_so_long(case: Case) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'x'")
    with case.admin.transaction():
        case.admin.execute("SELECT * FROM t WHERE id = 1 FOR UPDATE")
        with pytest.raises(UpstreamError) as error:
            await case.revert(done.undo)
    assert error.value.reason == "upstream.timeout"


async def test_partition_rows_that_moved_are_linked(case: Case) -> None:
    case.setup(
        "CREATE TABLE p(id int, r text, v int, PRIMARY KEY (id, r)) PARTITION BY LIST (r);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('a');"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('b');"
        "INSERT INTO p VALUES (1, 'a', 1), (2, 'a', 2), (3, 'a', 3)"
    )
    done = await case.call("UPDATE p SET r = 'b' WHERE id < 3")
    case.admin.execute("UPDATE p SET v = 9 WHERE id = 2")
    there = case.dump()
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert reverted.whys == ["changed", "linked"]
    assert case.dump() == there


@pytest.mark.parametrize("change", ["ALTER TABLE t ENABLE ALWAYS TRIGGER z", None])
async def test_a_trigger_that_would_fire_fails_the_step(case: Case, change: str | None) -> None:
    case.setup(
        _T + "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER z BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.v <> 'x') EXECUTE FUNCTION f()"
    )
    done = await case.call("UPDATE t SET v = 'x'")
    if change:
        case.admin.execute(change)
    else:
        case.replica = False
    there = case.dump()
    (step,) = (await case.revert(done.undo, mode=OnConflict.FORCE)).steps
    assert (step.state, step.reason) == ("failed", "revert.not_revertible")
    assert case.dump() == there
