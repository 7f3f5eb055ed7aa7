from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.interfaces import Store
from gateway.lifecycle import State
from gateway.model import Allow, Decision, Deny, Freeze, Reply, Scope
from tests.fixtures.fakes import FakeClock, FakePolicy, a_call
from tests.fixtures.stores import memory_store, sqlite_store
from tests.fixtures.walks import Walks, walks

NO = Deny(reason="policy.denied", detail="not granted", reasons=("no",))


async def sent(w: Walks, times: int = 1, **call: str) -> Reply:
    for _ in range(times):
        reply = await w.pipeline.handle(a_call(received_at=w.clock.now(), **call))  # type: ignore[arg-type]
    return reply


def reason(reply: Reply) -> str | None:
    return reply.outcome.refusal.reason if reply.outcome.refusal else None


async def test_an_agent_that_repeats_a_denied_call_is_told_so_and_keeps_the_answer() -> None:
    w = await walks(policy=FakePolicy(NO), repeats=3)
    assert reason(await sent(w, 3)) == "policy.denied"

    told = await sent(w)

    assert reason(told) == "repetition"
    assert told.outcome.refusal is not None
    assert "not granted" in told.outcome.refusal.detail
    assert told.outcome.refusal.extra["times"] == 3


async def test_another_call_is_not_held_back_by_it() -> None:
    w = await walks(policy=FakePolicy(NO), repeats=3)
    await sent(w, 5)
    assert reason(await sent(w, value="2")) == "policy.denied"
    assert reason(await sent(w, agent="b8")) == "policy.denied"


async def test_a_call_that_would_be_allowed_now_waits_until_the_window_is_over() -> None:
    w = await walks(policy=FakePolicy(NO), repeats=3)
    await sent(w, 3)
    w.policy.answer = Allow()
    assert reason(await sent(w, 2)) == "repetition"
    assert w.box.effects == []
    w.clock.advance(seconds=301)
    assert (await sent(w)).state is State.SUCCEEDED, "its own refusals do not prolong it"


async def test_calls_that_fail_count_too() -> None:
    w = await walks(repeats=3, max_rows=1)
    w.box.rows = 50
    assert reason(await sent(w, 3)) == "limit.rows"
    assert reason(await sent(w)) == "repetition"


async def test_waiting_for_a_freeze_to_end_is_no_repetition() -> None:
    w = await walks(repeats=3)
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    assert reason(await sent(w, 6)) == "frozen"
    await w.store.lift("f", by="ann")
    assert (await sent(w)).state is State.SUCCEEDED


async def test_a_freeze_is_named_first_here_too() -> None:
    w = await walks(policy=FakePolicy(NO), repeats=2)
    await sent(w, 3)
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    assert reason(await sent(w)) == "frozen"


@pytest.mark.parametrize(("answer", "expected"), [(Allow(), None), (NO, "repetition")])
async def test_reads_are_looked_at_only_when_they_are_denied(
    answer: Decision, expected: str | None
) -> None:
    w = await walks(policy=FakePolicy(NO), repeats=2)
    await sent(w, 2, verb="select")
    w.policy.answer = answer
    assert reason(await sent(w, verb="select")) == expected


async def test_no_bound_repeats_for_ever() -> None:
    w = await walks(policy=FakePolicy(NO), repeats=None)
    assert reason(await sent(w, 30)) == "policy.denied"


# --- at once


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    make = memory_store if request.param == "memory" else sqlite_store
    made = make(tmp_path, FakeClock())
    yield made  # opened by the walks
    await made.close()


async def at_once(w: Walks, keys: list[str | None]) -> list[Reply]:
    """All of them are in the walk before the first one ends."""
    gate = asyncio.Event()
    w.box.pause = gate.wait
    asked = [
        asyncio.create_task(
            w.pipeline.handle(a_call(received_at=w.clock.now(), idempotency_key=key))
        )
        for key in keys
    ]
    # Whoever is refused has its answer by then; the others wait at the gate.
    await asyncio.wait(asked, timeout=0.5)
    gate.set()
    return list(await asyncio.gather(*asked))


async def test_of_identical_calls_that_come_at_once_without_a_key_one_runs(store: Store) -> None:
    w = await walks(store=store)
    replies = await at_once(w, [None] * 8)
    assert len(w.box.effects) == 1
    told = [reason(reply) for reply in replies]
    assert (told.count(None), told.count("idempotency.in_progress")) == (1, 7)


async def test_calls_that_come_at_once_do_not_all_pass_the_bound(store: Store) -> None:
    """Each has a key of its own, so none is the other; all of them would fail."""
    w = await walks(store=store, repeats=3, max_rows=1)
    w.box.rows = 50
    assert reason(await sent(w, 2)) == "limit.rows"

    replies = await at_once(w, [f"k{n}" for n in range(8)])

    told = [reason(r) for r in replies]
    assert (told.count("limit.rows"), told.count("repetition")) == (1, 7)
    refused, _ = await w.store.calls(states=(State.DENIED,))
    assert len(refused) == 7, "refusals are recorded"


async def test_calls_that_never_failed_may_come_at_once(store: Store) -> None:
    w = await walks(store=store, repeats=3)
    replies = await at_once(w, [f"k{n}" for n in range(8)])
    assert [reason(r) for r in replies] == [None] * 8
