"""One decision: policy over the parsed action, then the guards, which can only tighten it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from gateway.interfaces import (
    Clock,
    Context,
    CounterStore,
    FreezeStore,
    FreezeWindows,
    Guard,
    Policy,
)
from gateway.measuring import executes
from gateway.model import (
    Action,
    ActionClass,
    Allow,
    Approval,
    Call,
    Decision,
    Deny,
    Freeze,
    Hold,
    Json,
    Measured,
    Obligations,
    Reach,
    Reversibility,
    Surface,
)

_SHOWN_MOST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """The pure parts of the guards, handed in so that the walk knows no guard by name."""

    reach: Callable[[Call, Action, tuple[str, ...]], Reach]
    frozen: Callable[[Reach, tuple[Freeze, ...], datetime], Deny | None]
    extent: Callable[[Measured, Obligations], Deny | None]
    guards: tuple[Guard, ...] = ()


class DecidingStore(FreezeStore, CounterStore, Protocol):
    """What a decision looks up."""


class Decider:
    """``judges`` are consulted after ``policy``; the stored freezes are read for policy to see and
    to refuse early, while the store alone makes the freeze linearizable."""

    def __init__(
        self,
        *,
        policy: Policy,
        judges: Judges,
        windows: FreezeWindows,
        store: DecidingStore,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._judges = judges
        self._windows = windows
        self._store = store
        self._clock = clock
        # By identity, with the action itself, so that no other one can have the same.
        self._shown: dict[int, tuple[Action, Mapping[str, Json]]] = {}

    @property
    def revision(self) -> str:
        return self._policy.revision

    def windows(self) -> tuple[Freeze, ...]:
        """The recurring freezes in force now."""
        return self._windows.active(self._clock.now())

    def reach(self, call: Call, action: Action, tables: tuple[str, ...] = ()) -> Reach:
        return self._judges.reach(call, action, tables)

    def extent(self, measured: Measured, obligations: Obligations) -> Deny | None:
        return self._judges.extent(measured, obligations)

    def document(self, call: Call, action: Action, context: Context) -> dict[str, Json]:
        return self._policy.document(call, action, context)

    def action_json(self, call: Call, action: Action) -> Mapping[str, Json]:
        """The action as policy sees it, for the call's row."""
        known = self._shown.get(id(action))
        if known is not None and known[0] is action:
            return known[1]
        document = self.document(call, action, Context(time=call.received_at))
        shown: Mapping[str, Json] = document["action"]
        return shown

    def _judged(self, action: Action, document: Mapping[str, Json]) -> None:
        """Keeps what policy was shown until the call's row is written, a moment later."""
        while len(self._shown) >= _SHOWN_MOST:
            del self._shown[next(iter(self._shown))]
        self._shown[id(action)] = (action, document["action"])

    async def decide(self, call: Call, action: Action) -> Decision:
        decision = await self.judge(call, action, await self.context(call))
        for guard in self._judges.guards:
            decision = await guard.check(call, action, decision)
        return decision

    async def judge(self, call: Call, action: Action, context: Context) -> Decision:
        if not action.effects and action.cls is not ActionClass.READ:
            # `every` over nothing is true in Rego: an action without effects never reaches it.
            return Deny(reason="action.unsupported", detail="The action's effects are not known.")
        decision = await self._decided(call, action, context)
        reach = self._judges.reach(call, action, ())
        stopped = self._judges.frozen(reach, context.freezes, context.time)
        if stopped is not None:
            # Said first, whatever policy says too: it is what people have to see and undo.
            reasons = decision.reasons if isinstance(decision, Deny) else ()
            return replace(stopped, reasons=reasons, revision=decision.revision)
        if isinstance(decision, Deny):
            return decision
        return _agreed(action, _kept(action, decision), context)

    async def _decided(self, call: Call, action: Action, context: Context) -> Decision:
        if call.surface is Surface.ADMIN:
            # No agent's call, so no agent's policy: what an admin does for good waits for a person.
            return Hold(
                reasons=("this cannot be taken back",),
                obligations=Obligations(irreversible=True),
                revision=self._policy.revision,
            )
        document = self._policy.document(call, action, context)
        self._judged(action, document)
        return await self._policy.decide(document)

    async def context(
        self,
        call: Call,
        *,
        measured: Measured | None = None,
        approval: Approval | None = None,
    ) -> Context:
        now = self._clock.now()
        stored = await self._store.freezes()
        active = tuple(f for f in (*self._windows.active(now), *stored) if f.active(now))
        return Context(
            time=now,
            freezes=active,
            measured=measured,
            counters=await self._store.counters(call),
            reason=call.reason,
            approval=approval,
        )


def _agreed(action: Action, decision: Decision, context: Context) -> Decision:
    """Code of users runs only once a person has agreed to it, whatever policy says."""
    approved = context.approval is not None and context.approval.state == "approved"
    if approved or not isinstance(decision, Allow) or not executes(action):
        return decision
    return Hold(
        reasons=("what the code does is known only once it has run",),
        obligations=decision.obligations,
        revision=decision.revision,
    )


def _kept(action: Action, decision: Allow | Hold) -> Decision:
    """``decision``, unless it demands or allows what cannot be done as demanded."""
    irreversible = action.reversibility is Reversibility.IRREVERSIBLE
    if irreversible and not decision.obligations.irreversible:
        return Deny(
            reason="undo.unavailable",
            detail=f"This cannot be undone exactly: {action.why_irreversible}. Policy does not "
            "allow it to run without a way back.",
            revision=decision.revision,
        )
    accepted = decision.obligations.inexact or decision.obligations.irreversible
    if action.why_inexact is not None and not accepted:
        return Deny(
            reason="undo.inexact",
            detail=f"The way back would not restore everything: {action.why_inexact}. Policy does "
            "not allow it to run like that.",
            revision=decision.revision,
        )
    return decision
