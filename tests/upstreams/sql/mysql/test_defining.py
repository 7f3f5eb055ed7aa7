"""Changes of the schema: nothing is destroyed, and what has no exact way back is refused."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import ActionClass, EffectState, OnConflict, Permit, RowCounts
from tests.fixtures.mariadb_case import Case, Refused

T = (
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9), KEY (v))",
    "INSERT INTO t (v) SELECT CONCAT('v', seq) FROM seq_1_to_20",
)
FAMILY = (
    "CREATE TABLE p (id INT PRIMARY KEY)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, q INT, CONSTRAINT one FOREIGN KEY (p) REFERENCES "
    "p (id) ON DELETE CASCADE, CONSTRAINT two FOREIGN KEY (q) REFERENCES p (id) ON UPDATE NO "
    "ACTION ON DELETE SET NULL)",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO c VALUES (1, 1, 2), (2, 2, NULL)",
)
TRIGGERED = (
    *T,
    "CREATE TABLE log (id INT)",
    "CREATE TRIGGER x AFTER DELETE ON t FOR EACH ROW INSERT INTO log VALUES (OLD.id)",
)
VIEWED = (*T, "CREATE VIEW w AS SELECT v FROM t")

EXACT = [
    ("DROP TABLE", T, "DROP TABLE t"),
    ("DROP TABLE IF EXISTS", T, "DROP TABLE IF EXISTS t"),
    ("DROP TABLE with a schema", T, "DROP TABLE {d}.t"),
    ("DROP of a child", FAMILY, "DROP TABLE c"),
    ("DROP with triggers", TRIGGERED, "DROP TABLE t"),
    ("DROP under a view", VIEWED, "DROP TABLE t"),
    ("TRUNCATE", T, "TRUNCATE TABLE t"),
    ("TRUNCATE without TABLE", T, "TRUNCATE t"),
    ("RENAME", T, "RENAME TABLE t TO `other name`"),
    ("RENAME of a parent", FAMILY, "RENAME TABLE p TO q"),
    ("CREATE", T, "CREATE TABLE n (id INT PRIMARY KEY, v VARCHAR(9) DEFAULT 'x', KEY k (v))"),
    ("CREATE LIKE", T, "CREATE TABLE n LIKE t"),
    ("CREATE of a child", FAMILY, "CREATE TABLE n (p INT, FOREIGN KEY (p) REFERENCES p (id))"),
]


@pytest.mark.parametrize(("setup", "sql"), [e[1:] for e in EXACT], ids=[e[0] for e in EXACT])
async def test_exact_and_again(case: Case, setup: tuple[str, ...], sql: str) -> None:
    case.setup(*setup)
    before = case.dump()
    done = await case.call(sql.format(d=case.database))
    assert (done.outcome.state, done.outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert await case.source.happened(done.receipt) is EffectState.APPLIED
    after = case.dump()
    assert after != before
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    assert case.dump() == after


async def test_after_each_the_database_is_that_of_the_plain_statement(case: Case) -> None:
    for name, setup, sql in EXACT:
        if name == "DROP with triggers":
            continue  # stays in its schema under another name
        case.setup(*setup)
        case.run(sql.format(d=case.database))
        plain = case.dump()
        case.setup(*setup)
        await case.call(sql.format(d=case.database))
        assert case.dump() == plain, name


async def test_the_extent_is_known_before_anything_happens(case: Case) -> None:
    case.setup(*T)
    before = case.dump()
    action = await case.parse("DROP TABLE t")
    assert action.cls is ActionClass.DDL
    call = case.request("x")
    async with case.source.attempt(call, action) as attempt:
        ran = await attempt.run()
        assert ran.measured.tables == {f"{case.database}.t": RowCounts(deleted=20)}
        assert ran.measured.share == 1
        await attempt.capture()
    assert case.dump() == before
    assert await case.source.happened(call.id) is EffectState.NONE
    assert (await case.parse("TRUNCATE t")).cls is ActionClass.DESTRUCTIVE


REFUSED = [
    (T, "DROP TABLE t, u"),
    (T, "DROP TEMPORARY TABLE t"),
    (T, "DROP DATABASE {d}"),
    (T, "DROP TABLE holdfast.receipts"),
    (T, "DROP TABLE mysql.user"),
    (T, "DROP TABLE missing"),
    (FAMILY, "DROP TABLE p"),
    (FAMILY, "TRUNCATE TABLE p"),
    (FAMILY, "TRUNCATE TABLE c"),
    (TRIGGERED, "TRUNCATE TABLE t"),
    (TRIGGERED, "RENAME TABLE t TO u"),
    (T, "RENAME TABLE t TO holdfast.t"),
    (T, "RENAME TABLE t TO u, u TO v"),
    (FAMILY, "RENAME TABLE p TO c"),
    (T, "CREATE TABLE t (id INT)"),
    (T, "CREATE OR REPLACE TABLE t (id INT)"),
    (T, "CREATE TABLE n AS SELECT * FROM t"),
    (T, "CREATE TEMPORARY TABLE n (id INT)"),
    (T, "CREATE TABLE n (id INT) ENGINE=MyISAM"),
    (T, "CREATE TABLE n (id INT DEFAULT NEXTVAL(s))"),
    (T, "ALTER TABLE t ADD COLUMN x INT"),
    (T, "CREATE VIEW n AS SELECT 1"),
    (T, "CREATE TRIGGER n BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1"),
    (T, "DROP TABLE t; SELECT 1"),
    (("CREATE TABLE m (id INT) ENGINE=MyISAM",), "DROP TABLE m"),
    (("CREATE SEQUENCE m",), "DROP TABLE m"),
]


@pytest.mark.parametrize(("setup", "sql"), REFUSED, ids=[r[1] for r in REFUSED])
async def test_refused_and_nothing_changed(case: Case, setup: tuple[str, ...], sql: str) -> None:
    case.setup(*setup)
    before = case.dump()
    with pytest.raises((Refused, UpstreamError)):
        await case.call(sql.format(d=case.database))
    assert case.dump() == before


async def test_nothing_to_do_is_no_effect(case: Case) -> None:
    case.setup(*T)
    for sql in ("DROP TABLE IF EXISTS missing", "CREATE TABLE IF NOT EXISTS t (id INT)"):
        done = await case.call(sql)
        assert done.outcome.effect is EffectState.NONE
        assert (await case.revert(done.undo)).states == ["reverted"]


async def test_a_dropped_table_is_out_of_reach_of_cascades(case: Case) -> None:
    case.setup(*FAMILY)
    done = await case.call("DROP TABLE c")
    case.run("UPDATE p SET id = 9 WHERE id = 2")
    case.run("UPDATE p SET id = 2 WHERE id = 9")
    await case.revert(done.undo)
    assert case.run("SELECT * FROM c ORDER BY id") == [(1, 1, 2), (2, 2, None)]


async def test_a_child_does_not_come_back_without_its_parents(case: Case) -> None:
    case.setup(*FAMILY)
    done = await case.call("DROP TABLE c")
    case.run("DELETE FROM p WHERE id = 1")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.outcome is not None
    assert (reverted.outcome.state, reverted.outcome.effect) == (State.FAILED, EffectState.NONE)
    assert case.dump() == there


async def test_a_name_that_was_taken_meanwhile(case: Case) -> None:
    case.setup(*T)
    done = await case.call("DROP TABLE t")
    case.run("CREATE TABLE t (other INT)")
    reverted = await case.revert(done.undo, commit=False)
    assert (reverted.states, reverted.whys) == (["conflict"], ["present"])


async def test_rows_that_others_wrote_since(case: Case) -> None:
    for sql in ("TRUNCATE t", "CREATE TABLE n LIKE t"):
        case.setup(*T)
        done = await case.call(sql)
        case.run(f"INSERT INTO {'t' if 'TRUNCATE' in sql else 'n'} (v) VALUES ('x')")
        reverted = await case.revert(done.undo, commit=False)
        assert (reverted.states, reverted.whys) == (["conflict"], ["changed"])
        assert (await case.revert(done.undo, mode=OnConflict.FORCE)).states == ["reverted"]


async def test_a_change_of_the_schema_is_taken_back_alone(case: Case) -> None:
    case.setup(*T)
    one = await case.call("DELETE FROM t WHERE id = 1")
    two = await case.call("DROP TABLE t")
    there = case.dump()
    reverted = await case.revert(two.undo, one.undo, commit=False)
    assert reverted.states[0] == "failed"
    assert case.dump() == there
    assert (await case.revert(two.undo)).states == ["reverted"]
    assert (await case.revert(one.undo)).states == ["reverted"]


async def test_a_connection_that_dies_is_told_by_the_trace(case: Case) -> None:
    case.setup(*T)
    before = case.dump()
    for sql in ("DROP TABLE t", "TRUNCATE t", "RENAME TABLE t TO u"):
        call, action = case.request(sql), await case.parse(sql)
        async with case.source.attempt(call, action) as attempt:
            await attempt.run()
            captured = await attempt.capture()
            case.run(f"KILL {attempt._lent.session.id}")
            outcome = await attempt.commit(Permit.issue(call.id, 1))
        assert (outcome.state, outcome.effect) == (State.FAILED, EffectState.NONE)
        assert await case.source.happened(captured.receipt) is EffectState.NONE
        assert case.dump() == before
