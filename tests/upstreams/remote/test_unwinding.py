from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.interfaces import Captured
from gateway.lifecycle import State
from gateway.model import EffectState, OnConflict, Outcome, Reversibility, Step, ToolClass, Undo
from gateway.upstreams.remote.attempt import RemoteAttempt
from gateway.upstreams.remote.plan import Plan
from gateway.upstreams.remote.unwinding import RemoteUnwinding, images_of
from tests.fixtures.fakes import FakeClock
from tests.fixtures.shelf import (
    Shelf,
    a_call,
    a_tool,
    change,
    creation,
    deletion,
    make,
    permit_for,
)


async def done(shelf: Shelf, plan: Plan, number: int = 1) -> tuple[str, Undo]:
    """A call that succeeded, with what the store would give back for it."""
    call = a_call(plan, number)
    attempt = RemoteAttempt(a_tool(shelf), call, plan)
    captured = await attempt.capture()
    assert isinstance(captured, Captured), captured
    outcome = await attempt.commit(permit_for(call))
    assert outcome.state is State.SUCCEEDED
    return call.id, replace(captured.undo, answer=outcome.kept)


def unwinding(
    shelf: Shelf,
    undos: Sequence[tuple[str, Undo]],
    on_conflict: OnConflict = OnConflict.ABORT,
    **more: Any,
) -> RemoteUnwinding:
    call = a_call(deletion(), 99, reverts=tuple(id for id, _ in undos))
    return RemoteUnwinding(a_tool(shelf, **more), call, undos, on_conflict)


async def taken_back(
    shelf: Shelf, undo: tuple[str, Undo], on_conflict: OnConflict = OnConflict.ABORT
) -> tuple[Step, Outcome, Undo]:
    back = unwinding(shelf, [undo], on_conflict)
    steps = await back.run()
    captured = await back.capture()
    assert isinstance(captured, Captured)
    outcome = await back.commit(permit_for(a_call(deletion(), 99)))
    return steps[0], outcome, replace(captured.undo, answer=outcome.kept)


@pytest.mark.parametrize("plan", [deletion(), change(), creation()])
async def test_what_was_done_is_taken_back_and_proven(plan: Plan) -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, plan)

    step, outcome, _ = await taken_back(shelf, undo)

    assert shelf.items == {"7": "old"}
    assert (outcome.state, outcome.effect) == (State.REVERTED, EffectState.APPLIED)
    assert outcome.steps[0].state == "reverted"
    assert outcome.steps[0].detail is None, "proven, so nothing has to be said"
    assert step.restored == 1


async def test_a_plan_sends_nothing() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, deletion())
    effects = list(shelf.effects)

    steps = await unwinding(shelf, [undo]).run()

    assert [s.state for s in steps] == ["reverted"]
    assert shelf.effects == effects


async def test_calls_on_the_same_thing_are_compared_with_what_the_newer_ones_will_leave() -> None:
    shelf = Shelf(items={"7": "old"})
    first = await done(shelf, change(body="one"), 1)
    second = await done(shelf, change(body="two"), 2)
    third = await done(shelf, deletion(), 3)

    steps = await unwinding(shelf, [third, second, first]).run()

    assert [s.state for s in steps] == ["reverted"] * 3


async def test_a_change_by_somebody_else_is_a_conflict_with_all_three_values() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, change(body="ours"))
    shelf.items["7"] = "theirs"

    steps = await unwinding(shelf, [undo]).run()

    assert steps[0].state == "conflict"
    conflict = steps[0].conflicts[0]
    values = [v["body"] for v in (conflict.before, conflict.after, conflict.now)]
    assert values == ["old", "ours", "theirs"]
    assert conflict.why == "changed"


async def test_abort_leaves_everything_alone_where_one_step_conflicts() -> None:
    shelf = Shelf(items={"7": "old", "8": "old"})
    first = await done(shelf, change("7"), 1)
    second = await done(shelf, change("8"), 2)
    shelf.items["7"] = "theirs"

    steps = await unwinding(shelf, [second, first]).run()

    assert [(s.state, s.restored) for s in steps] == [("skipped", 0), ("conflict", 0)]


async def test_force_overwrites_and_lists_what_it_overwrote() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, change(body="ours"))
    shelf.items["7"] = "theirs"

    step, outcome, _ = await taken_back(shelf, undo, OnConflict.FORCE)

    assert shelf.items == {"7": "old"}
    assert step.conflicts
    assert outcome.steps[0].state == "reverted"


async def test_skip_leaves_the_conflict() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, change(body="ours"))
    shelf.items["7"] = "theirs"
    steps = await unwinding(shelf, [undo], OnConflict.SKIP).run()
    assert (steps[0].state, steps[0].restored) == ("conflict", 0)


@pytest.mark.parametrize(
    ("on_conflict", "state"), [(OnConflict.ABORT, "conflict"), (OnConflict.SKIP, "reverted")]
)
async def test_what_somebody_restored_already_needs_nothing(
    on_conflict: OnConflict, state: str
) -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, deletion())
    shelf.items["7"] = "old"

    steps = await unwinding(shelf, [undo], on_conflict).run()

    assert (steps[0].state, steps[0].restored) == (state, 0)


async def test_a_call_whose_end_nobody_saw_is_not_taken_back_unasked() -> None:
    shelf = Shelf(items={"7": "old"})
    id, undo = await done(shelf, change(body="ours"))
    unseen = replace(undo, answer=None)

    steps = await unwinding(shelf, [(id, unseen)]).run()
    assert steps[0].state == "conflict"
    assert steps[0].conflicts[0].why == "unverified"

    await taken_back(shelf, (id, unseen), OnConflict.FORCE)
    assert shelf.items == {"7": "old"}


async def test_an_undo_that_needed_a_lost_answer_fails_and_says_so() -> None:
    shelf = Shelf()
    id, undo = await done(shelf, creation())
    steps = await unwinding(shelf, [(id, replace(undo, answer=None))]).run()
    assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")


async def test_an_image_of_another_kind_fails() -> None:
    strange = Undo(upstream="shelf", kind="sqlite", reversibility=Reversibility.EXACT)
    steps = await unwinding(Shelf(), [("call_1", strange)]).run()
    assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")


async def test_a_state_that_cannot_be_read_fails_the_step() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, deletion())
    shelf.read_faults = ["swallowed", "swallowed"]
    steps = await unwinding(shelf, [undo]).run()
    assert (steps[0].state, steps[0].reason) == ("failed", "upstream.timeout")


async def test_a_compensation_whose_answer_is_lost_is_seen_in_the_state() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, creation())  # its undo is not declared to be repeatable
    shelf.faults = ["lost"]

    _, outcome, _ = await taken_back(shelf, undo)

    assert outcome.state is State.REVERTED
    assert shelf.items == {"7": "old"}


async def test_a_compensation_that_cannot_be_told_is_unknown_and_sent_once() -> None:
    shelf = Shelf()
    undo = await done(shelf, creation())
    shelf.faults = ["swallowed"]
    effects = len(shelf.effects)

    _, outcome, _ = await taken_back(shelf, undo)

    assert (outcome.state, outcome.final) == (State.UNKNOWN, True)
    assert len(shelf.effects) == effects


async def test_a_repeatable_compensation_is_repeated() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, deletion())
    shelf.faults = ["swallowed", "swallowed"]
    _, outcome, _ = await taken_back(shelf, undo)
    assert outcome.state is State.REVERTED
    assert shelf.items == {"7": "old"}


async def test_a_compensation_that_the_tool_rejects_had_no_effect() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, deletion())
    shelf.faults = ["rejected"]
    _, outcome, _ = await taken_back(shelf, undo)
    assert (outcome.state, outcome.effect) == (State.FAILED, EffectState.NONE)


async def test_a_restored_state_that_differs_is_reported_as_partial() -> None:
    shelf = Shelf(items={"7": {"name": "old", "version": 1}})
    undo = await done(shelf, deletion())
    real = shelf._done

    def bumping(request: Any) -> Any:
        if request["do"] == "put":
            request = {**request, "body": {**request["body"], "version": 2}}
        return real(request)

    shelf._done = bumping  # type: ignore[method-assign]
    _, outcome, _ = await taken_back(shelf, undo)
    assert outcome.steps[0].state == "partial"

    shelf.items["7"] = {"name": "old", "version": 1}
    ignoring = await done(shelf, deletion(ignore=("body.version",)), 2)
    _, outcome, _ = await taken_back(shelf, ignoring)
    assert outcome.steps[0].state == "reverted"


async def test_a_revert_can_be_reverted_where_the_state_can_be_compared() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, change(body="new"))
    _, _, again = await taken_back(shelf, undo)
    assert shelf.items == {"7": "old"}
    assert again.reversibility is Reversibility.COMPENSABLE

    _, outcome, _ = await taken_back(shelf, ("call_0099", again))

    assert shelf.items == {"7": "new"}
    assert outcome.steps[0].state == "reverted"


async def test_a_creation_cannot_be_made_the_same_again() -> None:
    shelf = Shelf()
    undo = await done(shelf, creation())
    _, _, again = await taken_back(shelf, undo)
    assert again.reversibility is Reversibility.IRREVERSIBLE


async def test_only_one_call_is_carried_out_at_a_time() -> None:
    shelf = Shelf(items={"7": "old", "8": "old"})
    both = [await done(shelf, deletion("8"), 2), await done(shelf, deletion("7"), 1)]
    back = unwinding(shelf, both)
    await back.run()
    with pytest.raises(ValueError, match="one at a time"):
        await back.capture()


async def test_a_keyed_compensation_carries_the_key_of_the_revert() -> None:
    shelf = Shelf(items={"7": "old"}, heeds_keys=True)
    undo = await done(shelf, deletion(tool_class=ToolClass.KEYED, undo_keyed=True))
    await taken_back(shelf, undo)
    assert "holdfast-call_0099" in shelf.keys


async def test_an_undo_without_a_key_is_not_repeatable_because_its_call_had_one() -> None:
    shelf = Shelf(heeds_keys=True)
    undo = await done(shelf, creation(tool_class=ToolClass.KEYED))
    shelf.faults = ["swallowed"]
    _, outcome, _ = await taken_back(shelf, undo)
    assert (outcome.state, outcome.final) == (State.UNKNOWN, True)
    assert len([r for r in shelf.seen if r["do"] == "delete"]) == 1
    assert "holdfast-call_0099" not in shelf.keys


async def test_a_permit_that_grew_old_is_not_used_for_a_revert_either() -> None:
    shelf, clock = Shelf(items={"7": "old"}), FakeClock()
    undo = await done(shelf, deletion())
    back = unwinding(shelf, [undo], clock=clock)
    await back.run()
    await back.capture()
    clock.advance(seconds=61)
    with pytest.raises(UpstreamError, match="Nothing was sent"):
        await back.commit(permit_for(a_call(deletion(), 99)))
    assert shelf.items == {}


async def test_people_are_shown_before_and_after() -> None:
    shelf = Shelf(items={"7": "old"})
    _, undo = await done(shelf, change(body="new"))
    shown = images_of(undo)
    assert [shown[0][k]["body"] for k in ("before", "after")] == ["old", "new"]


async def test_a_revert_that_was_held_up_sends_nothing_once_more() -> None:
    shelf, clock = Shelf(items={"7": "old"}), FakeClock()
    undo = await done(shelf, deletion())
    back = unwinding(shelf, [undo], clock=clock)
    shelf.faults = ["swallowed", "swallowed"]

    async def pause(_seconds: float) -> None:
        clock.advance(seconds=300)

    back._tool.sender._pause = pause
    await back.run()
    await back.capture()
    outcome = await back.commit(permit_for(a_call(deletion(), 99)))

    assert outcome.state is State.UNKNOWN
    assert len(shelf.faults) == 1, "one was sent"


async def test_a_condition_on_the_state_before_is_not_sent_when_a_call_is_done_again() -> None:
    shelf = Shelf(items={"7": {"etag": "abc"}})
    guarded = make({"do": "put", "id": "$request.id", "body": "new", "match": "$before.body.etag"})
    undo = await done(shelf, change(body="new", conditional=guarded))
    _, _, again = await taken_back(shelf, undo)
    await taken_back(shelf, ("call_0099", again))
    sent = [request for request in shelf.seen if request["do"] == "put"]
    assert ["match" in request for request in sent] == [True, False, False]
    assert shelf.items == {"7": "new"}


async def test_an_effect_that_the_read_does_not_show_is_taken_back_all_the_same() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, change("7", ignore=("body",)))
    assert shelf.items["7"] != "old"
    step, outcome, _ = await taken_back(shelf, undo)
    assert (step.state, step.restored) == ("reverted", 1)
    assert outcome.state is State.REVERTED
    assert shelf.items == {"7": "old"}


async def test_an_undo_that_the_tool_rejects_is_not_proven_by_a_read_that_shows_nothing() -> None:
    shelf = Shelf(items={"7": "old"})
    undo = await done(shelf, change("7", ignore=("body",)))
    shelf.faults.append("rejected")
    _, outcome, _ = await taken_back(shelf, undo)
    assert outcome.state is State.FAILED
    assert outcome.effect is EffectState.NONE
    assert shelf.items == {"7": "new"}
