from __future__ import annotations

from gateway.lifecycle import State
from gateway.model import EffectState, Permit
from tests.fixtures.mariadb_case import Case

SETUP = ("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")


async def test_a_connection_that_dies_before_the_commit_had_no_effect(case: Case) -> None:
    case.setup(*SETUP)
    before = case.dump()
    call, action = case.request("x"), await case.parse("DELETE FROM t WHERE id = 1")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        await attempt.capture()
        case.run(f"KILL {attempt._lent.session.id}")
        outcome = await attempt.commit(Permit.issue(call.id, 1))
    assert (outcome.state, outcome.effect) == (State.FAILED, EffectState.NONE)
    assert case.dump() == before


async def test_a_commit_whose_answer_is_lost_is_still_told_right(case: Case) -> None:
    case.setup(*SETUP)
    call, action = case.request("x"), await case.parse("DELETE FROM t WHERE id = 1")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        await attempt.capture()
        session = attempt._lent.session
        session.run("COMMIT")  # it arrived; the answer does not
        session.interrupt()
        outcome = await attempt.commit(Permit.issue(call.id, 1))
    assert (outcome.state, outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert await case.source.happened(call.id) is EffectState.APPLIED
