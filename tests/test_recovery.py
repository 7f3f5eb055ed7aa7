"""A process that dies at any step of the walk or the walk back leaves nothing that recovery
cannot settle truly. Here the death is an exception out of the probe; ``tests/crash`` kills real
processes at the same steps."""

from __future__ import annotations

import pytest

from gateway.lifecycle import SETTLED, State
from gateway.model import EffectState
from gateway.revert import RevertRequest
from tests.fixtures.fakes import FakeUpstream, a_call
from tests.fixtures.walks import walks


class Died(BaseException):
    pass


class Death:
    def __init__(self, at: str) -> None:
        self.at = at
        self.armed = True

    def __call__(self, step: str) -> None:
        if self.armed and step == self.at:
            self.armed = False
            raise Died(step)


WALK = [
    "walk.decided",
    "walk.intended",
    "walk.begun",
    "walk.ran",
    "walk.captured",
    "walk.permitted",
    "walk.landed",
    "walk.settled",
]
BACK = [
    "back.saved",
    "back.intended",
    "back.begun",
    "back.ran",
    "back.captured",
    "back.permitted",
    "back.landed",
    "back.settled",
    "back.finished",
]


@pytest.mark.parametrize("step", WALK)
async def test_a_death_in_the_walk_is_settled_as_the_target_tells(step: str) -> None:
    w = await walks(probe=Death(step))
    call = a_call()
    with pytest.raises(Died):
        await w.pipeline.handle(call)
    await w.recovery.settle(everything=True)
    record = await w.store.call(call.id)
    if step == "walk.decided":
        assert record is None
    else:
        assert record is not None
        assert record.state in SETTLED
        landed = bool(w.box.effects)
        assert record.effect is (EffectState.APPLIED if landed else EffectState.NONE)
        assert (record.state is State.SUCCEEDED) == landed
    assert len(w.box.effects) <= 1


@pytest.mark.parametrize("step", BACK)
async def test_a_death_in_the_walk_back_is_resumed_to_the_same_end(step: str) -> None:
    death = Death(step)
    w = await walks(probe=death)
    call = (await w.pipeline.handle(a_call())).call
    with pytest.raises(Died):
        await w.reverter.revert(RevertRequest(target={"call": call}, by="admin"))
    await w.recovery.settle(everything=True)
    await w.reverter.resume()
    assert w.box.data == {"a": "0", "b": "0"}
    assert len(w.box.effects) == 2
    assert await w.store.unfinished_reverts() == []


async def test_a_target_that_cannot_be_asked_leaves_the_call_open() -> None:
    w = await walks(box=FakeUpstream(data={"a": "0"}), probe=Death("walk.permitted"))
    call = a_call()
    with pytest.raises(Died):
        await w.pipeline.handle(call)
    w.box.unreachable = True
    assert await w.recovery.settle(everything=True) == []
    record = await w.store.call(call.id)
    assert record is not None
    assert record.state is State.EXECUTING
    w.box.unreachable = False
    w.clock.advance(seconds=61)
    [settled] = await w.recovery.settle()
    assert settled.state is State.FAILED


async def test_a_call_within_its_lease_is_left_alone() -> None:
    w = await walks(probe=Death("walk.begun"))
    with pytest.raises(Died):
        await w.pipeline.handle(a_call())
    assert await w.recovery.settle() == []
    w.clock.advance(seconds=61)
    assert len(await w.recovery.settle()) == 1
