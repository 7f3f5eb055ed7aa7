"""Conflicts: what others changed since is never overwritten silently, and no orphan is left."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.lifecycle import State
from gateway.model import Conflict, EffectState, OnConflict, Reversibility
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_server import MariadbServer

T = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9) COLLATE utf8mb4_general_ci, n INT, "
    "code VARCHAR(9) UNIQUE)",
    "INSERT INTO t SELECT seq, CONCAT('v', seq), 0, CONCAT('c', seq) FROM seq_1_to_6",
)
FAMILY = (
    "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
    "INSERT INTO p VALUES (1, 1), (2, 2)",
    "INSERT INTO c VALUES (1, 1)",
)


async def test_a_row_that_others_changed_stops_the_whole_revert(case: Case) -> None:
    case.setup(*T)
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 3")
    case.run("UPDATE t SET v = 'person' WHERE id = 2")
    there = case.dump()
    reverted = await case.revert(done.undo)
    (step,) = reverted.steps
    assert (step.state, step.restored, step.reason) == ("conflict", 0, "revert.conflict")
    assert step.conflicts == (
        Conflict(
            resource=f"{case.database}.t",
            key={"id": "2"},
            before={"id": "2", "v": "v2", "n": "0", "code": "c2"},
            after={"id": "2", "v": "agent", "n": "0", "code": "c2"},
            now={"id": "2", "v": "person", "n": "0", "code": "c2"},
        ),
    )
    assert case.dump() == there


async def test_case_and_trailing_space_are_changes(case: Case) -> None:
    for now in ("AGENT", "agent "):
        case.setup(*T)
        done = await case.call("UPDATE t SET v = 'agent' WHERE id = 1")
        case.run(f"UPDATE t SET v = '{now}' WHERE id = 1")
        assert (await case.revert(done.undo)).states == ["conflict"]


@pytest.mark.parametrize(
    ("mode", "states", "left"),
    [
        (OnConflict.SKIP, ["partial"], "person"),
        (OnConflict.FORCE, ["reverted"], "v2"),
    ],
)
async def test_skip_and_force(case: Case, mode: OnConflict, states: list[str], left: str) -> None:
    case.setup(*T)
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 3")
    case.run("UPDATE t SET v = 'person' WHERE id = 2")
    reverted = await case.revert(done.undo, mode=mode)
    assert reverted.states == states
    assert reverted.outcome is not None
    assert (reverted.outcome.state, reverted.outcome.effect) == (
        State.REVERTED,
        EffectState.APPLIED,
    )
    assert [row[0] for row in case.run("SELECT v FROM t WHERE id <= 3 ORDER BY id")] == [
        "v1",
        left,
        "v3",
    ]


async def test_merge_restores_the_columns_that_nobody_touched(case: Case) -> None:
    case.setup(*T)
    done = await case.call("UPDATE t SET v = 'agent' WHERE id <= 2")
    case.run("UPDATE t SET n = 5 WHERE id = 2")
    reverted = await case.revert(done.undo, mode=OnConflict.MERGE)
    assert reverted.states == ["reverted"]
    assert case.run("SELECT v, n FROM t WHERE id = 2") == [("v2", 5)]


async def test_a_unique_value_that_is_taken_again(case: Case) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t WHERE id <= 2")
    case.run("INSERT INTO t VALUES (77, 'x', 0, 'c2')")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], ["unique"])
    assert case.dump() == there
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert reverted.states == ["partial"]
    assert [row[0] for row in case.run("SELECT id FROM t WHERE id < 3")] == [1]


async def test_swapped_unique_values_meet_no_one(case: Case) -> None:
    case.setup(*T)
    before = case.dump()
    done = await case.call(
        "UPDATE t SET code = 'x' WHERE id = 1; UPDATE t SET code = 'c1' WHERE id = 2; "
        "UPDATE t SET code = 'c2' WHERE id = 1"
    )
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


async def test_no_reference_is_left_without_its_row(case: Case) -> None:
    case.setup(*FAMILY)
    done = await case.call("INSERT INTO p VALUES (9, 9)")
    case.run("INSERT INTO c VALUES (5, 9)")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], ["referenced"])
    assert case.dump() == there


async def test_a_row_does_not_come_back_without_its_parent(case: Case) -> None:
    case.setup(*FAMILY)
    done = await case.call("DELETE FROM c WHERE id = 1")
    case.run("DELETE FROM p WHERE id = 1")
    there = case.dump()
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert (reverted.states, reverted.whys) == (["conflict"], ["orphan"])
    assert case.dump() == there


async def test_a_row_that_somebody_put_back_is_listed(case: Case) -> None:
    case.setup(*T)
    done = await case.call("UPDATE t SET v = 'agent' WHERE id = 1")
    case.run("UPDATE t SET v = 'v1' WHERE id = 1")
    assert (await case.revert(done.undo)).whys == ["undone"]


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE t ADD COLUMN x INT", "DROP TABLE t", "RENAME TABLE t TO other",
     "ALTER TABLE t MODIFY n BIGINT"],
)  # fmt: skip
async def test_a_changed_schema(case: Case, change: str) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t WHERE id = 1")
    case.run(change)
    (step,) = (await case.revert(done.undo)).steps
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")


async def test_a_trigger_that_came_since_does_not_fire(case: Case) -> None:
    case.setup(*T)
    rows = case.run("SELECT * FROM t ORDER BY 1")
    done = await case.call("DELETE FROM t WHERE id = 1")
    case.run("CREATE TRIGGER later BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 99")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.run("SELECT * FROM t ORDER BY 1") == rows


async def test_a_trigger_that_would_fire_all_the_same_is_shown(case: Case) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t WHERE id = 1")
    case.run("CREATE TRIGGER later BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 99")
    there = case.dump()
    case.run("SET GLOBAL slave_run_triggers_for_rbr = YES")
    try:
        (step,) = (await case.revert(done.undo)).steps
    finally:
        case.run("SET GLOBAL slave_run_triggers_for_rbr = NO")
    assert (step.state, step.reason) == ("failed", "revert.not_revertible")
    assert "later" in (step.detail or "")
    assert case.dump() == there


async def test_a_chain_newest_first_and_its_redo(case: Case) -> None:
    case.setup(*T, *FAMILY)
    before = case.dump()
    undos = [
        (await case.call(sql)).undo
        for sql in (
            "UPDATE t SET v = 'x' WHERE id = 1",
            "DELETE FROM t WHERE id = 1",
            "INSERT INTO t VALUES (1, 'new', 1, 'n')",
            "UPDATE t SET n = n + 1",
            "DELETE FROM c WHERE id = 1",
            "DELETE FROM p WHERE id = 1",
        )
    ]
    after = case.dump()
    reverted = await case.revert(*reversed(undos))
    assert set(reverted.states) == {"reverted"}
    assert case.dump() == before
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    assert case.dump() == after


async def test_one_conflict_leaves_every_call_alone(case: Case) -> None:
    case.setup(*T)
    one = await case.call("UPDATE t SET v = 'x' WHERE id = 1")
    two = await case.call("UPDATE t SET v = 'y' WHERE id = 2")
    case.run("UPDATE t SET v = 'person' WHERE id = 1")
    there = case.dump()
    reverted = await case.revert(two.undo, one.undo)
    assert reverted.states == ["skipped", "conflict"]
    assert case.dump() == there


async def test_a_call_without_a_way_back(case: Case) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t WHERE id = 1")
    undo = dataclasses.replace(
        done.undo, reversibility=Reversibility.IRREVERSIBLE, manifest={"why": "it was agreed"}
    )
    (step,) = (await case.revert(undo)).steps
    assert (step.state, step.reason, step.detail) == (
        "failed",
        "revert.not_revertible",
        "it was agreed",
    )


async def test_the_counter_never_goes_back(case: Case) -> None:
    case.setup("CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
    done = await case.call("INSERT INTO a (v) VALUES (1), (2)")
    counter = case.counter("a")
    await case.revert(done.undo)
    assert case.counter("a") >= counter


async def test_a_revert_has_a_receipt(case: Case) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t WHERE id = 1")
    planned = await case.revert(done.undo, commit=False)
    assert await case.source.happened(planned.call) is EffectState.NONE
    reverted = await case.revert(done.undo)
    assert await case.source.happened(reverted.call) is EffectState.APPLIED


@pytest.mark.parametrize("key", ["id int PRIMARY KEY", "id varchar(700) PRIMARY KEY", "id int"])
async def test_no_statement_of_a_revert_is_longer_than_the_server_takes(
    small_packets: None, mariadb_server: MariadbServer, case_database: str, key: str
) -> None:
    case = Case(mariadb_server, case_database)
    case.setup(
        f"CREATE TABLE t({key}, v longtext)",
        "INSERT INTO t SELECT seq, REPEAT('é', 1200) FROM seq_1_to_1500",
        "UPDATE t SET v = REPEAT('x', 400000) WHERE id IN (3, 900)",
    )
    if "varchar" in key:
        case.run("UPDATE t SET id = CONCAT(id, REPEAT('y', 650))")
    before = case.dump()
    done = await case.call("DELETE FROM t")
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    await case.close()


async def test_rows_of_many_columns_without_a_value_fit_as_well(
    small_packets: None, mariadb_server: MariadbServer, case_database: str
) -> None:
    case = Case(mariadb_server, case_database)
    columns = ", ".join(f"c{n} int" for n in range(400))
    case.setup(
        f"CREATE TABLE t(id int PRIMARY KEY, {columns})",
        "INSERT INTO t (id) SELECT seq FROM seq_1_to_1000",
    )
    before = case.dump()
    done = await case.call("DELETE FROM t")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
    await case.close()


async def test_a_row_that_could_not_be_written_again_is_left_alone(
    small_packets: None, mariadb_server: MariadbServer, case_database: str
) -> None:
    case = Case(mariadb_server, case_database)
    case.setup("CREATE TABLE t(id int PRIMARY KEY, v longblob)", "INSERT INTO t VALUES (2, 'x')")
    for part in (300_000, 600_000):
        case.run(f"INSERT INTO t VALUES ({part}, REPEAT('x', {part}))")
    before = case.dump()
    for statement in ("DELETE FROM t WHERE id > 5", "UPDATE t SET v = 'y'"):
        with pytest.raises(Refused) as refused:
            await case.call(statement)
        assert refused.value.deny.reason == "undo.unavailable"
        assert case.dump() == before
    done = await case.call("DELETE FROM t WHERE id < 500000")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
    await case.close()
