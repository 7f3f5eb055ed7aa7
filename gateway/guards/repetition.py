"""An agent that sends the same refused or failing call over and over is told so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gateway.interfaces import CallRecords, Clock
from gateway.model import Action, ActionClass, Call, Decision, Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class RepetitionLimits:
    """``most`` identical calls may be denied or fail ``within`` a window; ``None``: any number."""

    most: int | None = 10
    within: timedelta = timedelta(seconds=300)


class Repetition:
    """``Guard``, and the first look only: the store counts again where it records the intent, so
    that calls which come at once do not all pass. Refusals that ask for a repetition (a freeze, an
    overload, an approval) do not count, nor do its own: once the others are old enough, the call is
    looked at again."""

    def __init__(self, store: CallRecords, clock: Clock, limits: RepetitionLimits) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits

    async def check(self, call: Call, action: Action, decision: Decision) -> Decision:
        most = self._limits.most
        denied = isinstance(decision, Deny)
        if most is None or call.reverts or (action.cls is ActionClass.READ and not denied):
            return decision
        if isinstance(decision, Deny) and decision.reason == "frozen":
            return decision  # said first, whatever else there is to say
        since = self._clock.now() - self._limits.within
        missed = await self._store.repeated(call.subject.id, call.digest, since=since)
        if missed < most:
            return decision
        why = (
            f" The last answer still holds: {decision.detail}" if isinstance(decision, Deny) else ""
        )
        return Deny(
            reason="repetition",
            detail=f"This same call was refused or failed {missed} times in a short time. "
            f"Repeating it does not help: change it, or ask a person.{why}",
            reasons=decision.reasons,
            extra={"times": missed, "within_s": self._limits.within.total_seconds()},
            revision=decision.revision,
        )
