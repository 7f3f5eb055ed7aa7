"""COPY FROM STDIN: judged as the INSERT that would fill the same, run with the rows that came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from gateway.errors import UpstreamError
from gateway.model import Action, Call, Deny, Effect
from gateway.upstreams.sql.postgres.copying import load
from gateway.upstreams.sql.postgres.grammar import read
from gateway.upstreams.sql.postgres.loading import filled, refilled
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.postgres.written import Grammar, Named
from tests.fixtures.postgres_case import Case
from tests.upstreams.sql.postgres.test_upstream import _call, _parsed, _upstream

_SETUP = """
CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "V v" text, twice int
  GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE plain(id int, v text);
CREATE TABLE aside(id int);
CREATE FUNCTION wild() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION odd(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN $1 % 2 = 1; END';
CREATE DOMAIN oddly AS int CHECK (odd(VALUE));
CREATE TABLE strange(id int, o oddly)
"""


@pytest.fixture
async def upstream(case: Case) -> AsyncIterator[PostgresUpstream]:
    case.setup(_SETUP)
    made = _upstream(case)
    yield made
    await made.close()


def _copy(sql: str, *stdin: str) -> Call:
    return replace(_call(sql), request={"sql": sql, "stdin": list(stdin)})


async def _told(upstream: PostgresUpstream, sql: str, *stdin: str) -> Deny:
    found = await upstream.parse(_copy(sql, *stdin))
    assert isinstance(found, Deny), found
    return found


async def _run(upstream: PostgresUpstream, call: Call) -> dict[str, Any]:
    action = await _parsed(upstream, call)
    async with upstream.attempt(call, action) as attempt:
        ran = await attempt.run()
    return dict(ran.result)


async def test_it_is_an_insert_to_policy_and_shows_the_rows(upstream: PostgresUpstream) -> None:
    action = await _parsed(upstream, _copy('COPY t(id, "V v") FROM STDIN', "1\ta\n"))
    assert action.effects == (
        Effect(verb="insert", kind="table", name="public.t", columns=("V v", "id")),
    )
    assert (action.name, str(action.cls)) == ("insert", "write")
    assert action.sql is not None
    assert action.sql.stdin == ("1\ta\n",)
    assert action.sql.statements[0].tables == ("public.t",)


async def test_without_columns_all_that_are_not_generated_are_filled(
    upstream: PostgresUpstream,
) -> None:
    call = _copy("COPY t FROM STDIN (FORMAT csv, HEADER)", 'id,v\n7,"a ""b"""\n')
    action = await _parsed(upstream, call)
    assert {e.name for e in action.effects} == {"public.t"}
    assert await _run(upstream, call) == {
        "verb": "insert", "columns": [], "rows": [], "affected": 1,
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["DO INSTEAD NOTHING", "DO ALSO INSERT INTO aside VALUES (1)"])
@pytest.mark.parametrize(
    "copy", ["COPY plain FROM STDIN", "COPY plain(id) FROM STDIN WHERE wild() > 0"]
)
async def test_a_table_with_rules_is_refused(
    upstream: PostgresUpstream, case: Case, rule: str, copy: str
) -> None:
    """No rule turns a COPY into anything else, and what the INSERT shows would not be it."""
    case.admin.execute(f"CREATE RULE away AS ON INSERT TO plain {rule}".encode())
    refusal = await _told(upstream, copy, "1\tx\n")
    assert (refusal.reason, "away" in refusal.detail) == ("sql.unsupported", True)


async def test_columns_that_come_while_it_is_judged_are_noticed(
    upstream: PostgresUpstream, case: Case
) -> None:
    named = Named(verb="insert", kind="table", schema=None, name="plain")
    async with case.agents.session() as session:
        written = read("COPY plain FROM STDIN", 999)
        assert isinstance(written, Grammar)
        found = await filled(session.connection, written.statements[0])
        assert not isinstance(found, Deny)
        assert await refilled(session.connection, named, found[1]) is None
        case.admin.execute("ALTER TABLE plain ADD more oddly")
        refusal = await refilled(session.connection, named, found[1])
    assert refusal is not None
    assert refusal.reason == "action.unsupported"


async def test_each_copy_reads_its_own_rows(upstream: PostgresUpstream) -> None:
    call = _copy(
        "COPY plain FROM STDIN; UPDATE plain SET v = v || '!'; COPY aside FROM STDIN;",
        "1\tx\n2\ty\n",
        "3\n",
    )
    results = (await _run(upstream, call))["results"]
    assert [(r["verb"], r["affected"]) for r in results] == [
        ("insert", 2), ("update", 2), ("insert", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "stdin"),
    [
        ("COPY plain FROM STDIN", []),
        ("COPY plain FROM STDIN", ["1\tx\n", "2\ty\n"]),
        ("INSERT INTO aside VALUES (1)", ["1\n"]),
        ("SELECT 1", [""]),
    ],
)
async def test_rows_without_their_copy_and_copies_without_rows(
    upstream: PostgresUpstream, sql: str, stdin: list[str]
) -> None:
    assert (await _told(upstream, sql, *stdin)).reason == "malformed"


@pytest.mark.parametrize(
    "sql",
    [
        "COPY plain TO STDOUT",
        "COPY (SELECT 1) TO STDOUT",
        "COPY plain FROM '/etc/hostname'",
        "COPY plain FROM PROGRAM 'echo 1'",
        "COPY plain FROM STDIN (FORMAT binary)",
        "COPY BINARY plain FROM STDIN",
        "COPY plain FROM STDIN (FREEZE)",
        "COPY plain FROM STDIN (ENCODING 'LATIN1')",
        "COPY plain FROM STDIN (ON_ERROR ignore)",
        "COPY plain FROM STDIN WHERE id > 1",
        "COPY plain(id) FROM STDIN WHERE id > $1",
        "COPY pg_temp.plain FROM STDIN",
        "EXPLAIN COPY plain FROM STDIN",
    ],
)
async def test_other_forms_are_refused_by_their_text(sql: str) -> None:
    found = read(sql, 1 << 20)
    assert isinstance(found, Deny)
    assert found.reason in ("sql.unsupported", "sql.unparsable")


@pytest.mark.parametrize(
    "sql",
    [
        "COPY plain(id) FROM STDIN WHERE wild() > id",
        "COPY plain(id) FROM STDIN WHERE id::oddly > 1",
        "COPY plain(id) FROM STDIN WHERE pg_sleep(1) IS NULL",
        "COPY plain(id) FROM STDIN WHERE pg_read_file(v) = ''",
        "COPY strange FROM STDIN",
        "COPY strange(o) FROM STDIN",
    ],
)
async def test_code_that_it_would_run_is_judged_as_in_an_insert(
    upstream: PostgresUpstream, sql: str
) -> None:
    found = await upstream.parse(_copy(sql, "1\n"))
    if isinstance(found, Action):  # what a person has to agree to first
        assert any(e.verb == "execute" for e in found.effects), found.effects
    else:
        assert found.reason in ("action.unsupported", "sql.unsupported")


async def test_what_the_server_says_against_the_rows_reaches_the_agent(
    upstream: PostgresUpstream, case: Case
) -> None:
    before = case.dump()
    for sql, rows, state in (
        ("COPY aside FROM STDIN", "1\nx\n", "22P02"),
        ("COPY aside FROM STDIN", "1\t2\n", "22P04"),
        ("COPY aside FROM STDIN (FORMAT csv, DELIMITER 'ab')", "1\n", "0A000"),
    ):
        call = _copy(sql, rows)
        action = await _parsed(upstream, call)
        async with upstream.attempt(call, action) as attempt:
            with pytest.raises(UpstreamError) as error:
                await attempt.run()
        assert error.value.extra["sqlstate"] == state
    assert case.dump() == before


async def test_a_session_that_loads_lives_on(case: Case) -> None:
    case.setup("CREATE TABLE big(v text)")
    rows = b"".join(b"%d %s\n" % (i, b"x" * 90) for i in range(50_000))
    async with case.reverts.session() as session:
        reply = await load(session, "COPY public.big FROM STDIN", rows)
        assert (reply.tag, reply.affected) == ("COPY 50000", 50_000)
        for wrong in ("COPY public.none FROM STDIN", "SELECT 1"):
            with pytest.raises(psycopg.Error):
                await load(session, wrong, b"1\n")
            assert await session.one("SELECT 1") == (1,)
        with pytest.raises(psycopg.Error):
            await load(session, "COPY public.big TO STDOUT", b"1\n")
        assert session.connection.closed
