"""Group commit: many at once, killed at any moment, judged by the order of the commits."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.audit import verify
from gateway.lifecycle import State
from gateway.model import ActionClass, Intent, Permit, Running, Scope
from gateway.store.sqlite import SqliteStore
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import (
    DECISION,
    DONE,
    FAILED,
    LEASE,
    begun,
    freeze,
    permitted,
    reach,
    running,
    sqlite_store,
    undo,
)


@pytest.fixture
async def disk(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    made = sqlite_store(tmp_path, clock)
    await made.open()
    yield made
    await made.close()


# --- many at once --------------------------------------------------------------------------


async def test_nothing_in_scope_begins_or_is_permitted_while_frozen(disk: SqliteStore) -> None:
    """2,000 beginnings, 100 freezes and lifts; judged by the order of the commits."""
    lot = random.Random(7)

    async def agent(name: str) -> None:
        for _ in range(125):
            call = a_call(agent=name)
            token = await begun(disk, call)
            if isinstance(token, Running):
                await asyncio.sleep(lot.random() / 2000)
                permit = await permitted(disk, token, call)
                await disk.settle(token, DONE if isinstance(permit, Permit) else FAILED)

    async def freezer() -> None:
        for n in range(100):
            scope = Scope(agents=("a0", "a1", "a2", "a3")) if n % 2 else Scope()
            await disk.freeze(freeze(f"f{n}", scope=scope))
            await asyncio.sleep(lot.random() / 200)
            await disk.lift(f"f{n}", by="ann")
            await asyncio.sleep(lot.random() / 200)

    await asyncio.gather(*(agent(f"a{n}") for n in range(16)), freezer())
    standing: dict[str, list[str]] = {}
    began = permits = flips = 0
    for entry in await disk.entries(limit=100_000):
        body = json.loads(entry.body)
        if body["event"] == "freeze.add":
            standing[body["freeze"]] = body["scope"]["agents"]
            flips += 1
        elif body["event"] == "freeze.lift":
            del standing[body["freeze"]]
        elif body["event"] in ("call.begin", "call.permit"):
            began += body["event"] == "call.begin"
            permits += body["event"] == "call.permit"
            assert all(agents and body["subject"] not in agents for agents in standing.values())
    assert flips == 100
    assert began > 200
    assert permits > 100


CHILD = """
import asyncio, sys
from pathlib import Path
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import *

async def main():
    store = sqlite_store(Path(sys.argv[1]), FakeClock())
    await store.open()
    async def agent(name):
        n = 0
        while True:
            call = a_call(agent=name, id=f"call_{name}_{n:06d}")
            token = await running(store, call)
            await permitted(store, token, call)
            await store.settle(token, DONE)
            sys.stdout.write(call.id + "\\n")
            sys.stdout.flush()
            n += 1
    await asyncio.gather(*(agent(f"a{n}") for n in range(16)))

asyncio.run(main())
"""


def killed_after(acknowledged: int, folder: Path) -> list[str]:
    """Every id that a child had told of before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(acknowledged)]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    # A line that was cut is no acknowledgement.
    return told + [line for line in rest.split("\n")[:-1] if line]


@pytest.mark.parametrize("after", [1, 40, 150])
async def test_every_acknowledged_outcome_survives_a_kill(
    tmp_path: Path, clock: FakeClock, after: int
) -> None:
    told = killed_after(after, tmp_path)
    assert len(told) >= after
    store = sqlite_store(tmp_path, clock)
    await store.open()
    for id in told:
        record = await store.call(id)
        assert record is not None, id
        assert record.state is State.SUCCEEDED
        assert await store.undo_of(id) == undo()
    entries = await store.entries(limit=1_000_000)
    assert verify((e.seq, e.hash, e.body) for e in entries).fault is None
    await store.close()


@pytest.mark.parametrize("step", ["store.image_kept", "store.committing", "store.committed"])
async def test_a_death_around_the_commit_leaves_a_whole_store(
    tmp_path: Path, clock: FakeClock, step: str
) -> None:
    class Died(BaseException):
        pass

    armed = False

    def probe(name: str) -> None:
        if armed and name == step:
            raise Died

    store = sqlite_store(tmp_path, clock, probe=probe)
    await store.open()
    call = a_call()
    token = await running(store, call)
    armed = True
    with pytest.raises(Died):
        await permitted(store, token, call, way_back=undo(os.urandom(5000)))
    armed = False
    await store.close()
    await store.open()
    record = await store.call(call.id)
    assert record is not None
    assert record.permitted is (step == "store.committed")
    assert (await store.undo_of(call.id) is not None) is record.permitted
    assert len(list((tmp_path / "images").iterdir())) == int(record.permitted)
    await store.close()


async def test_a_read_is_not_stopped_by_a_freeze_of_everything_that_writes(
    disk: SqliteStore,
) -> None:
    await disk.freeze(freeze())
    call = a_call(verb="select")
    intent = await disk.intend(
        call, action={}, reach=reach(call, ActionClass.READ), decision=DECISION
    )
    assert isinstance(intent, Intent)
    assert isinstance(await disk.begin(intent, windows=(), revision="r1", lease=LEASE), Running)
