"""The process is killed (SIGKILL) at every step of the walk and of the walk back over a tool that
has no transactions, while the network loses, delays, doubles and cuts off what it is given. A real
tool in a process of its own counts what happened: nothing is lost, nothing happens twice, and no
settled state lies.

``HOLDFAST_SEEDS`` seeds per step (1 by default).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit import verify
from gateway.lifecycle import SETTLED, State
from gateway.model import CallRecord, EffectState, Outcome
from gateway.revert import RevertRequest
from tests.crash.bank import call_of, deeds, initial
from tests.crash.errands import FENCE_S, ITEMS, Errand, declared, errands
from tests.crash.gatehouse import Gatehouse, Place, gatehouse
from tests.crash.killing import Killer, Notes, run_and_kill
from tests.crash.test_kill import ENTRIES, make_sqlite, one_entry_per_move, seen
from tests.fixtures import tool_double
from tests.fixtures.http_shelf import Ledger
from tests.fixtures.options import size

SEEDS = size("seeds", 1)

WALK = (
    "walk.decided",
    "walk.intended",
    "walk.begun",
    "walk.ran",
    "walk.captured",
    "store.image_kept",
    "walk.permitted",
    "remote.sending",
    "remote.sent",
    "walk.landed",
    "walk.settled",
)
BACK = (
    "back.saved",
    "back.intended",
    "back.begun",
    "back.ran",
    "back.captured",
    "back.permitted",
    "remote.undo.sending",
    "remote.undo.sent",
    "back.landed",
    "back.settled",
    "back.finished",
)
# What sends again: the walk itself, its way back, and recovery.
AGAIN = ("sending.pausing", "sending.again")
RECOVERY = (
    "recovery.taken",
    "remote.sending_again",
    *AGAIN,
    "remote.sent_again",
    "recovery.settled",
)
WORSE = {"lost": 0.3, "half": 0.1, "reset": 0.2, "late": 0.1}
TROUBLE = {"lost": 0.15, "half": 0.1, "reset": 0.1, "late": 0.1, "error": 0.05, "mute": 0.05}


@pytest.fixture(scope="module")
def tool() -> Iterator[str]:
    with tool_double.running() as url:
        yield url


class Case:
    """One life of a gateway that is killed, and the lives after it."""

    def __init__(self, folder: Path, tool: str, tool_class: str, step: str, seed: int) -> None:
        folder = folder / f"{folder.name}-{seed}"  # the name is a place at the tool as well
        folder.mkdir()
        make_sqlite(folder / "bank.db")
        self.place = Place(folder, str(folder / "bank.db"), tool=tool, plans=declared(tool_class))
        self.tool_class, self.step, self.seed = tool_class, step, seed
        self.ledger = Ledger(tool, folder.name)
        self.ledger.fill(ITEMS)
        self.plan = errands(seed, tool_class)
        self.notes = folder / "notes"
        self.notes.touch()
        self.killed = False

    def live(self, *, back: bool) -> None:
        """Until the kill."""
        random_nth = random.Random(self.seed).randint(1, 2 if back else 4)
        once = back and self.step in ("back.saved", "back.finished")
        killer = Killer(self.step, 1 if once else random_nth)

        async def child(killer: Killer) -> None:
            async with gatehouse(self.place, killer) as house:
                await (self._session(house) if back else self._errands(house))

        self.killed = run_and_kill(child, killer, self.place.folder / "log").killed

    async def _errands(self, house: Gatehouse) -> None:
        notes = Notes(self.notes)
        for errand in self.plan:
            reply = await house.pipeline.handle(errand.call())
            notes.write(f"{reply.call} {reply.state} {reply.effect}")

    async def _session(self, house: Gatehouse) -> None:
        """Calls of a database and of the tool in turn, and the session taken back."""
        for number, (errand, deed) in enumerate(zip(self.plan, deeds(self.seed, 5), strict=True)):
            await house.pipeline.handle(call_of(number, deed, "bank"))
            reply = await house.pipeline.handle(errand.call())
            assert reply.effect is EffectState.APPLIED, reply
        await house.reverter.revert(RevertRequest(target={"session": "crash"}, by="admin"))

    def recover_and_die(self, step: str) -> bool:
        """A second kill, while what the first one left open is being settled."""

        async def child(killer: Killer) -> None:
            async with gatehouse(self.place, killer) as house:
                await house.recovery.settle(everything=True)

        return run_and_kill(child, Killer(step, 1), self.place.folder / "log2").killed

    async def recovered(self, *, everything: bool) -> None:
        async with gatehouse(self.place) as house:
            await house.recovery.settle(everything=everything)
            await house.reverter.resume()

    async def resolved(self) -> list[CallRecord]:
        """A person looks at what is still unknown; then everything has to be settled."""
        async with gatehouse(self.place) as house:
            await house.recovery.settle(everything=True)
            unknown, _ = await house.store.calls(states=(State.UNKNOWN,))
            assert not unknown or self.tool_class == "D", "only an opaque tool needs a person"
            _, effects = self.ledger.look()
            for record in unknown:
                happened = self.errand(record).effects(effects) > 0
                outcome = Outcome(
                    state=State.SUCCEEDED if happened else State.FAILED,
                    effect=EffectState.APPLIED if happened else EffectState.NONE,
                )
                await house.store.resolve(record.call.id, outcome, by="ann", note="looked")
            records, _ = await house.store.calls(limit=1000)
            await _chained(house, records)
        return records

    def errand(self, record: CallRecord) -> Errand:
        return next(e for e in self.plan if e.call().id == record.call.id)


async def _chained(house: Gatehouse, records: list[CallRecord]) -> None:
    entries = [(e.seq, e.hash, e.body) for e in await house.store.entries(limit=100_000)]
    assert verify(entries).fault is None
    one_entry_per_move(records, [json.loads(body) for _, _, body in entries])


@pytest.mark.parametrize("step", WALK)
@pytest.mark.parametrize("tool_class", ["B", "C", "D"])
def test_a_kill_in_the_walk_over_a_remote_tool(
    tool_class: str, step: str, tmp_path: Path, tool: str
) -> None:
    cases = [Case(tmp_path, tool, tool_class, step, seed) for seed in range(SEEDS)]
    twice = {"twice": 0.1} if tool_class == "B" else {}
    for case in cases:
        case.ledger.faults(case.seed, **TROUBLE, **twice)
        case.live(back=False)
        case.ledger.faults()
        asyncio.run(case.recovered(everything=True))
    time.sleep(FENCE_S + 0.05)
    for case in cases:
        check(case, asyncio.run(case.resolved()))
    assert sum(case.killed for case in cases) >= SEEDS * 0.6, "the step is hardly ever reached"


@pytest.mark.parametrize("step", AGAIN)
def test_a_kill_where_a_request_is_sent_again(step: str, tmp_path: Path, tool: str) -> None:
    """Only a keyed tool is ever asked twice."""
    cases = [Case(tmp_path, tool, "B", step, seed) for seed in range(2 * SEEDS)]
    for case in cases:
        case.ledger.faults(case.seed, **WORSE, twice=0.1)
        case.live(back=False)
        case.ledger.faults()
        asyncio.run(case.recovered(everything=True))
    time.sleep(FENCE_S + 0.05)
    for case in cases:
        check(case, asyncio.run(case.resolved()))
    assert sum(case.killed for case in cases) >= SEEDS, "the step is hardly ever reached"


@pytest.mark.parametrize("step", RECOVERY)
def test_a_second_kill_while_recovery_sends_again(step: str, tmp_path: Path, tool: str) -> None:
    cases = [Case(tmp_path, tool, "B", "remote.sent", seed) for seed in range(SEEDS)]
    again = 0
    for case in cases:
        case.ledger.faults(case.seed, **TROUBLE, twice=0.1)
        case.live(back=False)
        case.ledger.faults(case.seed + 1, **(WORSE if step in AGAIN else {}))
        again += case.recover_and_die(step)
        case.ledger.faults()
        asyncio.run(case.recovered(everything=True))
    time.sleep(FENCE_S + 0.05)
    for case in cases:
        check(case, asyncio.run(case.resolved()))
    assert again >= SEEDS * 0.5, "the step is hardly ever reached"


def check(case: Case, records: list[CallRecord]) -> None:
    _, effects = case.ledger.look()
    by_id = {r.call.id: r for r in records}
    for record in records:
        happened = case.errand(record).effects(effects)
        assert record.state in SETTLED, f"{record.call.id} was lost: {record.state}"
        assert happened == (record.effect is EffectState.APPLIED), f"{record} but {happened}"
        assert (record.state is State.SUCCEEDED) == (record.effect is EffectState.APPLIED)
    known = set(by_id)
    for errand in case.plan:
        if errand.call().id not in known:
            assert errand.effects(effects) == 0, "an effect that nobody recorded"
    for line in case.notes.read_text().splitlines():
        id, _, effect = line.split()
        if effect != "unknown":
            assert str(by_id[id].effect) == effect, f"{id} was told otherwise: {line}"


@pytest.mark.parametrize("step", BACK)
@pytest.mark.parametrize(
    ("tool_class", "trouble"),
    [("B", False), ("B", True), ("C", True), ("D", False), ("D", True)],
    ids=["B-calm", "B-trouble", "C-trouble", "D-calm", "D-trouble"],
)
def test_a_kill_in_a_walk_back_over_a_database_and_a_remote_tool(
    tool_class: str, step: str, trouble: bool, tmp_path: Path, tool: str
) -> None:
    cases = [Case(tmp_path, tool, tool_class, step, seed) for seed in range(max(1, SEEDS // 2))]
    for case in cases:
        if trouble:
            # Forward nothing goes wrong: the trouble begins with the first compensation.
            case.ledger.faults(case.seed)
            case.place = replace(case.place, plans=declared(tool_class))
        _live_back(case, trouble)
        case.ledger.faults()
        asyncio.run(case.recovered(everything=True))
    for _ in range(2):
        time.sleep(FENCE_S + 0.05)
        for case in cases:
            asyncio.run(_take_back_the_rest(case))
    for case in cases:
        items, effects = case.ledger.look()
        assert items == ITEMS
        assert seen(case.place) == (initial(), ENTRIES)
        for errand in case.plan:
            undone = {"post": "DELETE", "put": "PUT", "delete": "PUT"}[errand.verb]
            ids = [
                e[1] for e in effects if errand.verb == "post" and e[2] == errand.request["body"]
            ]
            id = ids[0] if ids else errand.id
            back = [e for e in effects if e[0] == undone and e[1] == id]
            forth = errand.verb == "put"
            assert len(back) - forth == 1, f"{errand}: {back}"


def _live_back(case: Case, trouble: bool) -> None:
    if not trouble:
        case.live(back=True)
        return
    real = case._session

    async def session(house: Gatehouse) -> None:
        revert = house.reverter.revert

        async def troubled(request: RevertRequest) -> object:
            case.ledger.faults(case.seed, lost=0.3, half=0.1, reset=0.1, mute=0.1)
            return await revert(request)

        house.reverter.revert = troubled  # type: ignore[method-assign, assignment]
        await real(house)

    case._session = session  # type: ignore[method-assign]
    case.live(back=True)


async def _take_back_the_rest(case: Case) -> None:
    """What could not be taken back in time is taken back now; every step must be true."""
    async with gatehouse(case.place) as house:
        await house.recovery.settle(everything=True)
        await house.reverter.resume()
        assert await house.store.unfinished_reverts() == []
        await house.reverter.revert(RevertRequest(target={"session": "crash"}, by="admin"))
        records, _ = await house.store.calls(limit=1000)
        await _chained(house, records)
        assert all(r.state in SETTLED or r.state is State.UNKNOWN for r in records)
