"""The stores make the moves of the model, and refuse what it refuses.

Random paths through the model's worlds are carried out on a real store; its audit log must show
the same moves, from and to the same states, one entry each, and nothing else.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import digest_of, verify
from gateway.interfaces import Frozen, StaleGeneration, Store
from gateway.lifecycle import State
from gateway.model import (
    ActionClass,
    Call,
    Deny,
    EffectState,
    Freeze,
    Hold,
    Intent,
    Measured,
    Outcome,
    Reach,
    Reversibility,
    Running,
    Scope,
    Step,
    Subject,
    Surface,
    Undo,
)
from gateway.store.images import Images
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore
from tests.fixtures.fakes import FakeClock
from tests.model.walk import Walk
from tests.model.world import Bounds, Plan, World, start

LEASE = timedelta(seconds=60)
PATHS = {"memory": 300, "sqlite": 25}
LONGEST = 60

WORLDS: dict[str, tuple[tuple[Plan, ...], Bounds]] = {
    # Recovery takes every open call over at once, so it is followed with one call.
    "one call": (
        (Plan("A", may_deny=True),),
        Bounds(generations=3, deaths=1, freezes=2, outages=1, revisions=1),
    ),
    "two calls and freezes": ((Plan("A"), Plan("A")), Bounds(1, deaths=1, freezes=2)),
    "retries": ((Plan("A", key=1), Plan("A", key=1)), Bounds(1, deaths=1, freezes=1, outages=1)),
    "approval": (
        (Plan("A", approval=0, may_deny=True), Plan("A"), Plan("A", may_deny=True)),
        Bounds(1, deaths=0, freezes=0, resumes=2, revisions=1),
    ),
    "reverts": (
        (Plan("A"), Plan("A", reverts=0), Plan("A", reverts=0), Plan("A", reverts=1)),
        Bounds(1, deaths=0, freezes=1, foreign=1),
    ),
}

# What ends a path early, or leads back: taken, but not often, so that most paths get far.
RARE = re.compile(
    "too much|dies|drops|store fails|answer is lost|denied|nothing to change|freeze|rejected|"
    "no answer|commit is refused"
)
# Time does not pass on these paths.
NEVER = re.compile("runs out")


class Follower:
    """Does on a store what a step of the model did, and checks that the store agreed."""

    def __init__(self, store: Store, clock: FakeClock, plans: tuple[Plan, ...]) -> None:
        self.store = store
        self.clock = clock
        self.plans = plans
        self.intents: dict[int, Intent] = {}
        self.running: dict[tuple[int, int], Running] = {}
        self.freezes = 0
        self.seen = 0

    async def follow(self, label: str, before: World, after: World) -> None:
        step = re.fullmatch(r"call (\d+)(?: \(generation (\d+)\))?: (.*)", label)
        if step is None:
            await self._everybody(label, after)
        else:
            call, generation, what = int(step[1]), int(step[2] or 0), step[3]
            if not what.endswith("the store fails"):
                await self._one(call, generation, what.partition(":")[0], before, after)
        assert await self._new_moves() == moves(before, after), label

    async def _new_moves(self) -> list[tuple[str, str, str]]:
        entries = await self.store.entries(after=self.seen)
        self.seen = entries[-1].seq if entries else self.seen
        bodies = [json.loads(entry.body) for entry in entries]
        return [(b["call"], b["from"], b["to"]) for b in bodies if b["event"].startswith("call.")]

    # --- steps ------------------------------------------------------------------------------

    async def _everybody(self, label: str, after: World) -> None:
        if label == "freeze":
            self.freezes += 1
            answer = await self.store.freeze(
                Freeze(
                    id=f"frz_{self.freezes}",
                    scope=Scope(),
                    reason="test",
                    starts_at=self.clock.now(),
                )
            )
            listed = {name(c) for c in range(len(self.plans)) if after.listed & (1 << c)}
            assert set(answer.in_flight) == listed
        elif label == "freeze lifted":
            assert await self.store.lift(f"frz_{self.freezes}", by="ada") is not None
        elif label == "drained":
            assert await self.store.in_flight(Scope()) == []

    async def _one(
        self, call: int, generation: int, what: str, before: World, after: World
    ) -> None:
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "denied by policy": lambda: self._refuse(call),
            "denied by policy after the approval": lambda: self._refuse(call),
            "held for a person": lambda: self._hold(call, before.rev),
            "approved": lambda: self._decide(call, approve=True),
            "rejected": lambda: self._decide(call, approve=False),
            "intent": lambda: self._intend(call, after.rows[call].rev, granted=True),
            "intent refused": lambda: self._intend(call, before.rev, granted=False),
            "begin": lambda: self._begin(call, before.rev, granted=True),
            "begin refused": lambda: self._begin(call, before.rev, granted=False),
            "not its to begin": lambda: self._begin(call, before.rev, granted=None),
            "permit": lambda: self._permit(call, generation, granted=True),
            "permit refused": lambda: self._permit(call, generation, granted=False),
            "its lease has run out, recovery takes it over": lambda: self._take_over(call),
        }
        settled = re.fullmatch(r"settle (\w+)|nothing to change", what)
        if settled is not None:
            state = settled[1] or ("reverted" if self.plans[call].reverts >= 0 else "succeeded")
            applied = settled[1] in ("succeeded", "reverted")
            moved = before.rows[call].state != after.rows[call].state
            await self._settle(call, generation, State(state), applied, moved)
        elif what in steps:
            await steps[what]()

    async def _refuse(self, call: int) -> None:
        await self.store.refuse(
            self._call(call), Deny(reason="policy.denied", detail="No."), reach=self._reach()
        )

    async def _hold(self, call: int, rev: int) -> None:
        held = await self.store.hold(
            self._call(call), Hold(revision=str(rev)), action={}, reach=self._reach()
        )
        assert not isinstance(held, Deny), held

    async def _decide(self, call: int, *, approve: bool) -> None:
        waiting = await self.store.approvals()
        mine = next(a for a in waiting if a.call == name(call))
        assert await self.store.decide_approval(mine.id, approve=approve, by="ada", note=None)

    async def _intend(self, call: int, rev: int, *, granted: bool) -> None:
        record = await self.store.call(name(call))
        held = [a for a in await self.store.approvals(waiting=False) if a.call == name(call)]
        intent = await self.store.intend(
            self._call(call),
            action={},
            reach=self._reach(),
            decision={"decision": "allow", "revision": str(rev)},
            approval=held[0].id if record is not None and held else None,
        )
        assert isinstance(intent, Intent if granted else Deny), intent
        if isinstance(intent, Intent):
            self.intents[call] = intent

    async def _begin(self, call: int, rev: int, *, granted: bool | None) -> None:
        try:
            begun = await self.store.begin(
                self.intents[call], windows=(), revision=str(rev), lease=LEASE
            )
        except StaleGeneration:
            assert granted is None
            return
        assert isinstance(begun, Running if granted else Deny), begun
        if isinstance(begun, Running):
            self.running[call, begun.generation] = begun

    async def _permit(self, call: int, generation: int, *, granted: bool) -> None:
        try:
            permit = await self.store.permit(
                self.running[call, generation],
                undo=Undo(
                    upstream="box", kind="test", reversibility=Reversibility.EXACT, image=b"image"
                ),
                receipt=name(call),
                measured=Measured(),
                reach=self._reach(),
                windows=(),
                expires_at=None,
            )
        except StaleGeneration:
            assert not granted
            return
        assert isinstance(permit, Deny) is not granted, permit

    async def _settle(
        self, call: int, generation: int, state: State, applied: bool, moved: bool
    ) -> None:
        target = self.plans[call].reverts
        steps = (
            ()
            if target < 0
            else (
                Step(
                    call=name(target),
                    upstream="box",
                    action="restore",
                    state="reverted" if state is State.REVERTED else "failed",
                ),
            )
        )
        effect = EffectState.APPLIED if applied else EffectState.NONE
        outcome = Outcome(state=state, effect=effect, result={}, steps=steps)
        try:
            await self.store.settle(self.running[call, generation], outcome)
        except StaleGeneration:
            assert not moved
            return
        assert moved

    async def _take_over(self, call: int) -> None:
        for record, running in await self.store.take_over(everything=True, lease=LEASE):
            assert record.call.id == name(call)
            if running is not None:
                self.running[call, running.generation] = running

    # --- the calls of a path ----------------------------------------------------------------

    def _call(self, call: int) -> Call:
        plan = self.plans[call]
        request = {"sql": f"DELETE {plan.digest}"}
        return Call(
            id=name(call),
            subject=Subject(id="a7", session="s1"),
            surface=Surface.SQL,
            tool="box",
            request=request,
            digest=digest_of(Surface.SQL, "box", request),
            received_at=self.clock.now(),
            idempotency_key=None if plan.key < 0 else f"key-{plan.key}",
            reverts=() if plan.reverts < 0 else (name(plan.reverts),),
        )

    def _reach(self) -> Reach:
        return Reach(
            surface=Surface.SQL,
            tool="box",
            agent="a7",
            cls=ActionClass.WRITE,
            verbs=("delete",),
            tables=("main.t",),
        )


def name(call: int) -> str:
    return f"call_{call:04d}"


def moves(before: World, after: World) -> list[tuple[str, str, str]]:
    """The moves of one step; a permit and a recovery keep the state."""
    made = []
    for call, (old, new) in enumerate(zip(before.rows, after.rows, strict=True)):
        if (old.state, old.gen, old.permit) != (new.state, new.gen, new.permit):
            made.append((name(call), old.state, new.state))
    return made


def path(plans: tuple[Plan, ...], bounds: Bounds, seed: int) -> list[tuple[str, World, World]]:
    """A random way through the model."""
    chance = random.Random(seed)
    walk, world, taken = Walk(plans, bounds), start(plans, bounds), []
    for _ in range(LONGEST):
        choices = [c for c in walk.successors(world) if not NEVER.search(c[0])]
        if not choices:
            break
        weights = [_weight(label, world, plans) for label, _ in choices]
        label, after = chance.choices(choices, weights)[0]
        taken.append((label, world, after))
        world = after
    return taken


def _weight(label: str, world: World, plans: tuple[Plan, ...]) -> float:
    starting = re.fullmatch(r"call (\d+) .*: allowed by policy", label)
    target = plans[int(starting[1])].reverts if starting else -1
    if target >= 0 and world.rows[target].state not in ("succeeded", "reverted"):
        return 0.1  # a revert that starts before there is something to revert is refused
    return 1 if RARE.search(label) else 12


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Store]]]:
    opened: list[Store] = []

    async def make(kind: str, clock: FakeClock) -> Store:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        store: Store = (
            MemoryStore(clock=clock)
            if kind == "memory"
            else SqliteStore(folder / "store.db", images=Images(), clock=clock)
        )
        await store.open()
        opened.append(store)
        return store

    yield make  # type: ignore[misc]
    for store in opened:
        await store.close()


async def followed(store: Store, clock: FakeClock, world: str, seed: int) -> int:
    """Carries out one path; the number of audit entries it made."""
    plans, bounds = WORLDS[world]
    follower = Follower(store, clock, plans)
    steps = path(plans, bounds, seed)
    for at, (label, before, after) in enumerate(steps):
        try:
            await follower.follow(label, before, after)
        except AssertionError as error:
            shown = "\n".join(f"{n:3}. {step[0]}" for n, step in enumerate(steps[: at + 1], 1))
            raise AssertionError(f"seed {seed}:\n{shown}\n{error}") from error
    for call, row in enumerate(steps[-1][2].rows):
        record = await store.call(name(call))
        assert row.state == ("received" if record is None else record.state)
    entries = await store.entries()
    assert verify((e.seq, e.hash, e.body) for e in entries).fault is None
    return follower.seen


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("world", WORLDS)
async def test_a_store_makes_the_moves_of_the_model_and_no_other(
    world: str, kind: str, open_store: Callable[[str, FakeClock], Awaitable[Store]]
) -> None:
    entries = 0
    for seed in range(PATHS[kind]):
        clock = FakeClock()
        entries += await followed(await open_store(kind, clock), clock, world, seed)

    assert entries > PATHS[kind] * 3, "the paths are too short to mean anything"


def test_the_paths_meet_every_kind_of_step() -> None:
    met = {
        re.sub(r"^call \d+( \(generation \d+\))?: ", "", label)
        for plans, bounds in WORLDS.values()
        for seed in range(PATHS["memory"])
        for label, _, _ in path(plans, bounds, seed)
    }

    assert met >= {
        "denied by policy",
        "denied by policy after the approval",
        "held for a person",
        "approved",
        "rejected",
        "resumed",
        "intent",
        "intent: the answer is lost",
        "intent: the store fails",
        "intent refused",
        "begin",
        "begin refused",
        "not its to begin",
        "permit",
        "permit refused: rolled back",
        "nothing to change",
        "settle succeeded",
        "settle failed",
        "settle failed: taken over",
        "settle succeeded: taken over",
        "settle reverted",
        "settle conflict",
        "its lease has run out, recovery takes it over",
        "freeze",
        "freeze lifted",
        "drained",
        "policy changes",
    }


class ForgetsFreezes(MemoryStore):
    async def freeze(self, freeze: Freeze) -> Frozen:
        return Frozen(freeze=freeze, in_flight=tuple(await self.in_flight(freeze.scope)))


class ForgetsKeys(MemoryStore):
    async def intend(self, call: Call, **rest: Any) -> Intent | Deny:
        return await super().intend(replace(call, idempotency_key=None), **rest)


class ForgetsPolicy(MemoryStore):
    async def begin(self, intent: Intent, **rest: Any) -> Running | Deny:
        record = await self.call(intent.call)
        decision = record.decision if record is not None else None
        return await super().begin(intent, **{**rest, "revision": (decision or {})["revision"]})


@pytest.mark.parametrize(
    ("broken", "world"),
    [
        (ForgetsFreezes, "one call"),
        (ForgetsFreezes, "two calls and freezes"),
        (ForgetsKeys, "retries"),
        (ForgetsPolicy, "one call"),
    ],
)
async def test_a_store_that_forgets_is_noticed(broken: type[MemoryStore], world: str) -> None:
    for seed in range(PATHS["memory"]):
        clock = FakeClock()
        store = broken(clock=clock)
        await store.open()
        try:
            await followed(store, clock, world, seed)
        except AssertionError:
            return
        finally:
            await store.close()
    pytest.fail(f"{broken.__name__} went unnoticed")
