from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.interfaces import ImageReader, Resolver, Unsettled
from gateway.lifecycle import State
from gateway.model import EffectState, OnConflict, ToolClass
from gateway.upstreams.remote.target import RemoteTarget
from tests.fixtures.fakes import FakeClock
from tests.fixtures.shelf import (
    Shelf,
    a_call,
    a_target,
    an_action,
    creation,
    deletion,
    permit_for,
)
from tests.upstreams.remote.test_unwinding import done


async def test_a_call_is_carried_out_by_its_plan() -> None:
    shelf, plan = Shelf(items={"7": "old"}), deletion()
    target = a_target(shelf, plan)
    call = a_call(plan)

    async with target.attempt(call, an_action(call, plan)) as attempt:
        await attempt.capture()
        outcome = await attempt.commit(permit_for(call))

    assert outcome.state is State.SUCCEEDED
    assert target.name == "shelf"


async def test_an_action_of_another_kind_is_a_fault_of_ours() -> None:
    call, plan = a_call(deletion()), deletion()
    action = replace(an_action(call, plan), facts=None)
    with pytest.raises(TypeError):
        async with a_target(Shelf(), plan).attempt(call, action):
            pass


async def test_a_remote_tool_is_resolved_and_not_asked_by_receipt() -> None:
    shelf, plan = Shelf(heeds_keys=True), creation(tool_class=ToolClass.KEYED)
    target: RemoteTarget = a_target(shelf, plan, clock := FakeClock())
    assert isinstance(target, Resolver)
    assert await target.happened("call_0001") is EffectState.UNKNOWN
    call = a_call(plan)
    async with target.attempt(call, an_action(call, plan)) as attempt:
        captured = await attempt.capture()
    unsettled = Unsettled(
        call=call,
        state=State.EXECUTING,
        since=clock.now(),
        undo=captured.undo,  # type: ignore[union-attr]
    )
    outcome = await target.resolve(unsettled, permit_for(call))
    assert outcome is not None
    assert outcome.state is State.SUCCEEDED


async def test_the_way_back_and_its_images() -> None:
    shelf, plan = Shelf(items={"7": "old"}), deletion()
    undo = await done(shelf, plan)
    reader: ImageReader = a_target(shelf, plan)
    assert len(await reader.images(undo[1], offset=0, limit=10)) == 1
    assert await reader.images(undo[1], offset=1, limit=10) == []
    back = a_call(plan, 99, reverts=(undo[0],))
    async with a_target(shelf, plan).unwind(back, [undo], OnConflict.ABORT) as unwinding:
        assert (await unwinding.run())[0].state == "reverted"
