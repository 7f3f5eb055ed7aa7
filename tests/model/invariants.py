"""The promises that hold in every reachable world. The numbers are those of ARCHITECTURE.md."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.store import SETTLED_STATES
from tests.model.walk import is_open
from tests.model.world import APPLIED, CLAIMS, NONE, Bounds, Plan, World

Check = Callable[[World, bool], str | None]

EXPECTED = {"denied": NONE, "failed": NONE, "conflict": NONE}


def invariants(plans: tuple[Plan, ...], bounds: Bounds) -> Check:
    """The check of one configuration: the first invariant that is broken, or ``None``."""

    def broken(world: World, quiet: bool) -> str | None:
        if world.fault:
            return world.fault
        for call in range(len(plans)):
            why = _row(world, call) or _replies(world, plans, call) or _revert(world, plans, call)
            if why is not None:
                return f"{why} (call {call})"
        if world.overwritten:
            return "7: a revert overwrote what somebody else had written"
        return _progress(world, bounds) if quiet else None

    return broken


def _row(world: World, call: int) -> str | None:
    row = world.rows[call]
    if row.eff > 1:
        return "2: more than one effect"
    if row.first and row.state != row.first:
        return "5: a settled state changed"
    if row.debt:
        return "8: a move without its audit entry"
    if row.begins > 1:
        return "6: an approval began more than one call"
    if row.state in SETTLED_STATES:
        claimed = EXPECTED.get(row.state, row.effect)
        if row.effect != claimed or claimed not in (NONE, APPLIED):
            return "4: a settled state claims an impossible effect"
        if row.eff != (1 if claimed == APPLIED else 0):
            return f"4: {row.state} with effect {claimed}, but {row.eff} happened"
    return None


def _replies(world: World, plans: tuple[Plan, ...], call: int) -> str | None:
    row = world.rows[call]
    if row.said & CLAIMS[NONE] and row.eff:
        return "4: a reply said that there was no effect"
    if row.said & CLAIMS[APPLIED] and not row.eff:
        return "4: a reply said that there was an effect"
    key = plans[call].key
    sharing = (r.eff for c, r in enumerate(world.rows) if plans[c].key == key)
    if key >= 0 and sum(sharing) > 1:
        return "9: two effects for one idempotency key"
    return None


def _revert(world: World, plans: tuple[Plan, ...], call: int) -> str | None:
    reverts = [c for c in range(len(plans)) if plans[c].reverts == call]
    if sum(world.rows[c].eff for c in reverts) > 1:
        return "7: a call was reverted twice"
    return None


def _progress(world: World, bounds: Bounds) -> str | None:
    """Where nothing can happen any more, recovery has left nothing open, unless the bound on
    generations is what stopped it."""
    for call, row in enumerate(world.rows):
        if is_open(row.state) and row.gen < bounds.generations:
            return f"L: nothing will ever settle this (call {call})"
    return None
