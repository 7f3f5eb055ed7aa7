"""From received to running or refused, in both stores."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from gateway.interfaces import Pace, Store
from gateway.lifecycle import IllegalMove, State
from gateway.model import (
    Approval,
    Deny,
    EffectState,
    Hold,
    Intent,
    Obligations,
    Permit,
    Running,
    Scope,
)
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import (
    DONE,
    LEASE,
    UNKNOWN,
    begun,
    done,
    freeze,
    intended,
    permitted,
    reach,
    running,
)

NO = Deny(reason="policy.denied", detail="no", reasons=("not granted",), revision="r1")


async def entries(store: Store) -> list[dict[str, Any]]:
    return [json.loads(e.body) for e in await store.entries()]


async def held(store: Store, call: Any, **obligations: Any) -> Approval:
    hold = Hold(reasons=("big",), obligations=Obligations(**obligations), revision="r1")
    answer = await store.hold(call, hold, action={"name": "update"}, reach=reach(call))
    assert isinstance(answer, Approval)
    return answer


async def approved(store: Store, call: Any, **obligations: Any) -> Approval:
    approval = await held(store, call, **obligations)
    answer = await store.decide_approval(approval.id, approve=True, by="ann", note="ok")
    assert answer is not None
    return answer


async def test_a_refused_call_is_kept_with_its_reason_and_one_entry(store: Store) -> None:
    call = a_call(idempotency_key="k")
    await store.refuse(call, NO, action={"name": "update"}, reach=reach(call))
    record = await store.call(call.id)
    assert record is not None
    assert (record.state, record.effect, record.call) == (State.DENIED, EffectState.NONE, call)
    assert record.outcome is not None
    assert record.outcome.refusal == NO
    [entry] = await entries(store)
    assert entry["event"] == "call.deny"
    assert (entry["from"], entry["to"]) == ("received", "denied")
    assert (entry["reason"], entry["reasons"]) == ("policy.denied", ["not granted"])


async def test_refusing_a_denied_call_again_changes_nothing(store: Store) -> None:
    call = a_call()
    await store.refuse(call, NO)
    await store.refuse(call, Deny(reason="frozen", detail="x"))
    assert len(await entries(store)) == 1


async def test_a_call_that_runs_cannot_be_refused(store: Store) -> None:
    call = a_call()
    await running(store, call)
    with pytest.raises(IllegalMove):
        await store.refuse(call, NO)
    assert len(await entries(store)) == 2


async def test_an_entry_never_holds_the_request_or_a_parameter(store: Store) -> None:
    call = a_call(value="top secret value")
    await done(store, call)
    assert all("top secret" not in e.body for e in await store.entries())


async def test_begin_takes_an_intent_to_executing_once(store: Store) -> None:
    call = a_call()
    intent = await intended(store, call)
    assert isinstance(intent, Intent)
    first = await store.begin(intent, windows=(), revision="r1", lease=LEASE)
    second = await store.begin(intent, windows=(), revision="r1", lease=LEASE)
    assert isinstance(first, Running)
    assert isinstance(second, Deny)
    assert second.reason == "interrupted"
    record = await store.call(call.id)
    assert record is not None
    assert record.state is State.EXECUTING
    assert record.lease_until is not None
    assert [e["event"] for e in await entries(store)] == ["call.intend", "call.begin"]


async def test_a_policy_that_changed_stops_the_beginning(store: Store) -> None:
    call = a_call()
    intent = await intended(store, call)
    assert isinstance(intent, Intent)
    answer = await store.begin(intent, windows=(), revision="r2", lease=LEASE)
    assert isinstance(answer, Deny)
    assert answer.reason == "policy.unavailable"
    record = await store.call(call.id)
    assert record is not None
    assert record.state is State.DENIED


# --- freezes -------------------------------------------------------------------------------


async def test_a_freeze_stops_begin_and_names_itself(store: Store, clock: FakeClock) -> None:
    await store.freeze(freeze(ends_at=clock.now() + timedelta(hours=1)))
    answer = await begun(store, a_call())
    assert isinstance(answer, Deny)
    assert answer.reason == "frozen"
    assert [f["id"] for f in answer.extra["freezes"]] == ["f1"]
    assert answer.extra["freezes"][0]["until"] is not None


async def test_a_window_that_was_passed_stops_begin_and_permit(store: Store) -> None:
    window = freeze("window:w")
    assert isinstance(await begun(store, a_call(), windows=[window]), Deny)
    call = a_call()
    token = await running(store, call)
    refused = await permitted(store, token, call, windows=[window])
    assert isinstance(refused, Deny)
    assert refused.reason == "frozen"


@pytest.mark.parametrize(
    "scope",
    [
        Scope(sources=("other",)),
        Scope(agents=("b1",)),
        Scope(tables=("b",)),
        Scope(effects=("ddl",)),
    ],
)
async def test_a_freeze_of_something_else_lets_a_call_begin(store: Store, scope: Scope) -> None:
    await store.freeze(freeze(scope=scope))
    assert isinstance(await begun(store, a_call()), Running)


async def test_a_freeze_that_starts_later_becomes_active_by_itself(
    store: Store, clock: FakeClock
) -> None:
    await store.freeze(freeze(at=clock.now() + timedelta(hours=1)))
    assert isinstance(await begun(store, a_call()), Running)
    clock.advance(hours=2)
    assert isinstance(await begun(store, a_call()), Deny)


async def test_a_freeze_that_is_over_or_lifted_stops_nothing(
    store: Store, clock: FakeClock
) -> None:
    await store.freeze(freeze("f1", ends_at=clock.now() + timedelta(hours=1)))
    await store.freeze(freeze("f2"))
    clock.advance(hours=2)
    lifted = await store.lift("f2", by="ann")
    assert lifted is not None
    assert lifted.lifted_at is not None
    assert isinstance(await begun(store, a_call()), Running)
    assert await store.freezes() == []
    assert [f.id for f in await store.freezes(lifted=True)] == ["f1", "f2"]
    assert await store.lift("f2", by="ann") is None
    assert await store.lift("f9", by="ann") is None


async def test_a_freeze_counts_epochs_and_lists_what_runs_in_its_scope(store: Store) -> None:
    inside, outside = a_call(), a_call(agent="b1")
    await running(store, inside)
    await running(store, outside)
    await intended(store, a_call())
    await done(store)
    first = await store.freeze(freeze("f1", scope=Scope(agents=("a7",))))
    second = await store.freeze(freeze("f2"))
    assert (first.freeze.epoch, second.freeze.epoch) == (1, 2)
    assert first.in_flight == (inside.id,)
    assert set(second.in_flight) == {inside.id, outside.id}
    assert await store.in_flight(Scope(agents=("b1",))) == [outside.id]
    with pytest.raises(ValueError):
        await store.freeze(freeze("f1"))


# --- keys ----------------------------------------------------------------------------------


async def test_a_key_in_use_is_in_progress_for_the_same_call_and_a_mismatch_for_another(
    store: Store,
) -> None:
    first = a_call(idempotency_key="k")
    await intended(store, first)
    same = await intended(store, a_call(idempotency_key="k"))
    other = await intended(store, a_call(value="2", idempotency_key="k"))
    assert isinstance(same, Deny)
    assert same.reason == "idempotency.in_progress"
    assert same.extra == {"call": first.id, "state": "intent"}
    assert isinstance(other, Deny)
    assert other.reason == "idempotency.mismatch"
    assert isinstance(await intended(store, a_call(agent="b1", idempotency_key="k")), Intent)
    assert len(await entries(store)) == 2


async def test_a_key_whose_outcome_is_unknown_says_so(store: Store) -> None:
    call = a_call(idempotency_key="k")
    token = await running(store, call)
    await permitted(store, token, call)
    await store.settle(token, UNKNOWN)
    again = await intended(store, a_call(idempotency_key="k"))
    assert isinstance(again, Deny)
    assert again.reason == "idempotency.unknown"


async def test_a_denied_call_leaves_its_key_free(store: Store) -> None:
    await store.refuse(a_call(idempotency_key="k"), NO)
    assert await store.find("a7", "k") is None
    await store.freeze(freeze())
    assert isinstance(await begun(store, a_call(idempotency_key="k")), Deny)
    await store.lift("f1", by="ann")
    call = await done(store, a_call(idempotency_key="k"))
    found = await store.find("a7", "k")
    assert found is not None
    assert found.call == call
    assert await store.find("b1", "k") is None


async def test_of_many_duplicates_one_becomes_an_intent(store: Store) -> None:
    keys = [f"k{n}" for n in range(100)]
    answers = await asyncio.gather(
        *(intended(store, a_call(idempotency_key=key)) for key in keys for _ in range(8))
    )
    assert sum(isinstance(a, Intent) for a in answers) == 100
    assert {a.reason for a in answers if isinstance(a, Deny)} == {"idempotency.in_progress"}
    assert len(await store.entries()) == 100


# --- holds ---------------------------------------------------------------------------------


async def test_a_held_call_begins_once_with_its_approval(store: Store) -> None:
    call = a_call()
    approval = await approved(store, call)
    assert (approval.state, approval.decided_by, approval.note) == ("approved", "ann", "ok")
    assert isinstance(await begun(store, call, approval=approval.id), Running)
    used = await store.approval(approval.id)
    assert used is not None
    assert used.state == "used"
    again = await intended(store, call, approval=approval.id)
    assert isinstance(again, Deny)
    assert again.reason == "idempotency.in_progress"


async def test_a_held_call_without_its_approval_is_not_intended(store: Store) -> None:
    call, other = a_call(), a_call(value="2")
    await approved(store, call)
    strange = await approved(store, other)
    for approval in (None, strange.id):
        answer = await intended(store, call, approval=approval)
        assert isinstance(answer, Deny)
        assert answer.reason == "approval.required"


async def test_an_approval_is_not_for_another_call_or_another_policy(store: Store) -> None:
    approval = await approved(store, a_call(value="2"))
    answer = await begun(store, a_call(), approval=approval.id)
    assert isinstance(answer, Deny)
    assert answer.reason == "approval.rejected"
    call = a_call()
    approval = await approved(store, call)
    decision = {"decision": "allow", "reasons": [], "revision": "r2"}
    intent = await store.intend(
        call, action={}, reach=reach(call), decision=decision, approval=approval.id
    )
    assert isinstance(intent, Intent)
    answer = await store.begin(intent, windows=(), revision="r2", lease=LEASE)
    assert isinstance(answer, Deny)
    assert answer.reason == "approval.expired"


@pytest.mark.parametrize("approval", ["waiting", "missing"])
async def test_an_approval_that_was_not_given_begins_nothing(store: Store, approval: str) -> None:
    call = a_call()
    id = (await held(store, call)).id if approval == "waiting" else "apr_none"
    answer = await begun(store, call if approval == "waiting" else a_call(), approval=id)
    assert isinstance(answer, Deny)
    assert answer.reason == "approval.required"


async def test_an_approval_runs_out(store: Store, clock: FakeClock) -> None:
    call, late = a_call(), a_call(value="2")
    approval = await approved(store, call, approval_ttl=30)
    waiting = await held(store, late, approval_ttl=30)
    clock.advance(seconds=31)
    answer = await begun(store, call, approval=approval.id)
    assert isinstance(answer, Deny)
    assert answer.reason == "approval.expired"
    assert await store.approvals() == []
    assert await store.decide_approval(waiting.id, approve=True, by="ann", note=None) is None
    record = await store.call(late.id)
    assert record is not None
    assert record.state is State.DENIED
    assert {a.state for a in await store.approvals(waiting=False)} == {"expired"}


async def test_a_rejection_denies_the_held_call(store: Store) -> None:
    call = a_call()
    approval = await held(store, call)
    assert [a.id for a in await store.approvals()] == [approval.id]
    rejected = await store.decide_approval(approval.id, approve=False, by="ann", note="no")
    assert rejected is not None
    assert rejected.state == "rejected"
    record = await store.call(call.id)
    assert record is not None
    assert record.state is State.DENIED
    assert record.outcome is not None
    assert record.outcome.refusal is not None
    assert record.outcome.refusal.reason == "approval.rejected"
    assert await store.decide_approval(approval.id, approve=True, by="ann", note=None) is None
    events = [e["event"] for e in await entries(store)]
    assert events == ["call.hold", "approval.decide", "call.deny"]


async def test_a_cancelled_hold_ends_its_approval(store: Store) -> None:
    call = a_call(idempotency_key="k")
    approval = await held(store, call)
    taken = await store.hold(a_call(idempotency_key="k"), Hold(), action={}, reach=reach(call))
    assert isinstance(taken, Deny)
    assert taken.reason == "idempotency.in_progress"
    await store.refuse(call, Deny(reason="cancelled", detail="x"))
    ended = await store.approval(approval.id)
    assert ended is not None
    assert ended.state == "expired"
    assert await store.approval("apr_none") is None


async def test_a_recorded_call_is_not_held_again(store: Store) -> None:
    call = await done(store)
    with pytest.raises(IllegalMove):
        await store.hold(call, Hold(), action={}, reach=reach(call))


async def test_a_settled_call_is_neither_begun_nor_intended_again(store: Store) -> None:
    call = a_call()
    intent = await intended(store, call)
    assert isinstance(intent, Intent)
    token = await store.begin(intent, windows=(), revision="r1", lease=LEASE)
    assert isinstance(token, Running)
    assert isinstance(await permitted(store, token, call), Permit)
    await store.settle(token, DONE)
    assert isinstance(await store.begin(intent, windows=(), revision="r1", lease=LEASE), Deny)
    assert isinstance(await intended(store, call), Deny)


async def _started(store: Store, call: Any, revision: str = "r1") -> Running | Deny:
    return await store.start(
        call,
        action={"name": "select"},
        reach=reach(call),
        decision={"decision": "allow", "revision": "r1"},
        windows=(),
        revision=revision,
        lease=LEASE,
    )


async def test_a_start_is_an_intent_and_a_begin_with_an_entry_each(store: Store) -> None:
    call = a_call(idempotency_key="k")
    assert isinstance(await _started(store, call), Running)
    assert [e["event"] for e in await entries(store)] == ["call.intend", "call.begin"]
    record = await store.call(call.id)
    assert record is not None
    assert record.state is State.EXECUTING
    again = await _started(store, a_call(idempotency_key="k"))
    assert isinstance(again, Deny)
    assert again.reason == "idempotency.in_progress"
    assert again.effect is EffectState.UNKNOWN


async def test_a_start_is_stopped_by_what_stops_a_begin(store: Store) -> None:
    changed = await _started(store, a_call(), revision="r2")
    assert isinstance(changed, Deny)
    assert changed.reason == "policy.unavailable"
    await store.freeze(freeze())
    stopped = await _started(store, a_call())
    assert isinstance(stopped, Deny)
    assert stopped.reason == "frozen"
    assert [e["event"] for e in await entries(store)][-2:] == ["call.intend", "call.deny"]


# --- identical calls ------------------------------------------------------------------------

APART = timedelta(seconds=60)


async def _intended_apart(store: Store, call: Any, apart: timedelta | None = APART) -> Any:
    return await store.intend(
        call,
        action={"name": "update"},
        reach=reach(call),
        decision={"decision": "allow", "revision": "r1"},
        pace=Pace(apart=apart),
    )


async def test_of_many_identical_calls_without_a_key_one_becomes_an_intent(store: Store) -> None:
    answers = await asyncio.gather(*(_intended_apart(store, a_call()) for _ in range(20)))
    assert len([a for a in answers if isinstance(a, Intent)]) == 1
    refused = [a for a in answers if isinstance(a, Deny)]
    assert {d.reason for d in refused} == {"idempotency.in_progress"}
    assert len({d.extra["call"] for d in refused}) == 1


async def test_another_digest_agent_key_or_time_is_another_call(
    store: Store, clock: FakeClock
) -> None:
    assert isinstance(await _intended_apart(store, a_call()), Intent)
    for other in (a_call(value="2"), a_call(agent="b8"), a_call(idempotency_key="k")):
        assert isinstance(await _intended_apart(store, other), Intent)
    assert isinstance(await _intended_apart(store, a_call(), None), Intent)
    clock.advance(seconds=61)
    assert isinstance(await _intended_apart(store, a_call(received_at=clock.now())), Intent)


async def test_a_call_that_ended_does_not_stand_in_the_way(store: Store) -> None:
    await done(store, a_call())
    assert isinstance(await _intended_apart(store, a_call()), Intent)


async def test_an_identical_call_with_an_unknown_outcome_is_named(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    await store.settle(token, UNKNOWN)
    answer = await _intended_apart(store, a_call())
    assert isinstance(answer, Deny)
    assert (answer.reason, answer.extra["call"]) == ("idempotency.unknown", call.id)
    assert answer.effect is EffectState.UNKNOWN


async def test_denied_and_failed_calls_are_counted_and_those_stopped_for_it_are_not(
    store: Store, clock: FakeClock
) -> None:
    call = a_call()
    since = clock.now() - timedelta(days=365)
    assert await store.repeated("a7", call.digest, since=since) == 0
    await store.refuse(call, NO)
    await store.refuse(a_call(), Deny(reason="repetition", detail="stop"))
    await store.refuse(a_call(agent="b8"), NO)
    assert await store.repeated("a7", call.digest, since=since) == 1
    assert await store.repeated("a7", call.digest, since=clock.now()) == 0


@pytest.mark.parametrize("reason", ["frozen", "limit.rate", "approval.required", "overloaded"])
async def test_refusals_that_go_away_by_themselves_do_not_count(store: Store, reason: str) -> None:
    call = a_call()
    await store.refuse(call, Deny(reason=reason, detail="later"))
    assert await store.repeated("a7", call.digest, since=call.received_at) == 0


async def test_of_many_calls_at_once_no_more_begin_than_the_rate_allows(
    store: Store, clock: FakeClock
) -> None:
    pace = Pace(apart=None, calls=3, within=timedelta(seconds=60))

    async def one(agent: str = "a7", **more: Any) -> Any:
        call = a_call(agent=agent, received_at=clock.now(), **more)
        return await store.intend(
            call,
            action={"name": "update"},
            reach=reach(call),
            decision={"decision": "allow", "revision": "r1"},
            pace=pace,
        )

    answers = await asyncio.gather(*(one() for _ in range(10)))
    assert len([a for a in answers if isinstance(a, Intent)]) == 3
    refused = next(a for a in answers if isinstance(a, Deny))
    assert refused.reason == "limit.rate"
    assert 0 < refused.extra["retry_after_s"] <= 60
    assert isinstance(await one(agent="b8"), Intent), "another agent has its own"
    clock.advance(seconds=61)
    assert isinstance(await one(), Intent)
