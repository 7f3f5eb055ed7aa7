"""The whole source, judge included, over a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Deny,
    EffectState,
    OnConflict,
    Permit,
    Reversibility,
    Subject,
    Surface,
)
from gateway.store.images import Images
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from tests.fixtures.postgres_case import Case

NOW = datetime(2026, 3, 1, tzinfo=UTC)

_SHOP = """
CREATE TABLE customers(id int PRIMARY KEY, name text, balance numeric(12,2));
CREATE TABLE orders(id int PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE,
  total numeric);
INSERT INTO customers SELECT i, 'c' || i, i * 10 FROM generate_series(1, 30) i;
INSERT INTO orders SELECT i, 1 + i % 30, i FROM generate_series(1, 60) i;
"""


class FixedClock:
    def now(self) -> datetime:
        return NOW


def _call(sql: object, params: Any = None) -> Call:
    return Call(
        id="call_1",
        subject=Subject(id="agent", session="s"),
        surface=Surface.SQL,
        tool="app",
        request={"sql": sql, "params": params} if params is not None else {"sql": sql},
        digest="d",
        received_at=NOW,
    )


def _upstream(case: Case, **changes: Any) -> PostgresUpstream:
    settings: dict[str, Any] = {
        "url": case.server.url(case.database, "agent"),
        "capture_url": case.server.url(case.database),
        "environment": "production",
        "labels": {"team": "shop"},
        "limits": SqlLimits(),
        "allowed_functions": frozenset(),
        "spooler": Images(),
        "clock": FixedClock(),
    }
    return PostgresUpstream("app", **{**settings, **changes})


@pytest.fixture
async def upstream(case: Case) -> AsyncIterator[PostgresUpstream]:
    case.setup(_SHOP)
    upstream = _upstream(case)
    await upstream.open()
    yield upstream
    await upstream.close()


async def _parsed(upstream: PostgresUpstream, call: Call) -> Action:
    action = await upstream.parse(call)
    assert isinstance(action, Action), action
    return action


async def _denied(upstream: PostgresUpstream, call: Call) -> Deny:
    refused = await upstream.parse(call)
    assert isinstance(refused, Deny), refused
    return refused


async def test_a_delete_walks_from_parse_to_revert(upstream: PostgresUpstream, case: Case) -> None:
    before = case.dump()
    call = _call("DELETE FROM customers WHERE id = $1 RETURNING name", [3])
    action = await _parsed(upstream, call)
    assert (action.name, action.cls, action.reversibility) == (
        "delete",
        ActionClass.DESTRUCTIVE,
        Reversibility.EXACT,
    )
    assert ("delete", "public.customers") in {(e.verb, e.name) for e in action.effects}
    assert action.resource.id == "app"
    assert action.resource.labels == {"team": "shop"}
    async with upstream.attempt(call, action) as attempt:
        ran = await attempt.run()
        assert ran.measured.rows == 3
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        outcome = await attempt.commit(Permit.issue("call_1", 1))
    assert outcome.result is not None
    assert outcome.result["rows"] == [["c3"]]
    assert await upstream.happened(captured.receipt) is EffectState.APPLIED
    shown = await upstream.images(captured.undo, offset=0, limit=2)
    assert [s["resource"] for s in shown] == ["public.customers", "public.orders"]
    assert len(await upstream.images(captured.undo, offset=1, limit=10)) == 2
    async with upstream.unwind(call, [("call_1", captured.undo)], OnConflict.ABORT) as unwinding:
        (step,) = await unwinding.run()
        assert (step.state, step.restored, step.upstream) == ("reverted", 3, "app")
        again = await unwinding.capture()
        assert not isinstance(again, Deny)
        landed = await unwinding.commit(Permit.issue("call_2", 1))
    assert (landed.state, landed.steps) == (State.REVERTED, (step,))
    assert await upstream.happened(again.receipt) is EffectState.APPLIED
    assert case.dump() == before


async def test_a_plan_changes_nothing(upstream: PostgresUpstream, case: Case) -> None:
    call = _call("UPDATE customers SET balance = 0")
    action = await _parsed(upstream, call)
    async with upstream.attempt(call, action) as attempt:
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        await attempt.commit(Permit.issue("call_1", 1))
    there = case.dump()
    async with upstream.unwind(call, [("call_1", captured.undo)], OnConflict.ABORT) as unwinding:
        (step,) = await unwinding.run()
    assert step.restored == 30
    assert case.dump() == there


async def test_a_read_runs_behind_the_wall(upstream: PostgresUpstream) -> None:
    call = _call("SELECT name, balance FROM customers WHERE id < $1 ORDER BY id", [3])
    action = await _parsed(upstream, call)
    assert (action.cls, action.reversibility) == (ActionClass.READ, Reversibility.NONE)
    async with upstream.attempt(call, action) as attempt:
        outcome = await attempt.read()
    assert outcome.result is not None
    assert outcome.result["rows"] == [["c1", "10.00"], ["c2", "20.00"]]


async def test_several_statements_run_in_one_transaction(
    upstream: PostgresUpstream, case: Case
) -> None:
    before = case.dump()
    call = _call(
        "UPDATE customers SET balance = $2 WHERE id = $1; DELETE FROM orders WHERE id = $3",
        [1, "5.50", 7],
    )
    action = await _parsed(upstream, call)
    async with upstream.attempt(call, action) as attempt:
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        outcome = await attempt.commit(Permit.issue("call_1", 1))
    assert outcome.result is not None
    assert [r["verb"] for r in outcome.result["results"]] == ["update", "delete"]
    async with upstream.unwind(call, [("call_1", captured.undo)], OnConflict.ABORT) as unwinding:
        await unwinding.run()
        assert not isinstance(await unwinding.capture(), Deny)
        await unwinding.commit(Permit.issue("call_2", 1))
    assert case.dump() == before


async def test_an_object_that_changed_its_meaning_stops_the_call(
    upstream: PostgresUpstream, case: Case
) -> None:
    call = _call("DELETE FROM customers WHERE id = 1")
    action = await _parsed(upstream, call)
    case.admin.execute("ALTER TABLE customers RENAME TO real_customers")
    case.admin.execute("CREATE VIEW customers AS SELECT id, customer FROM orders WHERE id > 0")
    case.grant()
    before = case.dump()
    async with upstream.attempt(call, action) as attempt:
        with pytest.raises(UpstreamError) as error:
            await attempt.run()
    assert error.value.reason == "action.unsupported"
    assert case.dump() == before


async def test_without_a_quarantine_a_schema_change_is_known_to_be_irreversible(
    upstream: PostgresUpstream, case: Case
) -> None:
    call = _call("CREATE TABLE made(id int)")
    action = await _parsed(upstream, call)
    assert action.reversibility is Reversibility.IRREVERSIBLE
    assert "holdfast source prepare" in (action.why_irreversible or "")
    async with upstream.attempt(call, action) as attempt:
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        assert captured.undo.reversibility is Reversibility.IRREVERSIBLE
        outcome = await attempt.commit(Permit.issue("call_1", 1))
    assert outcome.effect is EffectState.APPLIED
    assert await upstream.images(captured.undo, offset=0, limit=5) == []
    assert case.dump()["public.made"] == [b""]


@pytest.mark.parametrize(
    ("sql", "params", "reason"),
    [
        (5, None, "malformed"),
        ("SELECT 1", {"a": 1}, "malformed"),
        ("SELECT $1", [[1]], "malformed"),
        ("SELECT FROM WHERE", None, "sql.unparsable"),
        ("", None, "sql.unparsable"),
        ("COMMIT", None, "sql.unsupported"),
    ],
)
async def test_what_cannot_be_read_is_denied(
    upstream: PostgresUpstream, sql: object, params: Any, reason: str
) -> None:
    assert (await _denied(upstream, _call(sql, params))).reason == reason


async def test_an_unreachable_database_is_said_plainly(case: Case) -> None:
    secret = "postgresql://someone:hunter2@127.0.0.1:1/secretdb"
    upstream = _upstream(case, url=secret, capture_url=None)
    await upstream.open()
    with pytest.raises(UpstreamError) as error:
        await upstream.parse(_call("SELECT 1"))
    assert error.value.reason == "upstream.unreachable"
    (finding,) = await upstream.check()
    assert finding.level == "error"
    assert "hunter2" not in finding.message + repr(upstream) + error.value.detail
    assert await upstream.happened("123") is EffectState.UNKNOWN
    await upstream.close()


async def test_the_check_warns_of_a_capture_role_that_cannot_switch_triggers_off(
    case: Case,
) -> None:
    case.setup(_SHOP)
    upstream = _upstream(case, capture_url=None)
    findings = await upstream.check()
    assert any("session_replication_role" in f.message for f in findings)
    assert all(f.level != "error" for f in findings), findings
    await upstream.close()


async def test_the_check_shouts_about_agents_who_are_superusers(case: Case) -> None:
    case.setup(_SHOP)
    upstream = _upstream(case, url=case.server.url(case.database))
    findings = await upstream.check()
    assert any("superuser" in f.message for f in findings)
    await upstream.close()


async def test_an_action_of_another_upstream_is_a_bug(upstream: PostgresUpstream) -> None:
    call = _call("SELECT 1")
    action = replace(await _parsed(upstream, call), facts=None)
    with pytest.raises(TypeError):
        async with upstream.attempt(call, action):
            raise AssertionError("an attempt without facts")
