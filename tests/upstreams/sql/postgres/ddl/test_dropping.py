"""DROP by quarantine: a whole dump is the same after the revert, and the agent cannot tell."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from gateway.errors import UpstreamError
from gateway.model import Action, OnConflict, Reversibility
from tests.fixtures.postgres_ddl import (
    CAPTURE,
    OWNER,
    SHOP,
    Refused,
    SchemaCase,
    different,
    prepared_database,
)
from tests.fixtures.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

DROPS = [
    "DROP TABLE t CASCADE",
    "DROP TABLE child",
    "DROP TABLE child, t CASCADE",
    "DROP VIEW ww",
    "DROP VIEW w CASCADE",
    "DROP MATERIALIZED VIEW mv",
    "DROP TABLE parent CASCADE",
    "DROP TABLE parted",
    "DROP TABLE parted_1",
    "DROP TABLE base CASCADE",
    "DROP SEQUENCE alone",
    "DROP SEQUENCE t_id_seq CASCADE",
    "DROP SCHEMA box CASCADE",
    "DROP INDEX by_n",
    "DROP INDEX mvi",
    "DROP FUNCTION add(text)",
    "DROP FUNCTION add(int, int) CASCADE",
    "DROP FUNCTION note CASCADE",
    "DROP FUNCTION one",
    "DROP ROUTINE one(t)",
    "DROP PROCEDURE nothing",
    "DROP AGGREGATE total(int)",
    "DROP TYPE pair",
    "DROP DOMAIN positive",
    "DROP TRIGGER noted ON t",
    "DROP POLICY by_t ON guarded",
    "DROP POLICY seen ON t",
    "DROP RULE mirror ON borrower",
    "DROP TABLE IF EXISTS nowhere, guarded",
    "DROP TABLE IF EXISTS nowhere",
    "DROP TABLE child; DROP VIEW ww; DROP TABLE guarded",
]


@pytest.mark.parametrize("sql", DROPS)
async def test_the_whole_dump_is_the_same_after_the_revert(shop: SchemaCase, sql: str) -> None:
    before = shop.dump()
    done = await shop.call(sql)
    dropped = shop.dump()
    reverted = await shop.revert(done.undo)
    assert set(reverted.states) <= {"reverted"}, reverted.steps
    assert different(before, shop.dump()) == []
    if reverted.undo is not None:
        again = await shop.revert(reverted.undo)
        assert again.states == ["reverted"], again.steps
        assert different(dropped, shop.dump()) == []
        assert again.undo is not None
        assert (await shop.revert(again.undo)).states == ["reverted"]
        assert different(before, shop.dump()) == []


ANSWERS = [
    "DROP TABLE t",
    "DROP TABLE nowhere",
    "DROP TABLE nowhere.t",
    "DROP VIEW t",
    "DROP TABLE w",
    "DROP SEQUENCE t_g_seq",
    "DROP SEQUENCE t_id_seq",
    "DROP INDEX t_pkey",
    "DROP SCHEMA box",
    "DROP TABLE IF EXISTS nowhere",
    "DROP TABLE child",
    "DROP VIEW IF EXISTS ww, nowhere",
    "DROP TABLE t CASCADE",
    "DROP SCHEMA IF EXISTS box CASCADE",
    "DROP FUNCTION add",
    "DROP FUNCTION nothing(int)",
    "DROP TYPE colour",
    "DROP TRIGGER nowhere ON t",
    "DROP POLICY IF EXISTS nowhere ON t",
    "DROP FUNCTION IF EXISTS nowhere(int)",
]


@pytest.mark.parametrize("sql", ANSWERS)
async def test_the_agent_gets_the_servers_own_answer(shop: SchemaCase, sql: str) -> None:
    said = _plainly(shop, sql)
    before = shop.dump()
    if said:
        with pytest.raises(UpstreamError) as raised:
            await shop.call(sql)
        extra = raised.value.extra
        assert (extra["sqlstate"], extra["message"], extra.get("server_detail")) == said
    else:
        done = await shop.call(sql)
        assert done.outcome.result is not None
        assert (done.outcome.result["verb"], done.outcome.result["rows"]) == ("drop", [])
        if done.undo.manifest.get("parts"):
            assert (await shop.revert(done.undo)).states == ["reverted"]
    assert different(before, shop.dump()) == []


def _plainly(shop: SchemaCase, sql: str) -> tuple[str | None, ...]:
    """SQLSTATE, message and detail of the plain statement; nothing where it succeeds."""
    try:
        with shop.owner.transaction(force_rollback=True):
            shop.owner.execute(sql.encode())
    except psycopg.Error as error:
        return (error.sqlstate, error.diag.message_primary, error.diag.message_detail)
    return ()


async def test_while_it_is_away_the_world_is_as_after_a_real_drop(shop: SchemaCase) -> None:
    done = await shop.call("DROP TABLE parent, t CASCADE")
    with shop.owner.transaction(force_rollback=True):
        shop.owner.execute("INSERT INTO child VALUES (77, 77)")  # no key holds it back
        shop.owner.execute("CREATE TABLE t(id int)")
        shop.owner.execute("CREATE STATISTICS vn ON id, x FROM borrower")
    (left,) = shop.admin.execute(
        "SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid "
        "JOIN pg_class d ON d.oid = k.conrelid WHERE (c.relnamespace = 'public'::regnamespace) "
        "<> (d.relnamespace = 'public'::regnamespace) AND c.relname <> 'inner_t'"
    ).fetchone() or (None,)
    assert left == 0
    assert (await shop.revert(done.undo)).states == ["reverted"]


async def test_a_name_that_was_taken_meanwhile_is_a_conflict(shop: SchemaCase) -> None:
    done = await shop.call("DROP TABLE child")
    shop.owner.execute("CREATE TABLE child(other int)")
    there = shop.dump()
    for mode in OnConflict:
        reverted = await shop.revert(done.undo, mode=mode)
        (step,) = reverted.steps
        assert (step.state, step.reason) == ("conflict", "revert.conflict")
        (conflict,) = step.conflicts
        assert (conflict.resource, conflict.why) == ("public.child", "name_taken")
        assert different(there, shop.dump()) == []
    shop.owner.execute("DROP TABLE child")
    assert (await shop.revert(done.undo)).states == ["reverted"]


async def test_a_schema_that_is_gone_is_a_conflict(case: SchemaCase) -> None:
    case.setup("CREATE SCHEMA box; CREATE TABLE box.a(id int)")
    done = await case.call("DROP TABLE box.a")
    case.owner.execute("DROP SCHEMA box")
    assert (await case.revert(done.undo)).whys == {"schema_gone"}


async def test_rows_that_no_longer_fit_a_foreign_key_are_a_conflict(case: SchemaCase) -> None:
    case.setup(
        "CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE c(id int REFERENCES p);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)"
    )
    done = await case.call("DROP TABLE p CASCADE")
    case.owner.execute("INSERT INTO c VALUES (2)")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.whys == {"constraint"}
    assert different(there, case.dump()) == []
    case.owner.execute("DELETE FROM c WHERE id = 2")
    assert (await case.revert(done.undo)).states == ["reverted"]


async def test_what_others_changed_beside_it_stays_theirs(case: SchemaCase) -> None:
    case.setup(
        "CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE c(id int REFERENCES p);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)"
    )
    done = await case.call("DROP TABLE c")
    case.owner.execute("ALTER TABLE p ADD COLUMN extra text; CREATE TABLE d(id int REFERENCES p)")
    assert (await case.revert(done.undo)).states == ["reverted"]
    names = case.owner.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'p'::regclass AND attnum > 0"
    ).fetchall()
    assert names == [("id",), ("extra",)]


NO_WAY = [
    ("CREATE TABLE a(id int); CREATE TABLE b(x a)", "DROP TABLE a CASCADE", "public.b.x"),
    ("CREATE TABLE a(id int); CREATE TABLE b() INHERITS (a)", "DROP TABLE b", "inherits"),
]


@pytest.mark.parametrize(("setup", "sql", "why"), NO_WAY)
async def test_what_has_no_exact_way_back_says_so_before_it_runs(
    case: SchemaCase, setup: str, sql: str, why: str
) -> None:
    case.setup(setup)
    before = case.dump()
    action = await case.parse(sql)
    assert isinstance(action, Action)
    assert action.reversibility is Reversibility.IRREVERSIBLE
    assert why in (action.why_irreversible or "")
    assert different(before, case.dump()) == []


async def test_without_a_quarantine_the_missing_step_is_named(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    name = prepared_database(postgres_server, setup="CREATE TABLE a(id int)", prepared=False)
    case = SchemaCase(postgres_server, tmp_path, database=name)
    try:
        action = await case.parse("DROP TABLE a")
        assert isinstance(action, Action)
        assert action.reversibility is Reversibility.IRREVERSIBLE
        assert "holdfast_quarantine is not there" in (action.why_irreversible or "")
    finally:
        await case.close()
        postgres_server.drop_database(name)


async def test_an_ordinary_capture_role_that_was_prepared_is_enough(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    case = SchemaCase(postgres_server, tmp_path, capture=CAPTURE)
    try:
        case.setup(SHOP.replace("CREATE PUBLICATION news FOR TABLE t;", ""))
        before = case.dump()
        for sql in ("DROP TABLE t CASCADE", "DROP TABLE parted_1", "DROP SCHEMA box CASCADE"):
            done = await case.call(sql)
            assert (await case.revert(done.undo)).states == ["reverted"]
            assert different(before, case.dump()) == []
        case.admin.execute(f"REVOKE {OWNER} FROM {CAPTURE}")
        with pytest.raises(Refused, match=f"GRANT {OWNER} TO {CAPTURE}"):
            await case.call("DROP TABLE child")
        assert different(before, case.dump()) == []
    finally:
        await case.close()


async def test_what_others_own_is_not_taken_apart(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int PRIMARY KEY); GRANT REFERENCES ON a TO PUBLIC")
    case.admin.execute("CREATE TABLE foreign_owned(a int REFERENCES a)")
    before = case.dump()
    with pytest.raises(UpstreamError, match="must be owner of table foreign_owned") as raised:
        await case.call("DROP TABLE a CASCADE")
    assert raised.value.reason == "undo.unavailable"
    assert different(before, case.dump()) == []
