"""Agents repeat calls, and the tool's replies get lost. Many keys, each sent eight times at once,
over a real tool that counts: one effect per key, and one reply for all who ask.

``HOLDFAST_KEYS`` keys (100 by default).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.app import SystemClock, new_id
from gateway.deciding import Decider
from gateway.guards.freeze import Windows
from gateway.guards.limits import Limits
from gateway.lifecycle import SETTLED, State
from gateway.model import Call, EffectState, Reply, ToolClass
from gateway.pipeline import Pipeline, Timing
from gateway.recovery import Recovery
from gateway.store.images import Images
from gateway.store.sqlite import SqliteStore
from gateway.surfaces.views import reply_json
from gateway.upstreams.remote.plan import Retry
from tests.fixtures import tool_double
from tests.fixtures.fakes import FakePolicy
from tests.fixtures.http_shelf import HttpShelf, Ledger
from tests.fixtures.options import size
from tests.fixtures.shelf import ShelfUpstream, shelf_call
from tests.fixtures.walks import judges

KEYS = size("keys", 100)
DUPLICATES = 8
LEASE = timedelta(seconds=5)  # a busy machine may hold everything up for a while


@pytest.fixture(scope="module")
def tool() -> Iterator[str]:
    with tool_double.running() as url:
        yield url


class Replica:
    """A pipeline and a recovery of its own over the shared store."""

    def __init__(self, store: SqliteStore, transport: HttpShelf) -> None:
        clock = SystemClock()
        declared = {"tool_class": ToolClass.KEYED, "retry": Retry(attempts=3, base_s=0.01)}
        upstream = ShelfUpstream(transport, clock, {"post": declared})
        decider = Decider(
            policy=FakePolicy(),
            judges=judges(Limits(max_rows=100, max_share=1.0)),
            windows=Windows([]),
            store=store,
            clock=clock,
        )
        self.pipeline = Pipeline(
            upstreams={"shelf": upstream},
            decider=decider,
            store=store,
            clock=clock,
            new_id=new_id,
            timing=Timing(lease=LEASE, max_in_flight=10_000),
        )
        self.recovery = Recovery(upstreams={"shelf": upstream}, store=store, lease=LEASE)


async def insistent(replica: Replica, call: Call) -> Reply:
    """An agent that asks until it is told."""
    while True:
        reply = await replica.pipeline.handle(replace(call, id=new_id("call")))
        if reply.state in SETTLED - {State.DENIED}:
            return reply
        assert reply.effect is EffectState.UNKNOWN, "nobody may be told that nothing happened"
        refusal = reply.outcome.refusal  # none where recovery has just taken the call over
        assert refusal is None or refusal.reason in ("idempotency.in_progress", "outcome.unknown")
        await asyncio.sleep(0.05)


@pytest.mark.timeout(900)
async def test_every_key_has_one_effect_and_one_reply(tmp_path: Path, tool: str) -> None:
    ledger = Ledger(tool, tmp_path.name)
    ledger.faults(7, lost=0.2, half=0.05, reset=0.05, twice=0.05)
    store = SqliteStore(tmp_path / "store.db", images=Images(), clock=SystemClock())
    await store.open()
    transport = HttpShelf(tool, tmp_path.name)
    replicas = [Replica(store, transport) for _ in range(2)]
    watches = [asyncio.create_task(r.recovery.watch(0.2)) for r in replicas]
    room = asyncio.Semaphore(25)

    async def one_key(number: int) -> tuple[int, list[Reply]]:
        call = shelf_call(
            "post", body=f"made {number}", idempotency_key=f"k{number}", received_at=_now()
        )
        async with room:
            asked = (insistent(replicas[n % 2], call) for n in range(DUPLICATES))
            return number, list(await asyncio.gather(*asked))

    try:
        told = await asyncio.gather(*(one_key(number) for number in range(KEYS)))
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        records, _ = await store.calls(limit=100_000)
        await transport.close()
        await store.close()

    _, effects = ledger.look()
    counted = Counter(effect[2] for effect in effects)
    assert counted == {f"made {number}": 1 for number in range(KEYS)}
    for number, replies in told:
        assert {r.state for r in replies} == {State.SUCCEEDED}, number
        shown = {json.dumps(reply_json(r), sort_keys=True) for r in replies}
        assert len(shown) == 1, f"key {number}: {shown}"
    assert len([r for r in records if r.effect is EffectState.APPLIED]) == KEYS


def _now() -> datetime:
    return datetime.now(UTC)
