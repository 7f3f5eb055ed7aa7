"""Changes of the schema: nothing is destroyed, and what has no exact way back is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import ActionClass, EffectState, OnConflict, Permit, RowCounts
from gateway.upstreams.sql.mysql import alteration, difference, plans
from gateway.upstreams.sql.mysql.catalog import Relation
from gateway.upstreams.sql.mysql.session import Session
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
WIDE = (
    "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL DEFAULT 3 COMMENT 'c''d', b VARCHAR(20), "
    "c ENUM('x,', 'y)') DEFAULT 'y)', twice INT AS (id * 2) STORED, KEY a (a), KEY b (b), "
    "KEY c (c), UNIQUE u (b, a), CONSTRAINT pos CHECK (id > 0), CONSTRAINT neg CHECK (a > -9)) "
    "COMMENT='the, (table)'",
    "INSERT INTO t (id, a, b, c) VALUES (1, 1, 'a', 'x,'), (2, 2, 'B ', NULL), (3, 2, NULL, 'y)')",
)
NOKEY = (
    "CREATE TABLE t (id INT, a INT)",
    "INSERT INTO t VALUES (3, 1), (1, 1), (2, NULL)",
)
VIEWED = (*T, "CREATE VIEW w AS SELECT v FROM t")

HEIRS = (
    "CREATE TABLE p (id INT PRIMARY KEY)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, q INT, v INT, "
    "FOREIGN KEY (p) REFERENCES p (id), KEY z (v))",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO c VALUES (1, 1, 2, 3), (2, NULL, 1, 4)",
)
INDEXES = {
    "is the server's": ("DO 0",),
    "of the server's was left behind": (
        "ALTER TABLE c ADD CONSTRAINT two FOREIGN KEY (q) REFERENCES p (id), ADD KEY w (v, q)",
        "ALTER TABLE c DROP FOREIGN KEY c_ibfk_1, DROP FOREIGN KEY two",
        "ALTER TABLE c ADD CONSTRAINT c_ibfk_1 FOREIGN KEY (p) REFERENCES p (id)",
    ),
    "is somebody's": ("ALTER TABLE c ADD KEY q (q), ADD KEY own (p), ADD KEY w (v, q)",),
    "is unique": ("ALTER TABLE c ADD UNIQUE KEY uq (q), ADD UNIQUE KEY up (p)",),
    "is longer": ("ALTER TABLE c ADD KEY longer (q, v), ADD KEY as_well (p, v)",),
}
ADDED = (
    "ALTER TABLE {} ADD CONSTRAINT k FOREIGN KEY (q) REFERENCES p (id)",
    "ALTER TABLE {} ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES p (id)",
)
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
    ("CREATE AS", T, "CREATE TABLE n AS SELECT id, CONCAT(v, 'x') AS w FROM t"),
    ("CREATE with columns LIKE", T, "CREATE TABLE n SELECT * FROM t WHERE id < 5"),
    ("CREATE VIEW", T, "CREATE VIEW n AS SELECT id FROM t WHERE v > 'v1'"),
    ("DROP VIEW", VIEWED, "DROP VIEW w"),
    ("CREATE INDEX", T, "CREATE INDEX k ON t (v, id)"),
    ("CREATE UNIQUE INDEX", T, "CREATE UNIQUE INDEX k ON {d}.t (v)"),
    ("DROP INDEX", T, "DROP INDEX v ON t"),
    ("DROP INDEX in the middle", WIDE, "DROP INDEX a ON t"),
    ("ADD COLUMN", T, "ALTER TABLE t ADD COLUMN x INT"),
    ("ADD COLUMN in the middle", WIDE, "ALTER TABLE t ADD x VARCHAR(9) DEFAULT 'y' AFTER id"),
    ("ADD COLUMN not null", WIDE, "ALTER TABLE t ADD x INT NOT NULL"),
    ("ADD COLUMN of now", WIDE, "ALTER TABLE t ADD x TIMESTAMP DEFAULT CURRENT_TIMESTAMP"),
    ("ADD generated", T, "ALTER TABLE t ADD x INT AS (id * 2) VIRTUAL"),
    ("ADD several", WIDE, "ALTER TABLE t ADD x INT FIRST, ADD KEY x (x), DROP KEY b, COMMENT='q'"),
    ("ADD CHECK", T, "ALTER TABLE t ADD CONSTRAINT c CHECK (v <> '')"),
    ("DROP CHECK", WIDE, "ALTER TABLE t DROP CONSTRAINT pos"),
    ("DROP COLUMN", WIDE, "ALTER TABLE t DROP COLUMN c"),
    ("DROP COLUMN, no key", NOKEY, "ALTER TABLE t DROP COLUMN a"),
    ("RENAME COLUMN", WIDE, "ALTER TABLE t RENAME COLUMN a TO z"),
    ("CHANGE", WIDE, "ALTER TABLE t CHANGE a z INT NOT NULL DEFAULT 3 COMMENT 'c' AFTER b"),
    ("MODIFY wider", WIDE, "ALTER TABLE t MODIFY b VARCHAR(30), MODIFY a BIGINT"),
    ("MODIFY of another type", WIDE, "ALTER TABLE t MODIFY b VARBINARY(20)"),
    ("MODIFY that moves", WIDE, "ALTER TABLE t MODIFY b VARCHAR(20) FIRST"),
    ("DEFAULT", WIDE, "ALTER TABLE t ALTER COLUMN b SET DEFAULT 'k'"),
    ("DROP DEFAULT", WIDE, "ALTER TABLE t ALTER a DROP DEFAULT"),
    ("RENAME INDEX", WIDE, "ALTER TABLE t RENAME INDEX a TO q"),
    ("IGNORED", WIDE, "ALTER TABLE t ALTER INDEX a IGNORED"),
    (
        "NOT IGNORED",
        (*WIDE, "ALTER TABLE t ALTER INDEX a IGNORED"),
        "ALTER TABLE t ALTER INDEX a NOT IGNORED",
    ),
    (
        "another index and IGNORED",
        (*WIDE, "ALTER TABLE t ALTER INDEX a IGNORED, ADD KEY o (id, a)"),
        "ALTER TABLE t DROP INDEX a, ALTER INDEX o IGNORED, ADD KEY q (id)",
    ),
    ("CONVERT", WIDE, "ALTER TABLE t CONVERT TO CHARACTER SET latin1"),
    ("PRIMARY KEY", NOKEY, "ALTER TABLE t ADD PRIMARY KEY (id)"),
    ("DROP PRIMARY KEY", WIDE, "ALTER TABLE t DROP PRIMARY KEY"),
    ("RENAME by ALTER", T, "ALTER TABLE t RENAME TO u"),
    ("ALTER with triggers", TRIGGERED, "ALTER TABLE t ADD COLUMN x INT"),
    ("ALTER of a parent", FAMILY, "ALTER TABLE p ADD COLUMN x INT"),
    ("ALTER of a child", FAMILY, "ALTER TABLE c ADD COLUMN x INT DEFAULT 5"),
    ("DROP FOREIGN KEY", FAMILY, "ALTER TABLE c DROP FOREIGN KEY one"),
    (
        "ADD FOREIGN KEY",
        FAMILY,
        "ALTER TABLE c ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES p (id)",
    ),
    (
        "ADD FOREIGN KEY with its index",
        (*FAMILY, "ALTER TABLE c ADD COLUMN r INT"),
        "ALTER TABLE c ADD CONSTRAINT k FOREIGN KEY (r) REFERENCES p (id) ON DELETE CASCADE",
    ),
    (
        "DROP of a child with indexes in between",
        (
            "CREATE TABLE p (id INT PRIMARY KEY)",
            "CREATE TABLE c (id INT, p INT, q INT, KEY x (q), "
            "CONSTRAINT one FOREIGN KEY (p) REFERENCES p (id), KEY y (q, p))",
        ),
        "DROP TABLE c",
    ),
    ("CREATE of a child", FAMILY, "CREATE TABLE n (p INT, FOREIGN KEY (p) REFERENCES p (id))"),
    (
        "ADD FOREIGN KEY beside an index of its name in capitals",
        (*HEIRS, "ALTER TABLE c ADD KEY K (v), ADD KEY q (q)"),
        "ALTER TABLE c ADD CONSTRAINT k FOREIGN KEY (q) REFERENCES p (id)",
    ),
    *(
        (f"{sql} where an index {what}", (*HEIRS, *indexes), sql.format("c"))
        for what, indexes in INDEXES.items()
        for sql in (
            "DROP TABLE {}",
            "ALTER TABLE {} DROP FOREIGN KEY c_ibfk_1",
            *(ADDED if "server" not in what else ()),
        )
    ),
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


@pytest.mark.parametrize("sql", ADDED)
@pytest.mark.parametrize("what", [what for what in INDEXES if "server" in what])
async def test_an_index_that_the_server_replaced(case: Case, what: str, sql: str) -> None:
    """It comes back under its name, but is the server's own no more, which the server would not
    replace again. So there is either no redo or an exact one."""
    case.setup(*HEIRS, *INDEXES[what])
    before = case.dump()
    done = await case.call(sql.format("c"))
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, case.dump()) == (["reverted"], before)
    assert reverted.undo is not None
    again = await case.revert(reverted.undo)
    replaced = (after["c"][0].count("KEY `k`") and "left" in what) or "(p)" in sql
    assert again.states == ["failed" if replaced else "reverted"]
    assert case.dump() == (before if replaced else after)


async def test_what_an_index_does_not_do_is_not_believed(case: Case) -> None:
    """The server leaves an index as it is that goes and comes, ignored or not."""
    case.setup(*WIDE)
    before = case.dump()
    done = await case.call("ALTER TABLE t DROP INDEX a, ADD INDEX a (a) IGNORED")
    assert (done.outcome.effect, case.dump()) == (EffectState.NONE, before)


async def test_a_way_back_that_leads_elsewhere_is_not_called_done(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.setup(*WIDE)
    monkeypatch.setattr(difference, "_seen", lambda line: line)

    def tried(session: Session, call: str, of: Relation, *told: Any) -> alteration.Tried:
        return alteration._tried(session, "TEMPORARY TABLE", call, of.at, *told)

    monkeypatch.setattr(plans, "tried", tried)
    done = await case.call("ALTER TABLE t ALTER INDEX a IGNORED")
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.outcome is not None
    assert (reverted.outcome.state, reverted.outcome.effect) == (State.FAILED, EffectState.NONE)
    assert case.dump() == after


async def test_a_table_that_was_set_aside_keeps_nobody_from_its_parent(case: Case) -> None:
    case.setup("CREATE TABLE p (id INT PRIMARY KEY, v INT)")
    index = await case.call("CREATE INDEX v ON p (v)")
    before = case.dump()
    done = await case.call(
        "CREATE TABLE n (x INT, y INT, KEY z (y), FOREIGN KEY (x) REFERENCES p (id), "
        "CONSTRAINT b FOREIGN KEY (y) REFERENCES p (v), KEY last (x, y))"
    )
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, case.dump()) == (["reverted"], before)
    assert reverted.undo is not None
    again = await case.revert(reverted.undo)
    assert (again.states, case.dump()) == (["reverted"], after)
    assert again.undo is not None
    assert (await case.revert(again.undo)).states == ["reverted"]
    back = await case.revert(index.undo)
    assert back.outcome is not None
    assert back.outcome.state is State.REVERTED
    case.run("DROP TABLE p")


async def test_after_each_the_database_is_that_of_the_plain_statement(case: Case) -> None:
    for name, setup, sql in EXACT:
        if name in ("CREATE VIEW", "DROP with triggers", "ADD COLUMN of now"):
            continue  # its owner, its place, its clock differ
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
    (T, "CREATE TEMPORARY TABLE n (id INT)"),
    (T, "CREATE TABLE n (id INT) ENGINE=MyISAM"),
    (T, "CREATE TABLE n (id INT DEFAULT NEXTVAL(s))"),
    (T, "CREATE TABLE n AS SELECT SLEEP(1)"),
    (T, "CREATE VIEW n AS SELECT * FROM holdfast.receipts"),
    (T, "CREATE OR REPLACE VIEW n AS SELECT 1"),
    (VIEWED, "ALTER VIEW w AS SELECT 1"),
    (VIEWED, "DROP TABLE w"),
    (VIEWED, "DROP VIEW t"),
    (VIEWED, "CREATE VIEW w AS SELECT 1"),
    (T, "ALTER TABLE t ENGINE=MyISAM"),
    (T, "ALTER TABLE t ADD x INT, RENAME TO u"),
    (T, "ALTER TABLE t ADD SYSTEM VERSIONING"),
    (T, "ALTER TABLE t PARTITION BY HASH (id)"),
    (T, "ALTER TABLE t ADD x INT DEFAULT (NEXT VALUE FOR s)"),
    (T, "ALTER TABLE t ADD COLUMN v INT"),
    (T, "ALTER TABLE missing ADD COLUMN v INT"),
    (T, "ALTER TABLE t ADD x INT REFERENCES u (id)"),
    (TRIGGERED, "ALTER TABLE t DROP COLUMN v"),
    (FAMILY, "ALTER TABLE c DROP COLUMN id"),
    (FAMILY, "ALTER TABLE c DROP FOREIGN KEY three"),
    (FAMILY, "ALTER TABLE c ADD FOREIGN KEY (id) REFERENCES p (id)"),
    (FAMILY, "ALTER TABLE c DROP FOREIGN KEY one, DROP FOREIGN KEY two"),
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


async def test_what_others_wrote_to_an_altered_table_is_a_conflict(case: Case) -> None:
    for sql, since in (
        ("ALTER TABLE t ADD COLUMN x INT DEFAULT 5", "UPDATE t SET x = 6 WHERE id = 1"),
        ("ALTER TABLE t DROP COLUMN c", "UPDATE t SET b = 'z' WHERE id = 1"),
        ("CREATE TABLE n AS SELECT * FROM t", "DELETE FROM n WHERE id = 1"),
    ):
        case.setup(*WIDE)
        before = case.dump()
        done = await case.call(sql)
        case.run(since)
        reverted = await case.revert(done.undo, commit=False)
        assert (reverted.states, reverted.whys) == (["conflict"], ["changed"]), sql
        assert (await case.revert(done.undo, mode=OnConflict.FORCE)).states == ["reverted"]
        assert case.dump() == before


async def test_what_others_wrote_beside_a_new_column_stays(case: Case) -> None:
    case.setup(*WIDE)
    done = await case.call("ALTER TABLE t ADD COLUMN x INT DEFAULT 5")
    case.run("UPDATE t SET b = 'z' WHERE id = 1")
    case.run("INSERT INTO t (id) VALUES (9)")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.run("SELECT id, b FROM t ORDER BY id") == [
        (1, "z"),
        (2, "B "),
        (3, None),
        (9, None),
    ]


async def test_a_table_that_was_altered_since(case: Case) -> None:
    case.setup(*WIDE)
    done = await case.call("ALTER TABLE t ADD COLUMN x INT DEFAULT 5")
    case.run("ALTER TABLE t ADD COLUMN y INT")
    step = (await case.revert(done.undo, commit=False)).steps[0]
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")


async def test_rows_that_others_wrote_since(case: Case) -> None:
    for sql in ("TRUNCATE t", "CREATE TABLE n LIKE t"):
        case.setup(*T)
        done = await case.call(sql)
        case.run(f"INSERT INTO {'t' if 'TRUNCATE' in sql else 'n'} (v) VALUES ('x')")
        reverted = await case.revert(done.undo, commit=False)
        assert (reverted.states, reverted.whys) == (["conflict"], ["changed"])
        assert (await case.revert(done.undo, mode=OnConflict.FORCE)).states == ["reverted"]


async def test_a_connection_that_dies_is_told_by_the_trace(case: Case) -> None:
    case.setup(*T)
    before = case.dump()
    for sql in (
        "DROP TABLE t",
        "TRUNCATE t",
        "RENAME TABLE t TO u",
        "ALTER TABLE t ADD COLUMN x INT",
        "ALTER TABLE t MODIFY v INT",
    ):
        call, action = case.request(sql), await case.parse(sql)
        async with case.source.attempt(call, action) as attempt:
            await attempt.run()
            captured = await attempt.capture()
            case.run(f"KILL {attempt._lent.session.id}")
            outcome = await attempt.commit(Permit.issue(call.id, 1))
        assert (outcome.state, outcome.effect) == (State.FAILED, EffectState.NONE)
        assert await case.source.happened(captured.receipt) is EffectState.NONE
        assert case.dump() == before
