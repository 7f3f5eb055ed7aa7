"""The target: transactions that may commit late, requests that may arrive late, and one value
that others write too."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.bugs import Bug
from tests.model.world import Plan, World, with_row

IN_A_TRANSACTION = ("open", "committing")
HAS_ITS_TRANSACTION = {"ran", "permitted", "waiting"}


class Target:
    def __init__(self, plans: tuple[Plan, ...], bug: Bug | None) -> None:
        self.plans = plans
        self.bug = bug

    # --- what the gateway does ----------------------------------------------------------------

    def open(self, world: World, call: int) -> World:
        if self.plans[call].tool != "A":
            return world
        return with_row(world, call, world.rows[call]._replace(tx="open"))

    def free(self, world: World, call: int) -> bool:
        """Whether no other transaction holds the row that this call is about to write."""
        if self.plans[call].tool != "A":
            return True
        others = (r for other, r in enumerate(world.rows) if other != call)
        return all(r.tx not in IN_A_TRANSACTION for r in others)

    def conflicts(self, world: World, call: int) -> bool:
        """Whether a revert finds another value than the one its target left."""
        plan = self.plans[call]
        if plan.reverts < 0 or plan.tool != "A" or self.bug is Bug.REVERT_WITHOUT_COMPARING:
            return False
        return self.free(world, call) and world.cell != self._left(plan.reverts)

    def _left(self, call: int) -> int:
        """The value after this call: 1 for a plain one, and back and forth for reverts."""
        plan = self.plans[call]
        return 1 if plan.reverts < 0 else 1 - self._left(plan.reverts)

    def roll_back(self, world: World, call: int) -> World:
        row = world.rows[call]
        return with_row(world, call, row._replace(tx="aborted")) if row.tx == "open" else world

    def send(self, world: World, call: int, gen: int) -> World:
        row = world.rows[call]
        if self.plans[call].tool == "A":
            # A connection that the server has closed meanwhile cannot commit.
            return (
                with_row(world, call, row._replace(tx="committing")) if row.tx == "open" else world
            )
        return with_row(world, call, row._replace(wire=tuple(sorted((*row.wire, gen)))))

    def answers(self, world: World, call: int) -> Iterator[str]:
        """What the one that waits may hear; class A only, requests answer when they arrive."""
        tx = world.rows[call].tx
        if tx == "committed":
            yield "won"
        if tx == "aborted":
            yield "lost"

    def happened(self, world: World, call: int) -> str | None:
        """The verdict from the transaction's id or receipt; ``None`` while it still runs."""
        tx = world.rows[call].tx
        if tx in IN_A_TRANSACTION:
            return "lost" if self.bug is Bug.RECOVERY_TAKES_OPEN_FOR_ROLLED_BACK else None
        return "won" if tx == "committed" else "lost"

    # --- what the target does by itself -------------------------------------------------------

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        for call, row in enumerate(world.rows):
            if row.tx == "committing":
                yield (
                    f"call {call}: the commit lands",
                    self._effect(with_row(world, call, row._replace(tx="committed")), call),
                )
                yield (
                    f"call {call}: the commit is refused",
                    with_row(world, call, row._replace(tx="aborted")),
                )
            elif row.tx == "open":
                # The connection was lost: always when its owner is gone.
                yield (
                    f"call {call}: the target drops the transaction",
                    with_row(world, call, row._replace(tx="aborted")),
                )
            for gen in row.wire:
                yield from self._arrivals(world, call, gen)
        if world.foreign and world.cell in (0, 1) and self._quiet(world):
            yield "somebody else writes", world._replace(foreign=0, cell=2)

    def _quiet(self, world: World) -> bool:
        if any(r.tx in IN_A_TRANSACTION for r in world.rows):
            return False
        return world.rows[0].eff > 0  # what comes before the call is not a later write

    def _arrivals(self, world: World, call: int, gen: int) -> Iterator[tuple[str, World]]:
        row = world.rows[call]
        wire = list(row.wire)
        wire.remove(gen)
        gone = with_row(world, call, row._replace(wire=tuple(wire)))
        name = f"call {call}: the request of generation {gen}"
        done = self._effect(gone, call)
        yield f"{name} arrives, its answer is lost", done
        yield f"{name} never arrives", gone
        for actor in world.actors:
            if (actor.call, actor.gen, actor.at) == (call, gen, "waiting"):
                yield f"{name} arrives", _told(done, actor.call, gen, "won")
                yield f"{name} is refused", _told(gone, actor.call, gen, "lost")

    def _effect(self, world: World, call: int) -> World:
        row, plan = world.rows[call], self.plans[call]
        if plan.tool == "B" and row.eff:
            return world  # the upstream knows the key
        fault = self._why_wrong(world, call)
        after = with_row(world, call, row._replace(eff=min(2, row.eff + 1)))
        if plan.tool == "A":
            overwritten = plan.reverts >= 0 and world.cell == 2
            after = after._replace(cell=self._left(call), overwritten=overwritten)
        return after._replace(fault=fault or after.fault)

    def _why_wrong(self, world: World, call: int) -> str:
        row, plan = world.rows[call], self.plans[call]
        if row.gen == 0 or not row.undo:
            return "1: an effect without a durable intent, image and undo before it"
        if world.frozen and plan.reverts < 0:
            if not world.listed & (1 << call):
                return "3: a call landed that the freeze's answer did not list"
            if world.drained and not world.unknowns & (1 << call):
                return "3: a call landed after the answer drained"
        if plan.reverts >= 0 and world.rows[plan.reverts].state not in ("succeeded", "reverted"):
            return "7: a revert of a call that has not succeeded"
        return ""


def _told(world: World, call: int, gen: int, word: str) -> World:
    actors = list(world.actors)
    for place, actor in enumerate(actors):
        if (actor.call, actor.gen, actor.at) == (call, gen, "waiting"):
            actors[place] = actor._replace(at=word)
            break
    actors.sort()
    return world._replace(actors=tuple(actors))
