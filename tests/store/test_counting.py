"""What policy is told of earlier calls: the same numbers from memory and from the records."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.interfaces import Store
from gateway.model import Approval, Call, Deny, Hold, Measured, RowCounts, Running
from gateway.store.counting import CountingStore, Counts
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import (
    DECISION,
    DONE,
    FAILED,
    LEASE,
    UNKNOWN,
    freeze,
    reach,
    sqlite_store,
    undo,
)

NO = Deny(reason="policy.denied", detail="no")


def action(cls: str) -> dict[str, Any]:
    return {"name": "update", "class": cls}


async def began(store: Store, call: Call, cls: str = "write") -> Running:
    intent = await store.intend(call, action=action(cls), reach=reach(call), decision=DECISION)
    assert not isinstance(intent, Deny)
    running = await store.begin(intent, windows=(), revision="r1", lease=LEASE)
    assert isinstance(running, Running)
    return running


async def changed(store: Store, running: Running, call: Call, rows: int) -> None:
    await store.permit(
        running,
        undo=undo(),
        receipt="r",
        measured=Measured(tables={"main.a": RowCounts(updated=rows)}, share=0.0),
        reach=reach(call),
        windows=(),
        expires_at=None,
    )


async def asked(store: Store, **about: Any) -> dict[str, dict[str, int]]:
    """What is not nothing of the counters that the next call would be judged by."""
    found = await store.counters(a_call("next", **about))
    return {part: {n: c for n, c in counts.items() if c} for part, counts in found.items()}


async def test_a_call_counts_as_what_became_of_it(store: Store, clock: FakeClock) -> None:
    assert await asked(store) == {"session": {}, "hour": {}}
    call = a_call("a")
    running = await began(store, call, "destructive")
    expected = {"calls": 1, "destructive": 1}
    assert await asked(store) == {"session": expected, "hour": expected}
    await changed(store, running, call, 7)
    await store.settle(running, DONE)
    await store.refuse(a_call("b"), NO)
    failing = a_call("c")
    running = await began(store, failing)
    await changed(store, running, failing, 5)
    await store.settle(running, FAILED)
    expected = {"calls": 3, "destructive": 1, "writes": 1, "rows": 7, "denied": 1, "failed": 1}
    assert await asked(store) == {"session": expected, "hour": expected}
    assert await asked(store, session="other") == {"session": {}, "hour": expected}
    assert await asked(store, agent="b8") == {"session": {}, "hour": {}}


async def test_a_call_is_not_counted_against_itself(store: Store) -> None:
    call = a_call("a")
    await store.counters(call)
    running = await began(store, call)
    await changed(store, running, call, 7)
    own = await store.counters(call)
    assert not any(own["session"].values())
    assert not any(own["hour"].values())


async def test_what_a_person_or_recovery_finds_out_is_counted(
    store: Store, clock: FakeClock
) -> None:
    call = a_call("a")
    running = await began(store, call)
    await changed(store, running, call, 2)
    await store.settle(running, UNKNOWN)
    assert (await asked(store))["session"] == {"calls": 1, "writes": 1, "rows": 2, "unknown": 1}
    await store.resolve(call.id, FAILED, by="ann", note=None)
    assert (await asked(store))["session"] == {"calls": 1, "writes": 1, "failed": 1}
    lost = a_call("b")
    await began(store, lost)
    clock.advance(seconds=LEASE.total_seconds() + 1)
    [(_, taken)] = await store.take_over(everything=False, lease=LEASE)
    assert taken is not None
    await store.settle(taken, FAILED)
    assert (await asked(store))["session"] == {"calls": 2, "writes": 2, "failed": 2}


async def test_a_read_that_a_freeze_met_counts_as_denied(store: Store) -> None:
    await asked(store)
    await store.freeze(freeze())
    call = a_call("a")
    got = await store.start(
        call,
        action=action("write"),
        reach=reach(call),
        decision=DECISION,
        windows=(),
        revision="r1",
        lease=LEASE,
    )
    assert isinstance(got, Deny)
    assert (await asked(store))["session"] == {"calls": 1, "writes": 1, "denied": 1}


async def test_the_hour_ends_and_the_session_does_not(store: Store, clock: FakeClock) -> None:
    await store.refuse(a_call("a", received_at=clock.now()), NO)
    clock.advance(minutes=30)
    await asked(store)
    await store.refuse(a_call("b", received_at=clock.now()), NO)
    clock.advance(minutes=31)
    found = await asked(store)
    assert (found["session"]["denied"], found["hour"]["denied"]) == (2, 1)
    clock.advance(minutes=31)
    assert (await asked(store))["hour"] == {}


async def test_a_waiting_call_counts_when_it_is_decided(store: Store) -> None:
    await asked(store)
    call = a_call("a")
    approval = await store.hold(
        call, Hold(reasons=("big",), revision="r1"), action=action("write"), reach=reach(call)
    )
    assert isinstance(approval, Approval)
    assert (await asked(store))["session"] == {}
    await store.decide_approval(approval.id, approve=False, by="ann", note=None)
    assert (await asked(store))["session"] == {"calls": 1, "denied": 1}


async def test_a_move_that_counts_were_read_during_is_not_counted_twice(
    store: Store,
) -> None:
    assert isinstance(store, CountingStore)
    number = store._tallies.number()  # a move begins to be written
    await store.refuse(a_call("a"), NO)
    store._tallies.forget()
    assert (await asked(store))["session"] == {"calls": 1, "denied": 1}  # read with the move in it
    store._tallies.add(number, a_call("a"), Counts(calls=1, denied=1))  # and only now noted
    assert (await asked(store))["session"] == {"calls": 1, "denied": 1}


@pytest.mark.parametrize("seed", range(3))
async def test_after_a_restart_the_numbers_are_the_same(tmp_path: Path, seed: int) -> None:
    chance, clock = random.Random(seed), FakeClock()
    store = sqlite_store(tmp_path, clock)
    await store.open()
    try:
        for n in range(40):
            about = {"agent": chance.choice("xy"), "session": chance.choice("st")}
            call = a_call(str(n), received_at=clock.now(), **about)
            await store.counters(call)
            clock.advance(minutes=chance.choice([0, 0, 1, 5]))
            if chance.random() < 0.3:
                await store.refuse(call, NO, action=action("write"), reach=reach(call))
                continue
            running = await began(store, call, chance.choice(["write", "destructive", "ddl"]))
            if chance.random() < 0.8:
                await changed(store, running, call, chance.randrange(9))
                await store.settle(running, chance.choice([DONE, FAILED, UNKNOWN]))
            else:
                await store.settle(running, FAILED)
        everybody = [{"agent": a, "session": s} for a in "xy" for s in "st"]
        remembered = [await asked(store, **who) for who in everybody]
    finally:
        await store.close()
    again = sqlite_store(tmp_path, clock)
    await again.open()
    try:
        assert [await asked(again, **who) for who in everybody] == remembered
        assert sum(found["session"]["calls"] for found in remembered) == 40
    finally:
        await again.close()
