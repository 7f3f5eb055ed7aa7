"""The store's moves as the model sees them: each is one transaction that also writes one audit
entry. Guards stand here exactly as ``gateway.interfaces.CallStore`` promises them."""

from __future__ import annotations

from typing import Any

from gateway.lifecycle import MOVES, SETTLED, IllegalMove
from tests.model.bugs import Bug
from tests.model.world import APPLIED, NONE, UNKNOWN, Actor, Plan, Row, World, with_row

TABLE = {(str(s), str(m), str(t)) for (s, m), targets in MOVES.items() for t in targets}
SETTLED_STATES = {str(s) for s in SETTLED}
RUNNING_STATES = {"executing", "reverting"}
ENDED_WITHOUT_EFFECT = {"denied", "failed", "conflict"}


class Moves:
    """``used`` collects every (state, move, target) that the exploration makes."""

    def __init__(self, plans: tuple[Plan, ...], bug: Bug | None) -> None:
        self.plans = plans
        self.bug = bug
        self.used: set[tuple[str, str, str]] = set()

    def _moved(self, world: World, call: int, name: str, target: str, **changes: Any) -> World:
        """The row after the move and its audit entry."""
        row = world.rows[call]
        edge = (row.state, name, target)
        overwriting = self.bug is Bug.SETTLE_OVERWRITES_SETTLED and row.state in SETTLED_STATES
        if edge not in TABLE and not overwriting:
            raise IllegalMove(f"the model tried {edge}")
        self.used.add(edge)
        missing = self.bug is Bug.AUDIT_ENTRY_MISSING and name == "settle"
        late = self.bug is Bug.AUDIT_AFTER_THE_MOVE and name == "begin"
        first = row.first or (target if target in SETTLED_STATES else "")
        after = row._replace(
            state=target, first=first, debt=row.debt + (missing or late), **changes
        )
        return with_row(world, call, after)

    # --- before anything runs ---------------------------------------------------------------

    def refuse(self, world: World, call: int) -> World:
        """A refused call takes the approval that it relied on with it."""
        asked = self.plans[call].approval
        attached = asked >= 0 and world.rows[call].state in ("held", "intent")
        world = self._moved(world, call, "deny", "denied")
        if attached and world.rows[asked].approval in ("waiting", "approved"):
            world = with_row(world, asked, world.rows[asked]._replace(approval="expired"))
        return world

    def hold(self, world: World, call: int) -> World:
        return self._moved(world, call, "hold", "held", approval="waiting", held_rev=world.rev)

    def taken_by(self, world: World, call: int) -> int | None:
        """The other call that has used this call's idempotency key."""
        key = self.plans[call].key
        if key < 0 or self.bug is Bug.RETRY_RUNS_AGAIN:
            return None
        for other, plan in enumerate(self.plans):
            used = world.rows[other].state not in ("received", "denied")
            if other != call and plan.key == key and used:
                return other
        return None

    def twin_of(self, world: World, call: int) -> int | None:
        """The identical call without a key whose end nobody knows yet."""
        same = self.plans[call].same
        for other, plan in enumerate(self.plans):
            is_open = world.rows[other].state in ("intent", "executing", "unknown")
            if same >= 0 and other != call and plan.same == same and is_open:
                return other
        return None

    def intend(self, world: World, call: int, rev: int) -> World | None:
        """``None`` when the store refuses the intent."""
        row, plan = world.rows[call], self.plans[call]
        if row.state not in ("received", "held") or self.taken_by(world, call) is not None:
            return None
        twin = self.twin_of(world, call)
        if twin is not None and self.bug is not Bug.IDENTICAL_CALLS_COMPARED_ONLY_WHEN_DECIDING:
            return None
        if twin is not None:
            world = world._replace(fault="9: an identical call began beside one that has not ended")
        if plan.reverts >= 0:
            target = world.rows[plan.reverts]
            if not self._revertible(target):
                return None
            if self._claimed(world, target):
                return None
            world = with_row(world, plan.reverts, target._replace(claimed_by=call))
        return self._moved(world, call, "intend", "intent", gen=1, rev=rev)

    def _revertible(self, row: Row) -> bool:
        if self.bug is Bug.REVERT_OF_WHAT_IS_NOT_SETTLED and row.undo:
            return True
        return row.state in ("succeeded", "reverted") and row.effect == APPLIED and row.undo

    def _claimed(self, world: World, target: Row) -> bool:
        if target.claimed_by < 0 or self.bug is Bug.REVERT_CLAIMED_TWICE:
            return False
        return world.rows[target.claimed_by].state not in ENDED_WITHOUT_EFFECT

    def begin(self, world: World, actor: Actor) -> World | None:
        """Executing, or denied; ``None`` when the row is not this actor's to begin."""
        row, plan = world.rows[actor.call], self.plans[actor.call]
        if row.state != "intent" or row.gen != actor.gen:
            return None
        revert = plan.reverts >= 0
        stopped = world.frozen and not revert
        if self.bug is Bug.FREEZE_CHECKED_ONLY_WHEN_DECIDING:
            stopped = False
        stale = row.rev != world.rev and self.bug is not Bug.REVISION_NOT_CHECKED_AGAIN
        if stopped or stale or not self._approved(world, plan):
            return self.refuse(world, actor.call)
        after = self._moved(world, actor.call, "begin", "reverting" if revert else "executing")
        after = self._consumed(after, plan)
        if world.frozen and not revert:
            after = after._replace(fault="3: a call began after the freeze had answered")
        elif row.rev != world.rev:
            after = after._replace(fault="10: a call began that this policy did not judge")
        return after

    def _approved(self, world: World, plan: Plan) -> bool:
        if plan.approval < 0:
            return True
        asked = world.rows[plan.approval]
        outlived = asked.held_rev != world.rev and self.bug is not Bug.APPROVAL_OUTLIVES_POLICY
        if asked.approval != "approved" or outlived:
            return False
        same = self.plans[plan.approval].digest == plan.digest
        return same or self.bug is Bug.APPROVAL_FOR_ANY_DIGEST

    def _consumed(self, world: World, plan: Plan) -> World:
        if plan.approval < 0:
            return world
        holder = world.rows[plan.approval]
        kept = self.bug is Bug.APPROVAL_NOT_CONSUMED_IN_BEGIN
        state = "approved" if kept else "used"
        holder = holder._replace(begins=min(2, holder.begins + 1), approval=state)
        world = with_row(world, plan.approval, holder)
        if self.plans[plan.approval].digest != plan.digest:
            return world._replace(fault="6: an approval began a call with another digest")
        if holder.held_rev != world.rev:
            return world._replace(fault="6: an approval was used under another policy")
        return world

    # --- running ----------------------------------------------------------------------------

    def permit(self, world: World, actor: Actor) -> World | None:
        """``None`` when no permit is given."""
        row = world.rows[actor.call]
        stale = row.gen != actor.gen and self.bug is not Bug.STALE_GENERATION_MAY_PERMIT
        if row.state not in RUNNING_STATES or stale or row.permit:
            return None
        revert = row.state == "reverting"
        ignored = (Bug.PERMIT_IGNORES_THE_FREEZE, Bug.FREEZE_CHECKED_ONLY_WHEN_DECIDING)
        if world.frozen and not revert and self.bug not in ignored:
            return None
        durable = self.bug is not Bug.PERMIT_WITHOUT_UNDO
        after = self._moved(world, actor.call, "permit", row.state, permit=True, undo=durable)
        if world.frozen and not revert:
            after = after._replace(fault="3: a call got its permit after the freeze had answered")
        return after

    def settle(self, world: World, actor: Actor, state: str, effect: str) -> World | None:
        """``None``: the generation was taken over, or the row is settled already."""
        row = world.rows[actor.call]
        stale = row.gen != actor.gen and self.bug is not Bug.STALE_GENERATION_MAY_SETTLE
        unsettled = row.state in RUNNING_STATES or row.state == "unknown"
        if self.bug is Bug.SETTLE_OVERWRITES_SETTLED:
            stale, unsettled = False, row.state not in ("received", "denied", "held", "intent")
        if stale or not unsettled or row.state == state:
            return None
        if row.state == "unknown" and state in ("reverted", "conflict"):
            state = "succeeded" if state == "reverted" else "failed"
        return self._moved(world, actor.call, "settle", state, effect=effect)

    # --- recovery ---------------------------------------------------------------------------

    def take_over(self, world: World, call: int) -> tuple[World, Actor | None]:
        row = world.rows[call]
        if row.state == "intent":
            return self._moved(world, call, "recover", "failed", gen=row.gen + 1, effect=NONE), None
        after = self._moved(world, call, "recover", row.state, gen=row.gen + 1)
        return after, Actor(call, "taken", row.gen + 1, saw=row.permit)

    def resolve(self, world: World, call: int) -> World:
        """An unknown outcome that a probe or a person has settled, truly."""
        happened = world.rows[call].eff > 0
        return self._moved(
            world,
            call,
            "settle",
            "succeeded" if happened else "failed",
            effect=APPLIED if happened else NONE,
        )

    def claim_of(self, row: Row) -> str:
        """What a reply made from this row says about the effect."""
        return row.effect if row.state in SETTLED_STATES else UNKNOWN
