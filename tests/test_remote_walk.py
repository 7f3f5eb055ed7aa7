"""The walk, the walk back and recovery over a tool that has no transactions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.interfaces import Pace, StaleGeneration
from gateway.lifecycle import State
from gateway.model import CallRecord, EffectState, OnConflict, Outcome, ToolClass
from gateway.revert import RevertRequest
from gateway.upstreams.remote.templates import Template
from tests.fixtures.fakes import FakeUpstream, a_call
from tests.fixtures.shelf import ROOTS, Shelf, probing, shelf_call
from tests.fixtures.walks import LEASE, Walks, walks
from tests.test_recovery import Death, Died

KEYED = {"post": {"tool_class": ToolClass.KEYED}}


async def state_of(w: Walks, call: str) -> CallRecord:
    record = await w.store.call(call)
    assert record is not None
    return record


async def handled(w: Walks, do: str, id: str | None = None, body: Any = None, **more: Any) -> str:
    reply = await w.pipeline.handle(shelf_call(do, id, body, received_at=w.clock.now(), **more))
    assert reply.effect is EffectState.APPLIED, reply
    return reply.call


# --- outcomes -------------------------------------------------------------------------------


async def test_a_remote_write_has_its_way_back_before_its_effect() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))

    reply = await w.pipeline.handle(shelf_call("delete", "7"))

    assert (reply.state, reply.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert reply.undo.available
    undo = await w.store.undo_of(reply.call)
    assert undo is not None
    assert undo.answer is not None
    assert undo.answer["seen"] is True
    shown = (await state_of(w, reply.call)).outcome
    assert shown is not None
    assert shown.result == {"status": 204, "body": None}, "what is kept is nobody else's business"


async def test_an_opaque_call_without_an_answer_is_recorded_as_unknown() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}, faults=["lost"]))

    reply = await w.pipeline.handle(shelf_call("delete", "7"))

    record = await state_of(w, reply.call)
    assert (reply.effect, record.state) == (EffectState.UNKNOWN, State.UNKNOWN)
    unknown, _ = await w.store.calls(states=(State.UNKNOWN,))
    assert [r.call.id for r in unknown] == [reply.call]
    w.clock.advance(days=1)
    assert await w.recovery.settle() == [], "nobody guesses"
    assert len(w.shelf.effects) == 1


async def test_a_keyed_call_without_an_answer_is_settled_by_recovery() -> None:
    w = await walks(shelf=Shelf(faults=["lost"], heeds_keys=True), plans=KEYED)
    reply = await w.pipeline.handle(shelf_call("post", body="made"))
    assert reply.effect is EffectState.UNKNOWN
    assert (await state_of(w, reply.call)).state is State.EXECUTING

    w.clock.advance(seconds=61)
    [settled] = await w.recovery.settle()

    assert (settled.state, settled.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert len(w.shelf.effects) == 1
    told = await w.reverter.revert(RevertRequest(target={"call": reply.call}, by="ann"))
    assert (told.state, told.steps[0].conflicts[0].why) == ("conflict", "unverified")
    request = RevertRequest(target={"call": reply.call}, by="ann", on_conflict=OnConflict.FORCE)
    job = await w.reverter.revert(request)
    assert job.state == "reverted", "the answer that the undo needs came with the second sending"
    assert w.shelf.items == {}


@pytest.mark.parametrize(("found", "state"), [(True, State.SUCCEEDED), (False, State.FAILED)])
async def test_a_probe_settles_what_was_unknown(found: bool, state: State) -> None:
    plans = {"put": {"tool_class": ToolClass.PROBEABLE, "probing": probing(found), "safe": False}}
    fault = "lost" if found else "swallowed"
    w = await walks(shelf=Shelf(items={"7": "old"}, faults=[fault]), plans=plans)
    reply = await w.pipeline.handle(shelf_call("put", "7", "new"))
    assert await w.recovery.settle() == [], "the fence window is not over"

    w.clock.advance(seconds=11)
    [settled] = await w.recovery.settle()

    assert (settled.call.id, settled.state) == (reply.call, state)
    assert len(w.shelf.effects) == int(found)


@pytest.mark.parametrize("applied", [True, False])
async def test_a_person_settles_what_nobody_else_can(applied: bool) -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}, faults=["lost" if applied else "swallowed"]))
    reply = await w.pipeline.handle(shelf_call("delete", "7"))
    outcome = Outcome(
        state=State.SUCCEEDED if applied else State.FAILED,
        effect=EffectState.APPLIED if applied else EffectState.NONE,
    )

    record = await w.store.resolve(reply.call, outcome, by="ann", note="looked it up")

    assert record is not None
    assert record.undo.available is applied
    assert await w.store.resolve(reply.call, outcome, by="bob", note=None) is None


async def test_declared_rows_are_no_proof_that_nothing_happened() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}), plans={"delete": {"rows": 0}})
    reply = await w.pipeline.handle(shelf_call("delete", "7"))
    assert reply.effect is EffectState.APPLIED


async def test_a_dry_run_sends_nothing() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    reply = await w.pipeline.handle(shelf_call("delete", "7", dry_run=True))
    assert (reply.state, reply.effect) == (State.SUCCEEDED, EffectState.NONE)
    assert w.shelf.seen == []


# --- leases ---------------------------------------------------------------------------------


async def test_a_call_that_takes_long_keeps_its_lease() -> None:
    w = await walks()
    call = a_call(received_at=w.clock.now())

    async def slow() -> None:
        for _ in range(5):
            w.clock.advance(seconds=30)
            await asyncio.sleep(0.02)
            assert await w.recovery.settle() == []

    w.box.pause = slow
    w.pipeline._timing = type(w.pipeline._timing)(lease=LEASE / 2000)
    real = w.store.renew

    async def renew(running: Any, *, lease: Any) -> bool:
        return await real(running, lease=LEASE)

    w.store.renew = renew  # type: ignore[method-assign]
    reply = await w.pipeline.handle(call)
    assert reply.state is State.SUCCEEDED


async def test_an_answer_that_comes_after_the_takeover_still_settles_the_call() -> None:
    shelf = Shelf(items={"7": "old"})
    w = await walks(shelf=shelf)
    real, call = shelf.send, shelf_call("delete", "7")

    async def late(request: Any, **more: Any) -> Any:
        answer = await real(request, **more)
        if request["do"] == "delete":
            w.clock.advance(seconds=120)
            await w.recovery.settle()
            assert (await state_of(w, call.id)).state is State.UNKNOWN
        return answer

    shelf.send = late  # type: ignore[method-assign]
    reply = await w.pipeline.handle(call)

    assert (reply.state, reply.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert (await state_of(w, call.id)).undo.available


async def test_a_permit_is_not_used_after_the_call_was_taken_over() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    call = shelf_call("delete", "7")

    def pause(step: str) -> None:
        if step == "walk.permitted":
            w.clock.advance(seconds=300)

    w.pipeline._probe = pause
    reply = await w.pipeline.handle(call)

    assert (reply.state, reply.effect) == (State.FAILED, EffectState.NONE)
    assert w.shelf.effects == []


# --- identical calls ------------------------------------------------------------------------


async def test_a_call_without_a_key_is_not_run_beside_itself() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    entered, release = asyncio.Event(), asyncio.Event()
    real = w.shelf.send

    async def slow(request: Any, **more: Any) -> Any:
        if request["do"] == "delete":
            entered.set()
            await release.wait()
        return await real(request, **more)

    w.shelf.send = slow  # type: ignore[method-assign]
    first = asyncio.create_task(w.pipeline.handle(shelf_call("delete", "7")))
    await entered.wait()
    again = await w.pipeline.handle(shelf_call("delete", "7"))
    other = await w.pipeline.handle(shelf_call("put", "8", "x", agent="b8", tool="shelf"))
    release.set()
    done = await first

    assert again.outcome.refusal is not None
    assert again.outcome.refusal.reason == "idempotency.in_progress"
    assert again.outcome.refusal.extra["call"] == done.call
    assert (
        other.outcome.refusal is None or other.outcome.refusal.reason != "idempotency.in_progress"
    )
    assert len([e for e in w.shelf.effects if e[0] == "delete"]) == 1


async def test_a_call_without_a_key_is_not_run_again_while_its_outcome_is_unknown() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}, faults=["swallowed"]))
    first = await w.pipeline.handle(shelf_call("delete", "7", received_at=w.clock.now()))

    again = await w.pipeline.handle(shelf_call("delete", "7", received_at=w.clock.now()))

    assert again.outcome.refusal is not None
    assert again.outcome.refusal.reason == "idempotency.unknown"
    assert again.outcome.refusal.extra["call"] == first.call
    assert again.effect is EffectState.UNKNOWN
    w.clock.advance(seconds=61)
    later = await w.pipeline.handle(shelf_call("delete", "7", received_at=w.clock.now()))
    assert later.state is State.SUCCEEDED, "the window is over"


async def test_the_window_can_be_turned_off_and_keys_go_their_own_way() -> None:
    w = await walks(
        shelf=Shelf(items={"7": "old"}, faults=["swallowed", "swallowed"]), pace=Pace(apart=None)
    )
    for _ in range(2):
        await w.pipeline.handle(shelf_call("delete", "7"))
    w = await walks(shelf=Shelf(items={"7": "old"}, faults=["swallowed", "swallowed"]))
    for key in ("k1", "k2"):
        await w.pipeline.handle(shelf_call("delete", "7", idempotency_key=key))
    assert len([r for r in w.shelf.seen if r["do"] == "delete"]) == 2


# --- the walk back --------------------------------------------------------------------------


async def test_a_session_over_two_kinds_of_target_comes_back_strictly_newest_first() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    order: list[str] = []
    w.box.effects = _Noting(order, "box")  # type: ignore[assignment]
    w.shelf.effects = _Noting(order, "shelf")  # type: ignore[assignment]
    for number in range(3):
        reply = await w.pipeline.handle(a_call("a", str(number + 1), received_at=w.clock.now()))
        assert reply.state is State.SUCCEEDED
        await handled(w, "put", "7", f"new {number}")
    order.clear()

    job = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))

    assert job.state == "reverted"
    assert [s.upstream for s in job.steps] == ["shelf", "box"] * 3
    assert order == ["shelf", "box"] * 3
    assert w.box.data["a"] == "0"
    assert w.shelf.items == {"7": "old"}


class _Noting(list[Any]):
    def __init__(self, order: list[str], name: str) -> None:
        super().__init__()
        self.order, self.name = order, name

    def append(self, item: Any) -> None:
        self.order.append(self.name)
        super().append(item)


async def test_neighbours_of_one_database_still_share_a_transaction() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    for value in ("1", "2"):
        await w.pipeline.handle(a_call("a", value, received_at=w.clock.now()))
    await handled(w, "put", "7", "new")
    await w.pipeline.handle(a_call("b", "1", received_at=w.clock.now()))

    await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))

    reverts, _ = await w.store.calls(reverts=True)
    assert [len(r.call.reverts) for r in reversed(reverts)] == [1, 1, 2]


async def test_a_conflict_that_is_foreseen_leaves_everything_alone() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    await handled(w, "put", "7", "new")
    await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    w.shelf.items["7"] = "theirs"

    job = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))

    assert job.state == "conflict"
    assert [s.state for s in job.steps] == ["skipped", "conflict"]
    assert (w.box.data["a"], w.shelf.items["7"]) == ("1", "theirs")


async def test_a_failure_that_nobody_foresaw_stops_there_and_is_reported() -> None:
    w = await walks(shelf=Shelf(items={"7": "old", "8": "old"}))
    await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    await handled(w, "put", "7", "new")
    await handled(w, "put", "8", "new")
    w.shelf.faults = ["", "rejected"]

    job = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))

    assert job.state == "partial"
    assert [s.state for s in job.steps] == ["reverted", "failed", "skipped"]
    assert (w.box.data["a"], w.shelf.items) == ("1", {"7": "new", "8": "old"})


async def test_a_compensation_that_cannot_be_told_is_reported_and_blocks_the_older_ones() -> None:
    w = await walks(shelf=Shelf())
    await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    made = await handled(w, "post", body="made")
    w.shelf.faults = ["swallowed"]

    job = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))

    assert [(s.call == made, s.state) for s in job.steps] == [(True, "unknown"), (False, "skipped")]
    again = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))
    assert [s.state for s in again.steps] == ["unknown", "skipped"], "until it is known"
    w.clock.advance(seconds=301)
    [settled] = await w.recovery.settle()
    assert settled.state is State.FAILED
    last = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))
    assert last.state == "reverted"
    assert (w.box.data["a"], w.shelf.items) == ("0", {})


async def test_an_irreversible_call_of_a_session_is_named_and_the_rest_comes_back() -> None:
    from gateway.model import Allow, Obligations, Reversibility
    from tests.fixtures.fakes import FakePolicy

    policy = FakePolicy(Allow(obligations=Obligations(irreversible=True)))
    plans = {"post": {"reversibility": Reversibility.IRREVERSIBLE, "undo": None}}
    w = await walks(shelf=Shelf(), plans=plans, policy=policy)
    await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    await handled(w, "post", body="mail")

    job = await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))

    assert job.state == "partial"
    assert [s.state for s in job.steps] == ["failed", "reverted"]
    assert "irreversible" in str(job.steps[0].detail)


async def test_skip_goes_on_past_a_conflict_over_both_kinds() -> None:
    w = await walks(shelf=Shelf(items={"7": "old", "8": "old"}))
    await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    await handled(w, "put", "7", "new")
    await handled(w, "put", "8", "new")
    w.shelf.items["8"] = "theirs"

    job = await w.reverter.revert(
        RevertRequest(target={"session": "s1"}, by="ann", on_conflict=OnConflict.SKIP)
    )

    assert [s.state for s in job.steps] == ["conflict", "reverted", "reverted"]
    assert (w.box.data["a"], w.shelf.items) == ("0", {"7": "old", "8": "theirs"})


async def test_a_revert_of_a_remote_call_can_be_reverted() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    call = await handled(w, "put", "7", "new")
    await w.reverter.revert(RevertRequest(target={"call": call}, by="ann"))
    reverter = (await state_of(w, call)).reverted_by
    assert reverter is not None

    job = await w.reverter.revert(RevertRequest(target={"call": reverter}, by="ann"))

    assert job.state == "reverted"
    assert w.shelf.items == {"7": "new"}


BACK_REMOTE = [
    "back.saved",
    "back.intended",
    "back.begun",
    "back.ran",
    "back.captured",
    "back.permitted",
    "remote.undo.sending",
    "remote.undo.sent",
    "back.landed",
    "back.settled",
    "back.finished",
]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", BACK_REMOTE)
async def test_a_death_in_a_walk_back_over_both_kinds_is_resumed_without_doubling(
    step: str, nth: int
) -> None:
    death = _Later(step, nth)
    w = await walks(shelf=Shelf(items={"7": "old"}), probe=death)
    await handled(w, "put", "7", "one")
    await w.pipeline.handle(a_call("a", "1", received_at=w.clock.now()))
    await handled(w, "delete", "7")
    effects = len(w.shelf.effects)
    try:
        await w.reverter.revert(RevertRequest(target={"session": "s1"}, by="ann"))
    except Died:
        w.clock.advance(seconds=1)
        await w.recovery.settle(everything=True)
        await w.reverter.resume()
    assert w.shelf.items == {"7": "old"}
    assert w.box.data["a"] == "0"
    assert len(w.shelf.effects) == effects + 2
    assert await w.store.unfinished_reverts() == []


class _Later(Death):
    def __init__(self, at: str, nth: int) -> None:
        super().__init__(at)
        self.left = nth

    def __call__(self, step: str) -> None:
        if step == self.at:
            self.left -= 1
            if self.left == 0:
                super().__call__(step)


WALK_REMOTE = [
    "walk.intended",
    "walk.begun",
    "walk.captured",
    "walk.permitted",
    "remote.sending",
    "remote.sent",
    "walk.landed",
]


@pytest.mark.parametrize("tool_class", ["B", "C", "D"])
@pytest.mark.parametrize("step", WALK_REMOTE)
async def test_a_death_in_the_walk_is_settled_by_class(step: str, tool_class: str) -> None:
    shelf = Shelf(items={"7": "old"}, heeds_keys=tool_class == "B")
    plan: dict[str, Any] = {"tool_class": ToolClass(tool_class)}
    if tool_class == "C":
        from dataclasses import replace

        plan["probing"] = replace(probing(None), happened=lambda v: v["response"]["status"] == 404)
    w = await walks(shelf=shelf, plans={"delete": plan}, probe=Death(step))
    call = shelf_call("delete", "7", received_at=w.clock.now())
    with pytest.raises(Died):
        await w.pipeline.handle(call)
    await w.recovery.settle(everything=True)
    w.clock.advance(seconds=60)
    await w.recovery.settle()

    record = await state_of(w, call.id)
    sent = step in ("walk.permitted", "remote.sending", "remote.sent", "walk.landed")
    if tool_class == "D" and sent:
        assert record.state is State.UNKNOWN
    else:
        happened = len(shelf.effects) == 1
        expected = State.SUCCEEDED if happened else State.FAILED
        assert (record.state, record.effect) == (
            expected,
            EffectState.APPLIED if happened else EffectState.NONE,
        )
    assert len(shelf.effects) <= 1


async def test_a_missing_store_leaves_the_lease_as_it_is() -> None:
    from gateway.flights import held

    w = await walks()
    calls = 0

    async def away(_running: Any, *, lease: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise StoreUnavailable("away")
        return False

    w.store.renew = away  # type: ignore[method-assign, assignment]
    async with held(w.store, None, LEASE / 60_000):  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
    assert calls == 3, "tried again, and given up once the call is not ours any more"


async def test_settling_twice_by_two_owners_is_noticed() -> None:
    w = await walks(box=FakeUpstream(data={"a": "0"}, lose_commit_reply=True))
    await w.pipeline.handle(a_call())
    w.clock.advance(seconds=61)
    [(_, first)] = await w.store.take_over(everything=True, lease=LEASE)
    [(_, second)] = await w.store.take_over(everything=True, lease=LEASE)
    assert first is not None
    assert second is not None
    assert await w.store.permitted(first) is None
    assert await w.store.permitted(second) is not None
    with pytest.raises(StaleGeneration):
        await w.store.settle(first, Outcome(state=State.FAILED, effect=EffectState.NONE))


async def test_an_owner_whose_call_is_being_recovered_does_not_say_that_nothing_happened() -> None:
    w = await walks(shelf=Shelf(heeds_keys=True), plans=KEYED)
    real, call = w.shelf.send, shelf_call("post", body="made")

    async def late(request: Any, **more: Any) -> Any:
        answer = await real(request, **more)
        if request["do"] == "post":
            await w.store.take_over(everything=True, lease=LEASE)
        return answer

    w.shelf.send = late  # type: ignore[method-assign]
    reply = await w.pipeline.handle(call)

    assert (reply.state, reply.effect) == (State.EXECUTING, EffectState.UNKNOWN)


# --- taking a revert back -------------------------------------------------------------------


async def reverted(w: Walks, call: str) -> str:
    """The call that took ``call`` back."""
    job = await w.reverter.revert(RevertRequest(target={"call": call}, by="ann"))
    assert job.state == "reverted", job
    by = (await state_of(w, call)).reverted_by
    assert by is not None
    return by


@pytest.mark.parametrize(("do", "body"), [("put", "new"), ("delete", None)])
async def test_a_revert_is_taken_back_and_that_again(do: str, body: Any) -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    call = await handled(w, do, "7", body)
    left = dict(w.shelf.items)
    for expected in ({"7": "old"}, left, {"7": "old"}, left):
        call = await reverted(w, call)
        assert w.shelf.items == expected


async def test_a_creation_comes_again_under_its_own_name_where_that_is_declared() -> None:
    put = {"do": "put", "id": "$response.body.id", "body": "$after.body"}
    redo = Template.compile(put, (*ROOTS, "after")).render
    w = await walks(plans={"post": {"redo": redo, "redo_safe": True}})
    call = await handled(w, "post", body="made")
    left = dict(w.shelf.items)
    for expected in ({}, left, {}, left):
        call = await reverted(w, call)
        assert w.shelf.items == expected
    assert len(left) == 1


async def test_without_a_redo_a_creation_does_not_come_again_under_another_name() -> None:
    w = await walks()
    revert = await reverted(w, await handled(w, "post", body="made"))
    job = await w.reverter.revert(RevertRequest(target={"call": revert}, by="ann"))
    assert job.state != "reverted"
    assert w.shelf.items == {}
    assert len(w.shelf.effects) == 2


async def test_a_redo_that_lacks_a_value_is_no_redo() -> None:
    missing = Template.compile({"do": "put", "id": "$after.nothing"}, (*ROOTS, "after")).render
    w = await walks(shelf=Shelf(items={"7": "old"}), plans={"put": {"redo": missing}})
    revert = await reverted(w, await handled(w, "put", "7", "new"))
    job = await w.reverter.revert(RevertRequest(target={"call": revert}, by="ann"))
    assert job.state != "reverted"
    assert w.shelf.items == {"7": "old"}


async def test_what_somebody_wrote_after_a_revert_is_not_overwritten_by_the_redo() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    revert = await reverted(w, await handled(w, "put", "7", "new"))
    w.shelf.items["7"] = "somebody's"
    job = await w.reverter.revert(RevertRequest(target={"call": revert}, by="ann"))
    assert job.state == "conflict"
    assert w.shelf.items == {"7": "somebody's"}


async def test_a_redo_whose_answer_is_lost_is_settled_by_looking() -> None:
    w = await walks(shelf=Shelf(items={"7": "old"}))
    revert = await reverted(w, await handled(w, "put", "7", "new"))
    w.shelf.faults = ["lost"]
    await reverted(w, revert)
    assert w.shelf.items == {"7": "new"}
    assert w.shelf.effects.count(("put", "7")) == 3
