from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.errors import NotFound, SnapshotFailed, UpstreamError
from gateway.interfaces import Pace, Store
from gateway.lifecycle import State
from gateway.model import (
    Allow,
    Decision,
    Deny,
    EffectState,
    Freeze,
    Hold,
    Obligations,
    Reversibility,
    Scope,
)
from tests.fixtures.fakes import FakePolicy, FakeUpstream, a_call
from tests.fixtures.walks import walks


async def events(store: Store) -> list[str]:
    return [json.loads(e.body)["event"] for e in await store.entries()]


async def test_an_allowed_write_leaves_intent_permit_and_undo_before_its_effect() -> None:
    w = await walks()
    call = a_call("a", "1")
    reply = await w.pipeline.handle(call)
    assert (reply.state, reply.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert reply.undo.available
    assert w.box.effects == [(call.id, "a", "1")]
    assert await events(w.store) == ["call.intend", "call.begin", "call.permit", "call.settle"]
    undo = await w.store.undo_of(call.id)
    assert undo is not None
    assert undo.manifest["before"] == {"a": "0"}


async def test_a_read_has_no_effect_and_needs_no_permit() -> None:
    w = await walks()
    reply = await w.pipeline.handle(a_call("a", verb="select"))
    assert reply.outcome.result == {"rows": [["0"]]}
    assert reply.effect is EffectState.NONE
    assert await events(w.store) == ["call.intend", "call.begin", "call.settle"]


async def test_what_is_not_understood_is_refused_and_recorded() -> None:
    w = await walks()
    reply = await w.pipeline.handle(a_call(verb="gibberish"))
    assert reply.state is State.DENIED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "sql.unparsable"
    assert await events(w.store) == ["call.deny"]
    assert w.box.effects == []


async def test_an_unknown_tool_is_not_found() -> None:
    w = await walks()
    with pytest.raises(NotFound):
        await w.pipeline.handle(a_call(tool="nowhere"))


async def test_a_denial_by_policy_carries_the_policys_own_reasons() -> None:
    policy = FakePolicy(Deny(reason="policy.denied", detail="no", reasons=("not granted",)))
    w = await walks(policy=policy)
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reasons == ("not granted",)
    assert w.box.effects == []


async def test_policy_is_asked_again_with_the_measured_extent() -> None:
    def small_only(document: Mapping[str, Any]) -> Decision:
        measured = document["context"]["measured"]
        if measured and measured["rows"] > 5:
            return Deny(reason="policy.denied", detail="too many", reasons=("too many",))
        return Allow()

    w = await walks(policy=FakePolicy(small_only), box=FakeUpstream(rows=6, data={"a": "0"}))
    reply = await w.pipeline.handle(a_call())
    assert reply.state is State.FAILED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "policy.denied"
    assert w.box.effects == []


@pytest.mark.parametrize(("rows", "allowed"), [(100, True), (101, False)])
async def test_an_extent_over_the_limit_is_rolled_back_with_its_count(
    rows: int, allowed: bool
) -> None:
    w = await walks(box=FakeUpstream(rows=rows, data={"a": "0"}))
    reply = await w.pipeline.handle(a_call())
    assert (reply.effect is EffectState.APPLIED) == allowed
    if not allowed:
        assert reply.outcome.refusal is not None
        assert reply.outcome.refusal.reason == "limit.rows"
        assert reply.outcome.refusal.extra["measured"]["rows"] == rows
        assert w.box.data == {"a": "0"}


async def test_obligations_of_policy_tighten_the_limit() -> None:
    policy = FakePolicy(Allow(obligations=Obligations(max_rows=3)))
    w = await walks(policy=policy, box=FakeUpstream(rows=4, data={"a": "0"}))
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "limit.rows"


async def test_a_freeze_refuses_writes_and_lets_reads_through_whatever_policy_says() -> None:
    w = await walks()
    await w.store.freeze(Freeze(id="f1", scope=Scope(), reason="release", starts_at=w.clock.now()))
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "frozen"
    assert (await w.pipeline.handle(a_call(verb="select"))).state is State.SUCCEEDED
    assert w.box.effects == []


async def test_a_freeze_set_while_the_call_runs_stops_it_before_its_commit() -> None:
    w = await walks()

    async def freeze_now() -> None:
        answer = await w.store.freeze(
            Freeze(id="f1", scope=Scope(), reason="stop", starts_at=w.clock.now())
        )
        assert answer.in_flight == (call.id,)

    w.box.pause = freeze_now
    call = a_call()
    reply = await w.pipeline.handle(call)
    assert reply.state is State.FAILED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "frozen"
    assert w.box.effects == []


async def test_what_has_no_way_back_runs_only_when_policy_says_so() -> None:
    box = FakeUpstream(data={"a": "0"}, reversibility=Reversibility.IRREVERSIBLE)
    w = await walks(box=box)
    reply = await w.pipeline.handle(a_call(verb="drop"))
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "undo.unavailable"
    assert box.effects == []
    w.policy.answer = Allow(obligations=Obligations(irreversible=True))
    reply = await w.pipeline.handle(a_call(verb="drop"))
    assert reply.effect is EffectState.APPLIED
    assert not reply.undo.available


async def test_a_capture_that_fails_means_no_execution() -> None:
    refusal = Deny(reason="undo.unavailable", detail="no key")
    w = await walks(box=FakeUpstream(data={"a": "0"}, capture_refusal=refusal))
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal == refusal
    assert w.box.effects == []


async def test_an_image_that_cannot_be_stored_means_no_execution() -> None:
    w = await walks()

    async def full(*args: object, **kwargs: object) -> None:
        raise SnapshotFailed("disk full")

    w.store.permit = full  # type: ignore[method-assign, assignment]
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "snapshot.failed"
    assert w.box.effects == []


async def test_an_error_of_the_target_is_a_failure_without_effect() -> None:
    error = UpstreamError("duplicate key", sqlstate="23505")
    w = await walks(box=FakeUpstream(data={"a": "0"}, fail_run=error))
    reply = await w.pipeline.handle(a_call())
    assert reply.state is State.FAILED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.extra["sqlstate"] == "23505"


async def test_a_lost_commit_reply_is_unknown_until_the_target_was_asked() -> None:
    w = await walks(box=FakeUpstream(data={"a": "0"}, lose_commit_reply=True))
    call = a_call()
    reply = await w.pipeline.handle(call)
    assert reply.effect is EffectState.UNKNOWN
    record = await w.store.call(call.id)
    assert record is not None
    assert record.state is State.EXECUTING
    w.clock.advance(seconds=61)
    [settled] = await w.recovery.settle()
    assert (settled.state, settled.effect) == (State.SUCCEEDED, EffectState.APPLIED)


async def test_a_write_that_meets_no_row_is_rolled_back_and_has_no_effect() -> None:
    w = await walks()
    reply = await w.pipeline.handle(a_call("a", "0"))
    assert (reply.state, reply.effect) == (State.SUCCEEDED, EffectState.NONE)
    assert w.box.effects == []


async def test_a_dry_run_measures_and_changes_nothing() -> None:
    w = await walks()
    reply = await w.pipeline.handle(a_call(dry_run=True))
    assert reply.outcome.result is not None
    assert reply.outcome.result["measured"]["rows"] == 1
    assert reply.effect is EffectState.NONE
    assert w.box.effects == []


async def test_the_same_key_replays_the_same_reply_and_runs_once() -> None:
    w = await walks()
    first = await w.pipeline.handle(a_call(idempotency_key="k"))
    again = await w.pipeline.handle(a_call(idempotency_key="k"))
    assert again.replayed
    assert (again.call, again.outcome.result) == (first.call, first.outcome.result)
    assert len(w.box.effects) == 1


async def test_the_same_key_for_another_call_is_a_mismatch() -> None:
    w = await walks()
    await w.pipeline.handle(a_call("a", idempotency_key="k"))
    reply = await w.pipeline.handle(a_call("b", idempotency_key="k"))
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "idempotency.mismatch"


async def test_the_same_key_of_another_agent_is_another_call() -> None:
    w = await walks()
    await w.pipeline.handle(a_call("a", idempotency_key="k"))
    reply = await w.pipeline.handle(a_call("b", agent="b8", idempotency_key="k"))
    assert reply.state is State.SUCCEEDED


async def test_concurrent_calls_with_one_key_run_once() -> None:
    w = await walks()
    replies = await asyncio.gather(
        *(w.pipeline.handle(a_call(idempotency_key="k")) for _ in range(8))
    )
    assert len(w.box.effects) == 1
    done = [r for r in replies if r.state is State.SUCCEEDED]
    refused = [r.outcome.refusal for r in replies if r.outcome.refusal is not None]
    assert len(done) + len(refused) == 8
    assert {r.reason for r in refused} <= {"idempotency.in_progress"}


async def test_a_refused_call_does_not_use_up_its_key() -> None:
    w = await walks()
    freeze = Freeze(id="f1", scope=Scope(), reason="x", starts_at=w.clock.now())
    await w.store.freeze(freeze)
    refused = await w.pipeline.handle(a_call(idempotency_key="k"))
    assert refused.state is State.DENIED
    await w.store.lift("f1", by="admin")
    assert (await w.pipeline.handle(a_call(idempotency_key="k"))).state is State.SUCCEEDED


async def test_a_held_call_runs_once_when_it_is_approved() -> None:
    w = await walks(policy=FakePolicy(Hold(reasons=("needs a person",))))
    call = a_call()
    reply = await w.pipeline.handle(call)
    assert reply.state is State.HELD
    assert w.box.effects == []
    [approval] = await w.store.approvals()
    approved = await w.store.decide_approval(approval.id, approve=True, by="ann", note=None)
    assert approved is not None
    done = await w.pipeline.resume(approved)
    assert done.effect is EffectState.APPLIED
    assert w.box.effects == [(call.id, "a", "1")]


async def test_an_approval_does_not_survive_a_policy_change() -> None:
    w = await walks(policy=FakePolicy(Hold()))
    await w.pipeline.handle(a_call())
    [approval] = await w.store.approvals()
    approved = await w.store.decide_approval(approval.id, approve=True, by="ann", note=None)
    assert approved is not None
    w.policy.revision = "r2"
    reply = await w.pipeline.resume(approved)
    assert reply.state is State.DENIED
    assert w.box.effects == []


async def test_an_approval_cannot_lift_a_denial_or_a_freeze() -> None:
    w = await walks(policy=FakePolicy(Hold()))
    await w.pipeline.handle(a_call())
    [approval] = await w.store.approvals()
    approved = await w.store.decide_approval(approval.id, approve=True, by="ann", note=None)
    assert approved is not None
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    reply = await w.pipeline.resume(approved)
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "frozen"
    assert w.box.effects == []


async def test_a_hold_on_the_measured_extent_rolls_back_and_waits_as_a_call_of_its_own() -> None:
    def hold_when_large(document: Mapping[str, Any]) -> Decision:
        return Hold() if document["context"]["measured"] else Allow()

    w = await walks(policy=FakePolicy(hold_when_large))
    reply = await w.pipeline.handle(a_call())
    assert reply.state is State.FAILED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "approval.required"
    assert w.box.effects == []
    [approval] = await w.store.approvals()
    assert approval.call == reply.outcome.refusal.extra["call"]
    approved = await w.store.decide_approval(approval.id, approve=True, by="ann", note=None)
    assert approved is not None
    assert (await w.pipeline.resume(approved)).effect is EffectState.APPLIED


async def test_a_running_call_is_cancelled_before_its_permit_and_settles_as_failed() -> None:
    w = await walks()
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    w.box.pause = wait
    call = a_call()
    running = asyncio.create_task(w.pipeline.handle(call))
    await started.wait()
    record = await w.pipeline.cancel(call.id)
    assert record is not None
    assert (record.state, record.effect) == (State.FAILED, EffectState.NONE)
    reply = await running
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "cancelled"


async def test_decide_executes_and_records_nothing() -> None:
    w = await walks()
    judged = await w.pipeline.decide(a_call())
    assert isinstance(judged.decision, Allow)
    assert judged.document is not None
    refused = await w.pipeline.decide(a_call(verb="gibberish"))
    assert isinstance(refused.decision, Deny)
    assert refused.document is None
    assert await events(w.store) == []
    assert w.box.effects == []


async def test_an_agent_that_spent_its_budget_of_rows_changes_nothing_more() -> None:
    w = await walks(pace=Pace(rows=3))
    w.box.rows = 2
    assert (
        await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    ).effect == "applied"

    reply = await w.pipeline.handle(a_call("b", "1", received_at=w.clock.now()))

    assert (reply.state, reply.effect) == (State.FAILED, EffectState.NONE)
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "limit.budget"
    assert w.box.data["b"] == "0"
