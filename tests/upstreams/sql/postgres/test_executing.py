"""Code that is run by name or as text: what it names, what it may not do, what is unknown of it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.postgres.executing import arguments_of, block_of, procedure_of
from gateway.upstreams.sql.postgres.judge import Judged
from gateway.upstreams.sql.postgres.libpg import deparse, parse
from gateway.upstreams.sql.postgres.walk import unwrap
from tests.fixtures.postgres_judging import AGENT, bench, load
from tests.fixtures.postgres_server import PostgresServer

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE kept (id int DEFAULT 1);
CREATE FUNCTION plain(a int) RETURNS int LANGUAGE sql AS 'DELETE FROM t WHERE id = a RETURNING id';
CREATE FUNCTION deeper() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN plain(1); END $$;
CREATE FUNCTION put_together() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'DELETE FROM t'; RETURN 1; END $$;
CREATE FUNCTION as_owner() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  EXECUTE 'DELETE FROM t'; RETURN 1; END $$;
CREATE FUNCTION tells() RETURNS int LANGUAGE plpgsql AS $$ BEGIN NOTIFY a; RETURN 1; END $$;
CREATE FUNCTION tells_deep() RETURNS int LANGUAGE sql AS 'SELECT tells()';
CREATE FUNCTION settles() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  SET session_replication_role = replica; RETURN 1; END $$;
CREATE FUNCTION large() RETURNS int LANGUAGE sql AS 'SELECT lo_create(0)::int';
CREATE FUNCTION builtin(text) RETURNS text LANGUAGE internal AS 'textin';
CREATE AGGREGATE summed (int) (SFUNC = int4pl, STYPE = int);
CREATE PROCEDURE act(INOUT a int, b text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN
  UPDATE t SET v = b WHERE id = a; END $$;
CREATE PROCEDURE act(a text) LANGUAGE sql AS 'DELETE FROM t';
CREATE PROCEDURE tells_too() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('a', ''); END $$;
CREATE FUNCTION own_default() RETURNS int LANGUAGE sql AS 'SELECT 7';
ALTER TABLE kept ALTER id SET DEFAULT own_default();
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO PUBLIC;
"""

RUNS = {
    "SELECT plain(1)": {"public.plain"},
    "SELECT 1 FROM t WHERE plain(id) > 0": {"public.plain"},
    "SELECT * FROM deeper()": {"public.deeper"},
    "UPDATE t SET v = plain(9)::text WHERE id = 2": {"public.plain"},
    "SELECT put_together()": {"public.put_together"},
    "DO 'BEGIN DELETE FROM t; END'": {"plpgsql"},
    "DO LANGUAGE plpgsql 'BEGIN PERFORM deeper(); END'": {"plpgsql"},
    "CALL act(1)": {"public.act"},
    "CALL public.act(1, b => 'y')": {"public.act"},
    "CALL act('1')": {"public.act"},
}
REFUSED = [
    "SELECT plain(1); SELECT 2",
    "SELECT tells()",
    "SELECT tells_deep()",
    "SELECT settles()",
    "SELECT large()",
    "SELECT as_owner()",
    "SELECT builtin('x')",
    "EXPLAIN SELECT plain(1)",
    "CREATE TABLE made AS SELECT plain(1)",
    "CALL tells_too()",
    "CALL nothing()",
    "CALL act(lo_create(1))",
    "CALL act((SELECT 1 FROM pg_advisory_lock(1)))",
    "DO LANGUAGE sql 'SELECT 1'",
    "DO 'BEGIN NOTIFY a; END'",
    "DO 'BEGIN PERFORM pg_advisory_lock(1); END'",
    "DO 'BEGIN PERFORM tells(); END'",
    "DO 'BEGIN PERFORM set_config(''role'', ''postgres'', false); END'",
    "DO 'BEGIN RESET ROLE; END'",
    "DO 'BEGIN SET LOCAL ROLE postgres; END'",
    "DO 'BEGIN PERFORM lo_unlink(1); END'",
    "DO 'BEGIN COPY t TO PROGRAM ''id''; END'",
]


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    name = load(postgres_server, SCHEMA)
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {AGENT}")
        connection.execute("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO PUBLIC")
    yield name
    postgres_server.drop_database(name)


@pytest.mark.parametrize("sql", RUNS)
async def test_what_runs_is_named_and_is_destructive(
    postgres_server: PostgresServer, database: str, sql: str
) -> None:
    async with bench(postgres_server, database, user=AGENT) as judging:
        found = await judging.judged(sql)
    assert isinstance(found, Judged), found
    assert (found.name, found.cls) == ("execute", ActionClass.DESTRUCTIVE)
    assert {e.name for e in found.effects if e.verb == "execute"} == RUNS[sql]
    assert not any(e.bounded for e in found.effects if e.verb == "execute")


@pytest.mark.parametrize("sql", REFUSED)
async def test_what_no_rollback_takes_back_does_not_run(
    postgres_server: PostgresServer, database: str, sql: str
) -> None:
    async with bench(postgres_server, database, user=AGENT) as judging:
        found = await judging.judged(sql)
    assert isinstance(found, Deny), found


async def test_text_that_nobody_can_read_beforehand_is_told(
    postgres_server: PostgresServer, database: str
) -> None:
    async with bench(postgres_server, database, user=AGENT) as judging:
        found = await judging.judged("SELECT put_together()")
        plain = await judging.judged("SELECT plain(1)")
    assert isinstance(found, Judged)
    assert isinstance(plain, Judged)
    assert any("puts statements together" in warning for warning in found.warnings)
    assert not any("puts statements together" in warning for warning in plain.warnings)


async def test_text_that_is_put_together_needs_a_role_that_reaches_no_further(
    postgres_server: PostgresServer, database: str
) -> None:
    # The superuser may read files of the server, whatever the text turns out to be.
    async with bench(postgres_server, database) as judging:
        found = await judging.judged("SELECT put_together()")
        plain = await judging.judged("SELECT plain(1)")
    assert isinstance(found, Deny)
    assert found.reason == "action.unsupported"
    assert isinstance(plain, Judged)


async def test_the_default_of_a_table_is_no_code_that_the_agent_runs(
    postgres_server: PostgresServer, database: str
) -> None:
    async with bench(postgres_server, database, user=AGENT) as judging:
        by_default = await judging.judged("INSERT INTO kept DEFAULT VALUES")
        by_name = await judging.judged("INSERT INTO kept VALUES (own_default())")
    assert isinstance(by_default, Judged)
    assert isinstance(by_name, Judged)
    assert (by_default.name, by_name.name) == ("insert", "execute")


@pytest.mark.parametrize(
    ("sql", "language"),
    [
        ("DO 'x'", True),
        ("DO LANGUAGE plpgsql 'x'", True),
        ("DO 'x' LANGUAGE plpython3u", False),
        ("DO 'x' LANGUAGE sql LANGUAGE plpgsql", True),  # refused by the server
    ],
)
def test_a_block_is_read_in_the_one_language(sql: str, language: bool) -> None:
    found = block_of(sql, unwrap(parse(sql).stmts[0].stmt))
    assert isinstance(found, Deny) is not language
    if not isinstance(found, Deny):
        assert found.code == "x"


def test_the_arguments_of_a_call_are_a_query() -> None:
    statement = unwrap(parse("CALL a.p(1 + f(2), named => (SELECT max(id) FROM t))").stmts[0].stmt)
    query = arguments_of(statement)
    assert deparse(query) == "SELECT 1 + f(2), (SELECT max(id) FROM t)"
    named = procedure_of(statement)
    assert not isinstance(named, Deny)
    assert (named.schema, named.name) == ("a", "p")
    assert arguments_of(unwrap(parse("CALL p()").stmts[0].stmt)) is None
