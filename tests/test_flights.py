from __future__ import annotations

import asyncio

import pytest

from gateway.errors import Overloaded
from gateway.flights import Flights, clear_cancellation
from gateway.lifecycle import State
from gateway.model import EffectState, Outcome, Reply


def _reply(state: State = State.SUCCEEDED) -> Reply:
    outcome = Outcome(state=state, effect=EffectState.NONE)
    return Reply(call="c", state=state, effect=EffectState.NONE, outcome=outcome)


async def test_a_caller_that_goes_away_does_not_stop_the_call() -> None:
    flights = Flights(most=2)
    release, done = asyncio.Event(), asyncio.Event()

    async def walk() -> Reply:
        await release.wait()
        done.set()
        return _reply()

    caller = asyncio.create_task(flights.fly("c", walk()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    release.set()
    assert await flights.land(1) == 0
    assert done.is_set()


async def test_one_flight_too_many_is_refused_before_it_starts() -> None:
    flights = Flights(most=1)
    release = asyncio.Event()

    async def walk() -> Reply:
        await release.wait()
        return _reply()

    first = asyncio.create_task(flights.fly("a", walk()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await flights.fly("b", walk())
    release.set()
    assert (await first).state is State.SUCCEEDED


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_call_is_cancelled_only_before_it_is_sealed(sealed: bool) -> None:
    flights = Flights(most=1)
    release = asyncio.Event()

    async def walk() -> Reply:
        try:
            with flights.cancellable("c"):
                if sealed:
                    flights.seal("c")
                await release.wait()
        except asyncio.CancelledError:
            clear_cancellation()
            await asyncio.sleep(0)  # what settles after the rollback must not be cancelled again
            return _reply(State.FAILED)
        return _reply()

    flight = asyncio.create_task(flights.fly("c", walk()))
    await asyncio.sleep(0.01)
    assert await flights.cancel("c") is not sealed
    release.set()
    assert (await flight).state is (State.SUCCEEDED if sealed else State.FAILED)
