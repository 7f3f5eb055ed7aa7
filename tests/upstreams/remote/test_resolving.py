from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.interfaces import Captured, Unsettled
from gateway.lifecycle import State
from gateway.model import Call, EffectState, Json, OnConflict, Outcome, ToolClass, Undo
from gateway.upstreams.remote.attempt import RemoteAttempt
from gateway.upstreams.remote.plan import Plan
from gateway.upstreams.remote.resolving import resolve
from gateway.upstreams.remote.transport import Answer
from gateway.upstreams.remote.unwinding import RemoteUnwinding
from tests.fixtures.fakes import FakeClock
from tests.fixtures.shelf import (
    Shelf,
    a_call,
    a_tool,
    change,
    creation,
    deletion,
    permit_for,
    probing,
)
from tests.upstreams.remote.test_unwinding import done


class Case:
    """A call that was captured and then left open."""

    def __init__(self, shelf: Shelf, plan: Plan) -> None:
        self.shelf = shelf
        self.plan: Plan | None = plan
        self.clock = FakeClock()
        self.tool = a_tool(shelf, self.clock)
        self.call: Call = a_call(plan)
        self.undo: Undo | None = None

    async def captured(self) -> RemoteAttempt:
        assert self.plan is not None
        attempt = RemoteAttempt(self.tool, self.call, self.plan)
        captured = await attempt.capture()
        assert isinstance(captured, Captured)
        self.undo = captured.undo
        return attempt

    async def resolved(
        self, state: State = State.EXECUTING, *, later: float = 0.0
    ) -> Outcome | None:
        assert self.undo is not None
        since = self.clock.now()
        self.clock.advance(seconds=later)
        unsettled = Unsettled(call=self.call, state=state, since=since, undo=self.undo)
        permit = None if state is State.UNKNOWN else permit_for(self.call)
        return await resolve(self.tool, unsettled, self.plan, permit)


async def sent_and_lost(plan: Plan, fault: str = "lost", **more: Any) -> Case:
    case = Case(Shelf(faults=[fault], **more), plan)
    attempt = await case.captured()
    outcome = await attempt.commit(permit_for(case.call))
    assert outcome.state is State.UNKNOWN
    return case


@pytest.mark.parametrize("fault", ["lost", "swallowed"])
async def test_keyed_is_sent_again_and_has_one_effect(fault: str) -> None:
    case = await sent_and_lost(creation(tool_class=ToolClass.KEYED), fault, heeds_keys=True)

    outcome = await case.resolved()

    assert outcome is not None
    assert (outcome.state, outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert len(case.shelf.effects) == 1
    assert outcome.kept is not None
    assert outcome.kept["undo"] == {"do": "delete", "id": "100"}


class Telling(Shelf):
    """Answers a change with the state that it left, as a read shows it; ``tag`` is its version."""

    tag: str | None = None

    def _done(self, request: Mapping[str, Json]) -> Answer:
        answer = super()._done(request)
        body = answer.view["body"] if request["do"] == "get" else request["body"]
        headers = {"etag": self.tag} if self.tag else {}
        return replace(answer, view={**answer.view, "headers": headers, "body": body})


async def recovered(shelf: Shelf, *, meanwhile: str | None = None, tag: str | None = None) -> Json:
    """What is kept of a keyed change that was sent, lost, and sent again."""
    shelf.items, shelf.faults, shelf.heeds_keys = {"7": "old"}, ["lost"], True
    case = Case(shelf, change(tool_class=ToolClass.KEYED))
    attempt = await case.captured()
    assert (await attempt.commit(permit_for(case.call))).state is State.UNKNOWN
    if meanwhile is not None:
        shelf.items["7"] = meanwhile
    if isinstance(shelf, Telling) and tag is not None:
        shelf.tag = tag
    outcome = await case.resolved()
    assert outcome is not None
    assert outcome.state is State.SUCCEEDED
    assert shelf.effects == [("put", "7")]
    assert outcome.kept is not None
    return outcome.kept


async def test_the_state_after_a_crash_is_the_calls_own_where_its_answer_tells_the_same() -> None:
    kept = await recovered(Telling())
    assert (kept["seen"], kept["after"]["body"]) == (True, "new")


async def test_what_others_wrote_before_recovery_is_not_taken_for_the_calls_own() -> None:
    kept = await recovered(Telling(), meanwhile="theirs")
    assert (kept["seen"], kept["after"]) == (False, None)


async def test_an_answer_that_tells_no_state_proves_none() -> None:
    kept = await recovered(Shelf())
    assert (kept["seen"], kept["after"]) == (False, None)


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [('"1"', '"1"', True), ('"1"', '"2"', False), ('W/"1"', 'W/"2"', True)],
)
async def test_a_strong_version_tells_more_than_the_content(
    before: str, now: str, seen: bool
) -> None:
    shelf = Telling()
    shelf.tag = before
    assert (await recovered(shelf, tag=now))["seen"] is seen


async def test_a_definite_error_about_the_second_request_proves_nothing_about_the_first() -> None:
    case = await sent_and_lost(creation(tool_class=ToolClass.KEYED), "swallowed", heeds_keys=True)
    case.shelf.faults = ["rejected"]
    outcome = await case.resolved()
    assert outcome is not None
    assert (outcome.state, outcome.final) == (State.UNKNOWN, True)


async def test_keyed_without_an_answer_is_asked_again_later() -> None:
    case = await sent_and_lost(creation(tool_class=ToolClass.KEYED), heeds_keys=True)
    case.shelf.faults = ["swallowed"]
    assert await case.resolved() is None


async def test_a_key_that_the_tool_may_have_forgotten_is_not_used_again() -> None:
    plan = creation(tool_class=ToolClass.KEYED, key_kept_s=3600)
    case = await sent_and_lost(plan, heeds_keys=True)
    case.clock.advance(seconds=3700)
    outcome = await case.resolved()
    assert outcome is not None
    assert outcome.state is State.UNKNOWN
    assert len(case.shelf.effects) == 1


async def test_a_payload_that_is_not_recorded_is_not_sent_again_without_it() -> None:
    plan = creation(tool_class=ToolClass.KEYED, bare=False)
    case = Case(Shelf(heeds_keys=True), plan)
    case.call = a_call(plan, body=b"bytes")
    await case.captured()
    outcome = await case.resolved()
    assert outcome is not None
    assert outcome.state is State.UNKNOWN
    assert case.shelf.effects == []


async def test_opaque_is_never_sent_again() -> None:
    case = await sent_and_lost(deletion(), items={"7": "old"})
    outcome = await case.resolved()
    assert outcome is not None
    assert (outcome.state, outcome.final) == (State.UNKNOWN, True)
    assert await case.resolved(State.UNKNOWN, later=1e6) is None, "only a person can tell"
    assert len(case.shelf.effects) == 1


@pytest.mark.parametrize(
    ("found", "state"), [(True, State.SUCCEEDED), (False, State.FAILED), (None, None)]
)
async def test_a_probe_tells_after_the_fence_window(
    found: bool | None, state: State | None
) -> None:
    plan = deletion(tool_class=ToolClass.PROBEABLE, probing=probing(found, fence_s=10))
    case = await sent_and_lost(plan, items={"7": "old"})
    running = await case.resolved()
    assert running is not None
    assert running.state is State.UNKNOWN, "first it is recorded that nobody knows"

    assert await case.resolved(State.UNKNOWN, later=9) is None, "it may still arrive"
    outcome = await case.resolved(State.UNKNOWN, later=11)

    assert (None if outcome is None else outcome.state) == state
    assert len(case.shelf.effects) == 1


async def test_a_probe_without_an_answer_tells_nothing() -> None:
    plan = deletion(tool_class=ToolClass.PROBEABLE, probing=probing(False))
    case = await sent_and_lost(plan, items={"7": "old"})
    case.shelf.read_faults = ["swallowed", "swallowed"]
    assert await case.resolved(State.UNKNOWN, later=60) is None


async def test_a_route_that_is_gone_cannot_be_probed() -> None:
    plan = deletion(tool_class=ToolClass.PROBEABLE, probing=probing(False))
    case = await sent_and_lost(plan, items={"7": "old"})
    case.plan = None
    assert await case.resolved(State.UNKNOWN, later=60) is None


async def test_an_image_that_cannot_be_read_leaves_it_unknown() -> None:
    case = await sent_and_lost(deletion(), items={"7": "old"})
    case.undo = Undo(upstream="shelf", kind="strange", reversibility=case.undo.reversibility)  # type: ignore[union-attr]
    outcome = await case.resolved()
    assert outcome is not None
    assert outcome.state is State.UNKNOWN
    assert await case.resolved(State.UNKNOWN) is None


# --- compensations --------------------------------------------------------------------------


class Back(Case):
    """A compensation that was captured and then left open, sent or not."""

    @classmethod
    async def of(cls, plan: Plan, fault: str | None, **more: Any) -> Back:
        shelf = Shelf(items={"7": "old"}, **more)
        undo = await done(shelf, plan)
        case = cls(shelf, plan)
        case.call = a_call(plan, 99, reverts=(undo[0],))
        back = RemoteUnwinding(case.tool, case.call, [undo], OnConflict.ABORT)
        await back.run()
        captured = await back.capture()
        assert isinstance(captured, Captured)
        case.undo = captured.undo
        if fault is not None:
            shelf.faults = [fault] * 3
            shelf.read_faults = ["swallowed", "swallowed"]
            outcome = await back.commit(permit_for(case.call))
            assert outcome.state is State.UNKNOWN
            shelf.faults = []
        return case


async def test_a_compensation_that_landed_is_seen_and_not_sent_again() -> None:
    case = await Back.of(creation(), "lost")
    effects = len(case.shelf.effects)

    outcome = await case.resolved(State.REVERTING)

    assert outcome is not None
    assert (outcome.state, outcome.effect) == (State.REVERTED, EffectState.APPLIED)
    assert outcome.steps[0].call == "call_0001"
    assert len(case.shelf.effects) == effects


async def test_a_repeatable_compensation_that_was_never_sent_is_sent_now() -> None:
    case = await Back.of(deletion(), None)
    outcome = await case.resolved(State.REVERTING)
    assert outcome is not None
    assert outcome.state is State.REVERTED
    assert case.shelf.items == {"7": "old"}


async def test_a_keyed_compensation_is_sent_again_under_its_key() -> None:
    case = await Back.of(creation(undo_keyed=True), "swallowed", heeds_keys=True)
    outcome = await case.resolved(State.REVERTING, later=60)
    assert outcome is not None
    assert outcome.state is State.REVERTED


async def test_an_opaque_compensation_waits_for_the_fence_before_it_counts_as_failed() -> None:
    case = await Back.of(creation(fence_s=30), "swallowed")

    running = await case.resolved(State.REVERTING)
    assert running is not None
    assert running.state is State.UNKNOWN
    assert await case.resolved(State.UNKNOWN, later=29) is None
    outcome = await case.resolved(State.UNKNOWN, later=31)

    assert outcome is not None
    assert outcome.state is State.FAILED
    assert outcome.steps[0].state == "failed"


async def test_what_somebody_changed_meanwhile_is_not_overwritten_by_recovery() -> None:
    case = await Back.of(deletion(), None)
    case.shelf.items["7"] = "theirs"
    outcome = await case.resolved(State.REVERTING)
    assert outcome is not None
    assert outcome.state is State.UNKNOWN
    assert case.shelf.items == {"7": "theirs"}
    assert await case.resolved(State.UNKNOWN, later=1e6) is None


async def test_a_state_that_cannot_be_read_now_is_read_later() -> None:
    case = await Back.of(deletion(), None)
    case.shelf.read_faults = ["swallowed", "swallowed"]
    assert await case.resolved(State.REVERTING) is None


def test_the_fence_counts_from_the_last_move() -> None:
    assert deletion().fence_s >= timedelta(minutes=5).total_seconds()
