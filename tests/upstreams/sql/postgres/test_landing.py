from __future__ import annotations

import asyncio

import pytest

from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Permit
from tests.fixtures.postgres_case import Case

_T = """
CREATE TABLE t(id int PRIMARY KEY, v int, CHECK (v < 1000));
INSERT INTO t SELECT i, i FROM generate_series(1, 200) i;
"""


def _permit() -> Permit:
    return Permit.issue("call_1", 1)


async def test_the_receipt_tells_what_became_of_the_transaction(case: Case) -> None:
    case.setup(_T)
    done = await case.call("DELETE FROM t WHERE id = 1")
    assert await case.ask(done.receipt) is EffectState.APPLIED
    async with case.agents.session() as session:
        attempt = case.attempt(session, "DELETE FROM t WHERE id = 2")
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        assert await case.ask(captured.receipt) is EffectState.UNKNOWN  # it still runs
    assert await case.ask(captured.receipt) is EffectState.NONE
    assert await case.ask("99999999999") is EffectState.UNKNOWN  # not from this server
    assert await case.ask("call_1") is EffectState.UNKNOWN


async def test_a_connection_lost_before_commit_is_a_proven_failure(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    async with case.agents.session() as session:
        attempt = case.attempt(session, "DELETE FROM t")
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        case.admin.execute("SELECT pg_terminate_backend(%s)", (session.pid,))
        await asyncio.sleep(0.1)
        outcome = await attempt.commit(_permit())
    assert (outcome.state, outcome.effect) == (State.FAILED, EffectState.NONE)
    assert case.dump() == before


async def test_a_connection_lost_after_commit_is_still_a_success(case: Case) -> None:
    case.setup(_T)
    async with case.agents.session() as session:
        attempt = case.attempt(session, "DELETE FROM t")
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)

        async def command(text: str) -> str:
            await session.run(text)
            case.admin.execute("SELECT pg_terminate_backend(%s)", (session.pid,))
            await session.run("SELECT 1")
            raise AssertionError("the connection is alive")

        session.command = command  # type: ignore[method-assign]
        outcome = await attempt.commit(_permit())
    assert (outcome.state, outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)


async def test_an_outcome_that_nobody_can_tell_is_unknown(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.setup(_T)
    monkeypatch.setattr("gateway.upstreams.sql.postgres.landing._PATIENCE_S", (0.0, 0.01))

    async def ask(receipt: str) -> EffectState:
        return EffectState.UNKNOWN

    case.ask = ask  # type: ignore[method-assign]
    async with case.agents.session() as session:
        attempt = case.attempt(session, "DELETE FROM t")
        await attempt.run()
        assert not isinstance(await attempt.capture(), Deny)
        case.admin.execute("SELECT pg_terminate_backend(%s)", (session.pid,))
        outcome = await attempt.commit(_permit())
    assert (outcome.state, outcome.effect) == (State.UNKNOWN, EffectState.UNKNOWN)
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "outcome.unknown"
