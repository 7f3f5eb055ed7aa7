"""The rules: what an actor, the target and the people may do next in a world.

The walk of an owner: new -> decided -> intended -> begun -> ran -> permitted -> waiting ->
(won | lost | unsure), then the row is settled and the actor is gone. A recoverer starts at
``taken``. Any actor may pause for ever or die between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model.bugs import Bug
from tests.model.store import RUNNING_STATES, SETTLED_STATES, Moves
from tests.model.target import Target
from tests.model.world import (
    APPLIED,
    CLAIMS,
    NONE,
    UNKNOWN,
    Actor,
    Bounds,
    Plan,
    World,
    joined,
    with_actor,
    with_row,
)

Steps = Iterator[tuple[str, World]]
# Where an actor that is still going to send a request, or to commit, can stand.
MAY_STILL_SEND = {"permitted", "taken"}


class Walk:
    def __init__(self, plans: tuple[Plan, ...], bounds: Bounds, bug: Bug | None = None) -> None:
        self.plans = plans
        self.bounds = bounds
        self.bug = bug
        self.moves = Moves(plans, bug)
        self.target = Target(plans, bug)
        self._rules: dict[str, Callable[[World, Actor], Steps]] = {
            "new": self._decide,
            "decided": self._intend,
            "intended": self._begin,
            "unaudited": self._write_entry,
            "begun": self._run,
            "ran": self._capture,
            "permitted": self._land,
            "waiting": self._wait,
            "won": self._won,
            "lost": self._lost,
            "conflicted": self._conflicted,
            "unsure": self._unsure,
            "taken": self._ask,
        }

    def successors(self, world: World) -> Steps:
        if world.fault:
            return
        for actor in dict.fromkeys(world.actors):
            for label, after in self._rules[actor.at](world, actor):
                yield f"call {actor.call} (generation {actor.gen}): {label}", after
            if world.deaths:
                dead = with_actor(world, actor, None)._replace(deaths=world.deaths - 1)
                yield f"call {actor.call} (generation {actor.gen}): its process dies", dead
        yield from self.target.steps(world)
        yield from self._recoveries(world)
        yield from self._people(world)

    # --- replies ----------------------------------------------------------------------------

    def _replied(self, world: World, actor: Actor, claim: str, about: int | None = None) -> World:
        """The actor is done: its reply claims ``claim`` about the effect of its call, or of the
        call ``about`` whose outcome it replays."""
        call = actor.call if about is None else about
        row = world.rows[call]
        world = with_row(world, call, row._replace(said=row.said | CLAIMS[claim]))
        return with_actor(world, actor, None)

    def _stored(
        self, before: World, after: World, actor: Actor, nxt: Actor, label: str, claim: str
    ) -> Steps:
        """A store write, which may fail or lose its answer: then the owner rolls back, says
        ``claim`` and gives up."""
        yield label, with_actor(after, actor, nxt)
        if before.outages:
            yield f"{label}: the store fails", self._gave_up(before, actor, claim)
            yield f"{label}: the answer is lost", self._gave_up(after, actor, claim)

    def _gave_up(self, world: World, actor: Actor, claim: str) -> World:
        world = self.target.roll_back(world, actor.call)
        world = world._replace(outages=world.outages - 1)
        return self._replied(world, actor, claim)

    # --- the owner --------------------------------------------------------------------------

    def _decide(self, world: World, actor: Actor) -> Steps:
        plan, row = self.plans[actor.call], world.rows[actor.call]
        decided = actor._replace(at="decided", rev=world.rev)
        if self.bug is Bug.DISPATCH_BEFORE_INTENT:
            opened = self.target.open(world, actor.call)
            yield "dispatched", with_actor(opened, actor, actor._replace(at="permitted"))
        if plan.may_deny or (world.frozen and plan.reverts < 0):
            refused = self.moves.refuse(world, actor.call)
            yield "denied by policy", self._replied(refused, actor, NONE)
        if world.frozen and plan.reverts < 0:
            return
        if plan.approval == actor.call and row.state == "received":
            held = self.moves.hold(world, actor.call)
            yield "held for a person", with_actor(held, actor, None)
            return
        late = self.bug is Bug.IDENTICAL_CALLS_COMPARED_ONLY_WHEN_DECIDING
        if late and self.moves.twin_of(world, actor.call) is not None:
            yield "the same call has not ended", self._replied(world, actor, NONE)
            return
        yield "allowed by policy", with_actor(world, actor, decided)

    def _intend(self, world: World, actor: Actor) -> Steps:
        plan, row = self.plans[actor.call], world.rows[actor.call]
        if plan.may_deny and row.state == "held":
            refused = self.moves.refuse(world, actor.call)
            yield "denied by policy after the approval", self._replied(refused, actor, NONE)
        after = self.moves.intend(world, actor.call, actor.rev)
        if after is None:
            other = self.moves.taken_by(world, actor.call)
            if other is None:
                other = self.moves.twin_of(world, actor.call)
            shown = actor.call if other is None else other
            unmoved = world.rows[shown].state == "received"
            claim = NONE if unmoved else self.moves.claim_of(world.rows[shown])
            yield "intent refused", self._replied(world, actor, claim, shown)
            return
        begun = actor._replace(at="intended", gen=1)
        yield from self._stored(world, after, actor, begun, "intent", NONE)

    def _begin(self, world: World, actor: Actor) -> Steps:
        after = self.moves.begin(world, actor)
        if after is None:
            yield "not its to begin", self._replied(world, actor, NONE)
            return
        if after.rows[actor.call].state == "denied":
            yield "begin refused", self._replied(after, actor, NONE)
            return
        at = "unaudited" if self.bug is Bug.AUDIT_AFTER_THE_MOVE else "begun"
        yield from self._stored(world, after, actor, actor._replace(at=at), "begin", NONE)

    def _write_entry(self, world: World, actor: Actor) -> Steps:
        row = world.rows[actor.call]
        written = with_row(world, actor.call, row._replace(debt=row.debt - 1))
        yield "audit entry", with_actor(written, actor, actor._replace(at="begun"))

    def _run(self, world: World, actor: Actor) -> Steps:
        """Runs in an open transaction, or reads before-images; nothing is visible yet."""
        if self.target.conflicts(world, actor.call):
            yield "conflict found", with_actor(world, actor, actor._replace(at="conflicted"))
            return
        if not self.target.free(world, actor.call):
            return  # waits for the lock of another transaction on the same row
        opened = self.target.open(world, actor.call)
        yield "ran", with_actor(opened, actor, actor._replace(at="ran"))

    def _capture(self, world: World, actor: Actor) -> Steps:
        rolled_back = self.target.roll_back(world, actor.call)
        lost = with_actor(rolled_back, actor, actor._replace(at="lost"))
        yield "too much, cancelled or not capturable: rolled back", lost
        state = "reverted" if self.plans[actor.call].reverts >= 0 else "succeeded"
        yield from self._settled(rolled_back, actor, state, NONE, "nothing to change")
        after = self.moves.permit(world, actor)
        if after is None:
            yield "permit refused: rolled back", lost
            return
        # A keyed request that holds a permit is sent by recovery, whoever gave up here.
        claim = UNKNOWN if self.plans[actor.call].tool == "B" else NONE
        permitted = actor._replace(at="permitted")
        yield from self._stored(world, after, actor, permitted, "permit", claim)
        if self.bug is Bug.COMMIT_WITHOUT_CONFIRMED_PERMIT and world.outages:
            failed = world._replace(outages=world.outages - 1)
            yield "permit: the store fails, unnoticed", with_actor(failed, actor, permitted)

    def _land(self, world: World, actor: Actor) -> Steps:
        sent = self.target.send(world, actor.call, actor.gen)
        yield "commit sent", with_actor(sent, actor, actor._replace(at="waiting"))
        if self.plans[actor.call].tool != "A":
            # Held up for too long: nothing is sent for what may have been taken over.
            yield "its permit grew old", with_actor(world, actor, actor._replace(at="lost"))
        if self.bug is Bug.CANCEL_AFTER_THE_PERMIT:
            yield "commit sent, cancelled", with_actor(sent, actor, actor._replace(at="lost"))

    def _wait(self, world: World, actor: Actor) -> Steps:
        for word in self.target.answers(world, actor.call):
            yield f"the target answers: {word}", with_actor(world, actor, actor._replace(at=word))
        at = "lost" if self.bug is Bug.TIMEOUT_MEANS_FAILED else "unsure"
        yield "no answer in time", with_actor(world, actor, actor._replace(at=at))
        yield from self._repeat(world, actor)

    def _repeat(self, world: World, actor: Actor) -> Steps:
        tool = self.plans[actor.call].tool
        careless = tool != "A" and self.bug is Bug.RETRY_SENDS_TO_AN_OPAQUE_TOOL
        if not world.repeats or (tool != "B" and not careless):
            return
        sent = self.target.send(world, actor.call, actor.gen)._replace(repeats=world.repeats - 1)
        yield "no answer, sent once more", with_actor(sent, actor, actor._replace(saw=True))

    def _won(self, world: World, actor: Actor) -> Steps:
        state = "reverted" if self.plans[actor.call].reverts >= 0 else "succeeded"
        yield from self._settled(world, actor, state, APPLIED, f"settle {state}")

    def _lost(self, world: World, actor: Actor) -> Steps:
        earlier = self.plans[actor.call].tool == "B" and actor.saw
        trusting = self.bug is Bug.OWNER_TRUSTS_AN_ERROR_AFTER_SILENCE
        if earlier and actor.gen == 1 and not trusting:
            # Its first request may still arrive; recovery asks again under the same key.
            yield "left to recovery", self._replied(world, actor, UNKNOWN)
            return
        if earlier and not trusting and self.bug is not Bug.ERROR_SETTLES_DESPITE_EARLIER_ATTEMPT:
            # The error is about this request; one of an earlier owner may still arrive.
            yield from self._settled(world, actor, "unknown", UNKNOWN, "settle unknown")
            return
        yield from self._settled(world, actor, "failed", NONE, "settle failed")

    def _conflicted(self, world: World, actor: Actor) -> Steps:
        yield from self._settled(world, actor, "conflict", NONE, "settle conflict")

    def _unsure(self, world: World, actor: Actor) -> Steps:
        claim = NONE if self.bug is Bug.TIMEOUT_REPLIES_NO_EFFECT else UNKNOWN
        if self.plans[actor.call].tool in "AB":
            yield "left to recovery", self._replied(world, actor, claim)
        else:
            yield from self._settled(world, actor, "unknown", claim, "settle unknown")

    def _settled(self, world: World, actor: Actor, state: str, effect: str, label: str) -> Steps:
        after = self.moves.settle(world, actor, state, effect)
        if after is None and effect == APPLIED and world.rows[actor.call].state == "unknown":
            # The answer came after recovery had given up: it is the truth that was missing.
            late = self.moves.resolve(world, actor.call)
            yield f"{label}: late", self._replied(late, actor, APPLIED)
            return
        if after is None:
            claim = self.moves.claim_of(world.rows[actor.call])
            yield f"{label}: taken over", self._replied(world, actor, claim)
            return
        yield label, self._replied(after, actor, effect)
        if world.outages:
            # Unrecorded, a keyed request without effect is sent again by recovery.
            resent = self.plans[actor.call].tool == "B" and world.rows[actor.call].permit
            lost = self._replied(world, actor, UNKNOWN if resent else effect)
            yield f"{label}: the store fails", lost._replace(outages=world.outages - 1)

    # --- recovery ---------------------------------------------------------------------------

    def _recoveries(self, world: World) -> Steps:
        for call, row in enumerate(world.rows):
            forgotten = row.state == "intent" and self.bug is Bug.RECOVERY_FORGETS_INTENTS
            if forgotten or row.gen >= self.bounds.generations:
                continue
            if row.state == "intent" or row.state in RUNNING_STATES:
                after, actor = self.moves.take_over(world, call)
                if actor is not None:
                    after = joined(after, actor)
                yield f"call {call}: its lease has run out, recovery takes it over", after
        for call, row in enumerate(world.rows):
            if row.state == "unknown" and self._can_tell(world, call):
                yield f"call {call}: a probe or a person tells", self.moves.resolve(world, call)

    def _can_tell(self, world: World, call: int) -> bool:
        """Nothing of any generation can arrive any more."""
        if self.bug is Bug.PROBE_WITHOUT_FENCE:
            return True
        if self.bug is Bug.PERMIT_NEVER_AGES:
            return not world.rows[call].wire
        sending = MAY_STILL_SEND | ({"waiting"} if world.repeats else set())
        at_work = any(a.call == call and a.at in sending for a in world.actors)
        return not at_work and not world.rows[call].wire

    def _ask(self, world: World, actor: Actor) -> Steps:
        """A recoverer with the record it took over: what it saw then decides."""
        tool = self.plans[actor.call].tool
        blind = (
            {
                Bug.RECOVERY_FAILS_WITHOUT_ASKING: "lost",
                Bug.RECOVERY_SUCCEEDS_WITHOUT_ASKING: "won",
            }.get(self.bug)
            if self.bug is not None
            else None
        )
        if blind is not None:
            yield "assumes", with_actor(world, actor, actor._replace(at=blind, saw=False))
        elif not actor.saw:
            yield "no permit, no effect", with_actor(world, actor, actor._replace(at="lost"))
        elif tool == "A":
            verdict = self.target.happened(world, actor.call)
            if verdict is not None:
                yield "asks the target", with_actor(world, actor, actor._replace(at=verdict))
        elif tool == "B" or self._careless(actor.call):
            sent = self.target.send(world, actor.call, actor.gen)
            yield "sends again", with_actor(sent, actor, actor._replace(at="waiting"))
        else:
            yield "cannot tell", with_actor(world, actor, actor._replace(at="unsure"))

    def _careless(self, call: int) -> bool:
        again = self.bug is Bug.RESUME_SENDS_A_COMPENSATION_AGAIN and self.plans[call].reverts >= 0
        return again or self.bug is Bug.RECOVERY_RESENDS_TO_AN_OPAQUE_TOOL

    # --- people, policy and other writers ---------------------------------------------------

    def _people(self, world: World) -> Steps:
        yield from self._freezes(world)
        if world.revisions:
            yield "policy changes", world._replace(rev=world.rev + 1, revisions=0)
        for call, row in enumerate(world.rows):
            if row.state == "held" and row.approval == "waiting":
                approved = with_row(world, call, row._replace(approval="approved"))
                yield f"call {call}: approved", approved
                rejected = with_row(world, call, row._replace(approval="rejected"))
                yield f"call {call}: rejected", self.moves.refuse(rejected, call)
            if row.approval == "approved":
                expired = with_row(world, call, row._replace(approval="expired"))
                yield f"call {call}: the approval runs out", expired
            if row.approval == "approved" and world.resumes:
                again = Actor(call, "decided", rev=world.rev)
                after = joined(world, again)._replace(resumes=world.resumes - 1)
                yield f"call {call}: resumed", after

    def _freezes(self, world: World) -> Steps:
        """A freeze does not stop reverts, but it lists those that run, and ``drained`` waits for
        them too."""
        rows = list(enumerate(world.rows))
        if not world.frozen:
            if world.freezes:
                may_land = {*RUNNING_STATES, "unknown"}
                listed = sum(1 << call for call, row in rows if row.state in may_land)
                left = world.freezes - 1
                yield "freeze", world._replace(frozen=True, listed=listed, freezes=left)
            return
        yield "freeze lifted", world._replace(frozen=False, listed=0, drained=False, unknowns=0)
        waits = any(row.state in RUNNING_STATES for row in world.rows)
        if not world.drained and (not waits or self.bug is Bug.DRAINED_WITHOUT_WAITING):
            unknowns = sum(1 << call for call, row in rows if row.state == "unknown")
            yield "drained", world._replace(drained=True, unknowns=unknowns)


def is_open(state: str) -> bool:
    return state not in SETTLED_STATES and state not in ("received", "held", "unknown")
