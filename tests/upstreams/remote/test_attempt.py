from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.interfaces import Captured
from gateway.lifecycle import State
from gateway.model import ActionClass, Deny, EffectState, Outcome, Reversibility, ToolClass
from gateway.upstreams.remote.attempt import RemoteAttempt, key_of
from gateway.upstreams.remote.imaging import Image, Left
from gateway.upstreams.remote.plan import Plan
from tests.fixtures.fakes import FakeClock
from tests.fixtures.shelf import (
    ONCE_MORE,
    Shelf,
    a_call,
    a_tool,
    creation,
    deletion,
    make,
    permit_for,
)


async def landed(shelf: Shelf, plan: Plan, **more: Any) -> Outcome:
    call = a_call(plan, **more)
    attempt = RemoteAttempt(a_tool(shelf), call, plan)
    await attempt.run()
    captured = await attempt.capture()
    assert isinstance(captured, Captured), captured
    return await attempt.commit(permit_for(call))


def kept(outcome: Outcome) -> Left:
    assert outcome.kept is not None
    return Left(**outcome.kept)


async def test_nothing_is_sent_before_the_permit() -> None:
    shelf = Shelf(items={"7": "old"})
    plan = deletion()
    attempt = RemoteAttempt(a_tool(shelf), a_call(plan), plan)

    ran = await attempt.run()
    captured = await attempt.capture()

    assert isinstance(captured, Captured)
    assert ran.measured.rows == 1
    assert shelf.effects == []
    image = Image.of(captured.undo)
    assert image.before is not None
    assert image.before["body"] == "old"
    assert image.undo == {"do": "put", "id": "7", "body": "old"}
    assert captured.undo.reversibility is Reversibility.EXACT


async def test_a_call_that_is_answered_has_its_effect_and_the_state_it_left() -> None:
    shelf = Shelf(items={"7": "old"})

    outcome = await landed(shelf, deletion())

    assert (outcome.state, outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert outcome.result == {"status": 204, "body": None}
    assert (kept(outcome).seen, kept(outcome).after) == (True, None)


async def test_an_undo_that_needs_the_answer_is_made_of_it() -> None:
    shelf = Shelf()

    outcome = await landed(shelf, creation())

    left = kept(outcome)
    assert left.undo == {"do": "delete", "id": "100"}
    assert left.after is not None
    assert left.after["body"] == "made"


@pytest.mark.parametrize("tool_class", [ToolClass.OPAQUE, ToolClass.PROBEABLE])
@pytest.mark.parametrize(
    ("fault", "state", "effects"),
    [
        ("lost", State.UNKNOWN, 1),
        ("swallowed", State.UNKNOWN, 0),
        ("broken", State.UNKNOWN, 0),
        ("rejected", State.FAILED, 0),
    ],
)
async def test_an_outcome_says_no_more_than_is_known(
    tool_class: ToolClass, fault: str, state: State, effects: int
) -> None:
    shelf = Shelf(items={"7": "old"}, faults=[fault])

    outcome = await landed(shelf, deletion(tool_class=tool_class, retry=ONCE_MORE))

    assert outcome.state is state
    assert len(shelf.effects) == effects
    assert outcome.final, "nobody will send it again"
    assert outcome.refusal is not None
    assert outcome.refusal.reason == (
        "outcome.unknown" if state is State.UNKNOWN else "upstream.failed"
    )
    assert outcome.refusal.extra["evidence"]["attempts"] == 1


async def test_a_tool_that_cannot_be_reached_had_no_effect() -> None:
    outcome = await landed(Shelf(items={"7": "old"}, faults=["refused"]), deletion())
    assert (outcome.state, outcome.effect) == (State.FAILED, EffectState.NONE)
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "upstream.unreachable"


async def test_a_keyed_call_is_sent_again_under_one_key() -> None:
    shelf = Shelf(faults=["lost", "lost"], heeds_keys=True)

    outcome = await landed(shelf, creation(tool_class=ToolClass.KEYED, retry=ONCE_MORE))

    assert outcome.state is State.SUCCEEDED
    assert len(shelf.effects) == 1
    assert list(shelf.keys) == [key_of("call_0001")]


async def test_a_keyed_call_without_an_answer_is_left_to_recovery() -> None:
    shelf = Shelf(faults=["lost"] * 3, heeds_keys=True)

    outcome = await landed(shelf, creation(tool_class=ToolClass.KEYED, retry=ONCE_MORE))

    assert outcome.state is State.UNKNOWN
    assert not outcome.final


async def test_a_read_that_fails_before_the_call_refuses_it() -> None:
    shelf = Shelf(items={"7": "old"}, read_faults=["broken", "broken"])
    plan = deletion()

    captured = await RemoteAttempt(a_tool(shelf), a_call(plan), plan).capture()

    assert isinstance(captured, Deny)
    assert captured.reason == "undo.unavailable"


@pytest.mark.parametrize(
    "changes",
    [
        {"undo": None},
        {"undo": make({"do": "put", "id": "$before.body.nothing"})},
        {"before": make({"do": "get", "id": "$request.nothing"})},
    ],
)
async def test_a_call_without_a_way_back_is_refused(changes: dict[str, Any]) -> None:
    plan = deletion(**changes)
    shelf = Shelf(items={"7": {"a": 1}})

    captured = await RemoteAttempt(a_tool(shelf), a_call(plan), plan).capture()

    assert isinstance(captured, Deny)
    assert captured.reason == "undo.unavailable"
    assert shelf.effects == []


async def test_what_is_not_there_cannot_be_restored() -> None:
    plan = deletion()
    captured = await RemoteAttempt(a_tool(Shelf()), a_call(plan), plan).capture()
    assert isinstance(captured, Deny)
    assert "nothing is there" in captured.detail


async def test_an_irreversible_call_runs_without_undo_where_it_is_declared_so() -> None:
    plan = creation(undo=None, verify=None, reversibility=Reversibility.IRREVERSIBLE)
    outcome = await landed(Shelf(), plan)
    assert outcome.state is State.SUCCEEDED
    assert kept(outcome) == Left()


async def test_a_permit_that_grew_old_is_not_used() -> None:
    shelf, clock, plan = Shelf(items={"7": "old"}), FakeClock(), deletion()
    call = a_call(plan)
    attempt = RemoteAttempt(a_tool(shelf, clock), call, plan)
    await attempt.capture()
    clock.advance(seconds=61)

    with pytest.raises(UpstreamError) as raised:
        await attempt.commit(permit_for(call))

    assert raised.value.proves_no_effect
    assert shelf.effects == []


async def test_a_permit_of_another_call_is_not_used() -> None:
    plan = deletion()
    attempt = RemoteAttempt(a_tool(Shelf(items={"7": 1})), a_call(plan, 1), plan)
    await attempt.capture()
    with pytest.raises(ValueError, match="captured call alone"):
        await attempt.commit(permit_for(a_call(plan, 2)))


async def test_what_was_read_before_may_guard_what_is_sent() -> None:
    shelf = Shelf(items={"7": {"etag": "abc"}})
    guarded = make({"do": "delete", "id": "$request.id", "match": "$before.body.etag"})
    await landed(shelf, deletion(conditional=guarded))
    assert shelf.seen[1] == {"do": "delete", "id": "7", "match": "abc"}


@pytest.mark.parametrize(("items", "state"), [({"7": "x"}, State.SUCCEEDED), ({}, State.FAILED)])
async def test_a_read_has_no_effect_whatever_it_answers(
    items: dict[str, str], state: State
) -> None:
    plan = deletion(request={"do": "get", "id": "7"}, cls=ActionClass.READ, safe=True)
    outcome = await RemoteAttempt(a_tool(Shelf(items=dict(items))), a_call(plan), plan).read()
    assert (outcome.state, outcome.effect) == (state, EffectState.NONE)
    assert outcome.result is not None


async def test_a_read_without_an_answer_proves_no_effect() -> None:
    plan = deletion(request={"do": "get", "id": "7"}, cls=ActionClass.READ)
    attempt = RemoteAttempt(a_tool(Shelf(read_faults=["swallowed"])), a_call(plan), plan)
    with pytest.raises(UpstreamError) as raised:
        await attempt.read()
    assert raised.value.proves_no_effect


async def test_a_state_that_cannot_be_read_afterwards_is_said_to_be_unseen() -> None:
    shelf = Shelf(items={"7": "old"}, read_faults=["", "swallowed", "swallowed"])
    outcome = await landed(shelf, deletion())
    assert outcome.state is State.SUCCEEDED
    assert not kept(outcome).seen


async def test_an_owner_that_was_held_up_sends_nothing_once_more() -> None:
    shelf, clock = Shelf(faults=["swallowed", "swallowed"], heeds_keys=True), FakeClock()
    plan = creation(tool_class=ToolClass.KEYED, retry=ONCE_MORE)
    call, tool = a_call(plan), a_tool(shelf, clock)

    async def pause(_seconds: float) -> None:
        clock.advance(seconds=300)  # the process was stopped in between

    tool.sender._pause = pause
    attempt = RemoteAttempt(tool, call, plan)
    await attempt.capture()
    outcome = await attempt.commit(permit_for(call))

    assert outcome.state is State.UNKNOWN
    assert len(shelf.seen) == 1
