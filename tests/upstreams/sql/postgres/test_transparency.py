"""What an agent sees of its statements is what it would see without the gateway: counts, returned
rows of every type, the server's words and codes; and nothing is left in anybody's tables.

Each case runs twice on the same data, once by a bare connection that commits and once guarded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from gateway.errors import UpstreamError
from gateway.model import Deny, OnConflict, Permit
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.values import render_text
from tests.fixtures.postgres_case import Case
from tests.upstreams.sql.postgres.test_upstream import _call, _upstream

FIXTURES = Path(__file__).parents[3] / "fixtures"
TABLE = yaml.safe_load((FIXTURES / "postgres_seen.yaml").read_text("utf-8"))
SETUP, RESULTS, ERRORS = TABLE["setup"], TABLE["results"], TABLE["errors"]


@pytest.fixture
async def upstream(case: Case) -> AsyncIterator[PostgresUpstream]:
    case.setup(SETUP)
    made = _upstream(case)
    yield made
    await made.close()


def _bare(case: Case, sql: str) -> dict[str, Any]:
    """By a connection as the gateway would give it, and committed."""
    pins = "-c DateStyle=ISO -c extra_float_digits=3 -c TimeZone=UTC -c lc_monetary=C"
    url = case.server.url(case.database, "agent")
    try:
        with psycopg.connect(url, options=pins) as agent:
            cursor = agent.execute(sql.encode())
            columns, rows = [], []
            if cursor.description is not None and cursor.pgresult is not None:
                columns = [(c.name, _type(case, c.type_code)) for c in cursor.description]
                rows = [
                    [
                        None if value is None else render_text(value.decode(), type_)
                        for value, (_, type_) in zip(
                            (cursor.pgresult.get_value(r, c) for c in range(len(columns))),
                            columns,
                            strict=True,
                        )
                    ]
                    for r in range(cursor.pgresult.ntuples)
                ]
            affected = 0 if sql.startswith("SELECT") else cursor.rowcount
            return {"affected": affected, "columns": columns, "rows": rows}
    except psycopg.Error as error:
        return _words(
            error.diag.sqlstate,
            error.diag.message_primary,
            error.diag.message_detail,
            error.diag.message_hint,
            error.diag.statement_position and int(error.diag.statement_position),
        )


_PARTS = ("sqlstate", "message", "server_detail", "hint", "position")


def _words(*told: object) -> dict[str, Any]:
    return dict(
        zip(("sqlstate", "message", "server_detail", "hint", "position"), told, strict=True)
    )


def _type(case: Case, oid: int) -> str:
    found = case.admin.execute("SELECT format_type(%s, NULL)", (oid,)).fetchone()
    assert found is not None
    return str(found[0])


async def _guarded(upstream: PostgresUpstream, sql: str, *, revert: bool = False) -> dict[str, Any]:
    call = _call(sql)
    try:
        action = await upstream.parse(call)
        if isinstance(action, Deny):
            return _words(*(action.extra.get(k) for k in _words(*range(5))))
        async with upstream.attempt(call, action) as attempt:
            if action.cls.value == "read":
                result = (await attempt.read()).result or {}
            else:
                result = (await attempt.run()).result
                captured = await attempt.capture()
                assert not isinstance(captured, Deny), captured
                await attempt.commit(Permit.issue(call.id, 1))
                if revert:
                    undo = [(call.id, captured.undo)]
                    async with upstream.unwind(call, undo, OnConflict.ABORT) as unwinding:
                        assert [s.state for s in await unwinding.run()] == ["reverted"]
                        await unwinding.capture()
                        await unwinding.commit(Permit.issue(call.id, 2))
    except UpstreamError as error:
        return _words(*(error.extra.get(k) for k in _words(*range(5))))
    columns = [(c["name"], c["type"]) for c in result["columns"]]  # type: ignore[index, union-attr]
    return {"affected": result["affected"], "columns": columns, "rows": result["rows"]}


async def test_results_are_those_of_a_bare_connection(
    case: Case, upstream: PostgresUpstream
) -> None:
    for sql in RESULTS:
        case.setup(SETUP)
        guarded = await _guarded(upstream, sql)
        after = case.dump()
        case.setup(SETUP)
        bare = _bare(case, sql)
        assert "sqlstate" not in bare, bare
        assert guarded == bare, sql
        assert after == case.dump(), sql


async def test_errors_are_in_the_words_of_a_bare_connection(
    case: Case, upstream: PostgresUpstream
) -> None:
    before = case.dump()
    for sqlstate, sql in ERRORS:
        guarded, bare = await _guarded(upstream, sql), _bare(case, sql)
        assert bare["sqlstate"] == sqlstate, bare
        assert guarded == bare, sql
        assert case.dump() == before, sql


async def test_nothing_is_left_in_anybodys_tables(case: Case, upstream: PostgresUpstream) -> None:
    """No trigger, no index, no replica identity, no column, no publication."""
    schema = case.server.schema(case.database)
    for sql in RESULTS:
        await _guarded(upstream, sql, revert=True)
    assert case.server.schema(case.database) == schema
    (left,) = case.admin.execute(
        "SELECT (SELECT count(*) FROM pg_replication_slots) + "
        "(SELECT count(*) FROM pg_publication) + "
        "(SELECT count(*) FROM pg_event_trigger) + (SELECT count(*) FROM pg_class "
        "WHERE relname ~ '^hf_' OR relreplident = 'f' AND relkind = 'r')"
    ).fetchone() or (None,)
    assert left == 0
