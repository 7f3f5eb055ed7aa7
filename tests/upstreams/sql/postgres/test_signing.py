"""Rows that the agents' role does not see are captured exactly, and the way to them is no way for
agents."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from gateway.upstreams.sql.postgres import signing
from gateway.upstreams.sql.postgres.checks import hidden_findings
from gateway.upstreams.sql.postgres.signing import FUNCTION, Signer
from tests.fixtures.postgres_case import Case, Refused

_ROWS = "INSERT INTO t SELECT i, i % 3, 'v' || i FROM generate_series(1, 60) i"
_SECURED = f"""
CREATE TABLE t(id int PRIMARY KEY, grp int, v text); {_ROWS};
ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON t USING (grp <> 2) WITH CHECK (true)"""
_NOT_SELECTED = f"""
CREATE TABLE t(id int PRIMARY KEY, grp int, v text); {_ROWS};
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY w ON t FOR UPDATE USING (true); CREATE POLICY d ON t FOR DELETE USING (true);
CREATE POLICY i ON t FOR INSERT WITH CHECK (true); CREATE POLICY s ON t FOR SELECT USING (id < 40)
"""
_PARTED = f"""
CREATE TABLE t(id int, grp int, v text) PARTITION BY LIST (grp);
CREATE TABLE t1(v text, grp int, id int); ALTER TABLE t ATTACH PARTITION t1 FOR VALUES IN (1);
CREATE TABLE t0 PARTITION OF t DEFAULT; {_ROWS};
ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t0 ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t USING (id % 2 = 0) WITH CHECK (true)"""
_CHILD = (
    _SECURED
    + """;
CREATE TABLE c(t int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, v text);
INSERT INTO c SELECT i, 'c' FROM generate_series(1, 60) i;
ALTER TABLE c ENABLE ROW LEVEL SECURITY; ALTER TABLE c FORCE ROW LEVEL SECURITY"""
)
_DEFINER = f"""
CREATE TABLE t(id int PRIMARY KEY, grp int, v text); {_ROWS};
CREATE TABLE secret(id int, "odd "" name" text, n numeric(10, 2), b bit(3), c char(4));
INSERT INTO secret SELECT i, 's' || i, i, B'101', 'x' FROM generate_series(1, 30) i;
CREATE FUNCTION f(a int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  BEGIN UPDATE secret SET n = n + 1 WHERE id < a; IF a > 20 THEN RAISE EXCEPTION 'x'; END IF;
  EXCEPTION WHEN raise_exception THEN DELETE FROM secret WHERE id = a; END;
  INSERT INTO secret VALUES (a + 100, NULL, 0.50); END $$"""


@pytest.fixture
def signed(case: Case) -> Iterator[Case]:
    for statement in signing.preparations(agents="agent", capture="postgres"):
        case.admin.execute(statement)
    yield case
    case.admin.execute("DROP SCHEMA IF EXISTS holdfast_rows CASCADE")


@pytest.mark.parametrize(
    ("ddl", "statements"),
    [
        (_SECURED, ["UPDATE t SET grp = 2"]),  # out of the agent's own sight
        (_SECURED, ["UPDATE t SET v = 'x'", "DELETE FROM t WHERE id > 30", "UPDATE t SET grp = 2"]),
        (_SECURED, ["INSERT INTO t VALUES (70, 2, 'unseen'), (71, 1, 'seen')"]),
        (_NOT_SELECTED, ["DELETE FROM t", "INSERT INTO t VALUES (90, 1, 'unseen')"]),
        (_NOT_SELECTED, ["UPDATE t SET v = 'all'"]),
        (_PARTED, ["UPDATE t SET grp = grp + 1", "DELETE FROM t WHERE id < 20"]),
        (_CHILD, ["DELETE FROM t WHERE id < 20", "UPDATE t SET id = id + 100"]),
        (_DEFINER, ["SELECT f(9)", "SELECT f(25)", "UPDATE t SET v = 'x' WHERE id < 4"]),
    ],
)
@pytest.mark.parametrize("bypass", [False, True])
async def test_what_the_agent_does_not_see_comes_back_as_well(
    signed: Case, ddl: str, statements: list[str], bypass: bool
) -> None:
    case = signed
    case.setup(ddl)
    case.admin.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM agent")
    case.admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON t TO agent")
    case.admin.execute(f"ALTER ROLE agent {'BYPASSRLS' if bypass else 'NOBYPASSRLS'}")
    try:
        before = case.dump()
        done = await case.call(*statements)
        after = case.dump()
        assert after != before
        reverted = await case.revert(done.undo)
        assert case.dump() == before
        assert reverted.undo is not None
        await case.revert(reverted.undo)
        assert case.dump() == after
    finally:
        case.admin.execute("ALTER ROLE agent NOBYPASSRLS")


async def test_many_rows_go_the_same_way(signed: Case) -> None:
    """More than are looked for one by one, and by savepoints, which are compared in windows."""
    case = signed
    case.setup(_SECURED + "; INSERT INTO t SELECT i, i % 2, 'm' FROM generate_series(100, 9000) i")
    before = case.dump()
    done = await case.call("UPDATE t SET v = v || 'x'", "DELETE FROM t WHERE id % 2 = 0")
    await case.revert(done.undo)
    assert case.dump() == before


async def test_without_the_preparation_it_is_refused_by_name(case: Case) -> None:
    case.setup(_SECURED)
    before = case.dump()
    with pytest.raises(Refused) as refused:
        await case.call("DELETE FROM t WHERE id = 1")
    assert "source prepare" in refused.value.deny.detail
    assert case.dump() == before


async def test_the_check_names_tables_whose_rows_nobody_shows(signed: Case) -> None:
    signed.setup(_SECURED)
    async with signed.agents.session() as agents, signed.peers.session() as capture:
        assert await hidden_findings(agents, capture, "source app") == []
        signed.admin.execute("DROP SCHEMA holdfast_rows CASCADE")
        [found] = await hidden_findings(agents, capture, "source app")
        signed.setup("CREATE TABLE t(id int)")
        assert await hidden_findings(agents, capture, "source app") == []
    assert "(t)" in found.message


# --- no way for agents --------------------------------------------------------------------


async def _signer(case: Case, agent: psycopg.Connection) -> Signer:
    agent.execute("INSERT INTO mine VALUES (1)")
    xid = agent.execute("SELECT pg_current_xact_id()::text").fetchone()
    assert xid is not None
    async with case.agents.session() as own, case.peers.session() as peer:
        found = await signing.signer(own, peer, xid[0])
    return Signer(pid=agent.info.backend_pid, xid=found.xid, key=found.key)


def _asked(case: Case) -> psycopg.Connection:
    return psycopg.connect(case.server.url(case.database, "agent"))


_QUERY = "SELECT x.id FROM public.t AS x"


def _read(signer: Signer, query: str = _QUERY) -> str:
    return f"SELECT count(*) FROM {signer.rows(query, [('id', 'int')])}"


@pytest.fixture
def guarded(signed: Case) -> Case:
    signed.setup(_SECURED + "; CREATE TABLE mine(id int)")
    return signed


async def test_a_signature_holds_for_one_query_in_one_transaction(guarded: Case) -> None:
    with _asked(guarded) as agent:
        signer = await _signer(guarded, agent)
        assert agent.execute(_read(signer)).fetchone() == (60,)
        other = _read(signer).replace("x.id FROM", "x.id + 0 FROM")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not signed"):
            agent.execute(other)
        agent.rollback()
        agent.execute("INSERT INTO mine VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not signed"):
            agent.execute(_read(signer))  # another transaction of the same session
    with _asked(guarded) as agent:
        signer = await _signer(guarded, agent)
        with _asked(guarded) as another:
            for change in ("", "INSERT INTO mine VALUES (2)"):
                if change:
                    another.execute(change)
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not signed"):
                    another.execute(_read(signer))
                another.rollback()


async def test_a_signed_query_cannot_write(guarded: Case) -> None:
    with _asked(guarded) as agent:
        signer = await _signer(guarded, agent)
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="non-volatile"):
            agent.execute(_read(signer, "DELETE FROM public.t RETURNING id"))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM {FUNCTION}('SELECT id FROM public.t', NULL) AS x(id int)",
        f"SELECT * FROM {FUNCTION}(NULL, NULL) AS x(id int)",
        f"SELECT * FROM {FUNCTION}('SELECT id FROM public.t', '\\x00') AS x(id int)",
        "SELECT key FROM holdfast_rows.keys",
        "INSERT INTO holdfast_rows.keys VALUES (false, '')",
        "UPDATE holdfast_rows.keys SET key = ''",
        "CREATE FUNCTION holdfast_rows.signed(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION holdfast_rows.signed(text, bytea) SECURITY INVOKER",
    ],
)
async def test_agents_can_neither_call_nor_change_it(guarded: Case, sql: str) -> None:
    with _asked(guarded) as agent:
        for before in ("SELECT 1", "INSERT INTO mine VALUES (1)"):  # without an id, and with one
            agent.execute(before.encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                agent.execute(sql.encode())
            agent.rollback()


async def test_not_even_who_reads_and_writes_everything_has_the_key(guarded: Case) -> None:
    admin = guarded.admin
    admin.execute("GRANT pg_read_all_data, pg_write_all_data TO agent")
    try:
        with _asked(guarded) as agent:
            assert agent.execute("SELECT key FROM holdfast_rows.keys").fetchall() == []
            assert agent.execute("UPDATE holdfast_rows.keys SET key = ''").rowcount == 0
            assert agent.execute("DELETE FROM holdfast_rows.keys").rowcount == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                agent.execute("INSERT INTO holdfast_rows.keys VALUES (true, 'known')")
    finally:
        admin.execute("REVOKE pg_read_all_data, pg_write_all_data FROM agent")


async def test_what_the_agent_puts_in_front_of_names_is_not_met(guarded: Case) -> None:
    with _asked(guarded) as agent:
        agent.execute("CREATE TEMP TABLE keys(key bytea); INSERT INTO keys VALUES ('known')")
        agent.execute(
            "CREATE TEMP TABLE t(id int); SET search_path = pg_temp, public, pg_catalog;"
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea"
            " LANGUAGE sql AS $$SELECT ''::bytea$$;"
            "CREATE FUNCTION pg_temp.same(bytea, bytea) RETURNS bool"
            " LANGUAGE sql AS $$SELECT true$$;"
            "CREATE OPERATOR pg_temp.="
            " (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = pg_temp.same);"
            "SET row_security = on; SET standard_conforming_strings = off"
        )
        agent.execute("SET standard_conforming_strings = on")
        signer = await _signer(guarded, agent)
        assert agent.execute(_read(signer)).fetchone() == (60,)
        forged = Signer(pid=signer.pid, xid=signer.xid, key=b"known")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not signed"):
            agent.execute(_read(forged))


@pytest.mark.parametrize(
    "change",
    [
        "DROP SCHEMA holdfast_rows CASCADE; CREATE SCHEMA holdfast_rows AUTHORIZATION agent",
        "ALTER SCHEMA holdfast_rows OWNER TO agent",
        "ALTER FUNCTION holdfast_rows.signed(text, bytea) OWNER TO agent",
        "ALTER TABLE holdfast_rows.keys OWNER TO agent",
        "ALTER TABLE holdfast_rows.keys DISABLE ROW LEVEL SECURITY",
        "ALTER FUNCTION holdfast_rows.signed(text, bytea) SECURITY INVOKER",
        "CREATE OR REPLACE FUNCTION holdfast_rows.signed(text, bytea) RETURNS SETOF record "
        "LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN; END $$",
        "DELETE FROM holdfast_rows.keys",
    ],
)
async def test_what_is_not_the_gateways_own_is_not_used(guarded: Case, change: str) -> None:
    guarded.admin.execute(change.encode())
    before = guarded.dump()
    with pytest.raises(Refused, match="source prepare"):
        await guarded.call("UPDATE t SET grp = 2")
    assert guarded.dump() == before


async def test_a_schema_of_somebody_elses_is_not_taken_over(case: Case) -> None:
    case.admin.execute("CREATE SCHEMA holdfast_rows AUTHORIZATION agent")
    statements = signing.preparations(agents="agent", capture="postgres")
    try:
        case.admin.execute(statements[0])
        with pytest.raises(psycopg.errors.RaiseException, match="belongs to another role"):
            case.admin.execute(statements[1])
    finally:
        case.admin.execute("DROP SCHEMA holdfast_rows CASCADE")


def test_the_key_is_in_no_repr() -> None:
    assert "hidden" not in repr(Signer(pid=1, xid="2", key=b"hidden"))
