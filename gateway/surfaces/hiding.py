"""Images, conflicts and results without the columns that may not be shown: those of the
configuration, and those that policy demanded of the call that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway.model import CallRecord, Conflict, Deny, Json, Redaction, Step
from gateway.surfaces.wiring import Gateway

# What a database says in its own words.
_QUOTING = ("message", "server_detail", "hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """``calls``: what is hidden of some calls beyond ``always``. ``own``: whether the visitor is
    the agent itself, who has seen its results already."""

    always: Redaction = field(default_factory=Redaction)
    calls: Mapping[str, Redaction] = field(default_factory=dict)
    own: bool = True

    def image(self, call: str, shown: Mapping[str, Json]) -> dict[str, Json]:
        return self._of(call).image(shown)

    def conflict(self, call: str, conflict: Conflict) -> dict[str, Json]:
        return self._of(call).image(conflict.as_json())

    def step(self, step: Step) -> dict[str, Json]:
        conflicts = [self.conflict(step.call, conflict) for conflict in step.conflicts]
        return {**step.as_json(), "conflicts": conflicts}

    def result(self, record: CallRecord) -> Json:
        """Policy's demands were met when the call ran; the configuration's hide whole results, as
        nobody knows any more where their columns are from."""
        outcome = record.outcome
        if outcome is None or outcome.result is None:
            return None
        if self.own or not self.always.reached_by_json(record.action):
            return outcome.result
        return self.always.result(outcome.result)

    def refusal(self, record: CallRecord) -> Deny | None:
        """Without the target's own words, which can quote rows."""
        refusal = None if record.outcome is None else record.outcome.refusal
        if refusal is None or self.own or not self.always.reached_by_json(record.action):
            return refusal
        if not any(name in refusal.extra for name in _QUOTING):
            return refusal
        extra = {name: told for name, told in refusal.extra.items() if name not in _QUOTING}
        detail = "The target refused this. What it said is withheld: it could quote columns."
        return replace(refusal, detail=detail, extra=extra)

    def _of(self, call: str) -> Redaction:
        return self.always | self.calls.get(call, Redaction())


async def hiding(gateway: Gateway, calls: Iterable[str], *, own: bool) -> Hiding:
    """For a view of these calls, or of what takes them back."""
    found: dict[str, Redaction] = {}
    for call in dict.fromkeys(calls):
        record = await gateway.store.call(call)
        demanded = demanded_of(record)
        if demanded:
            found[call] = demanded
    return Hiding(always=gateway.redaction, calls=found, own=own)


def demanded_of(record: CallRecord | None) -> Redaction:
    decision = None if record is None else record.decision
    obligations = (decision or {}).get("obligations") or {}
    return Redaction(patterns=tuple(obligations.get("redact", ())))


def taken_back(records: Iterable[CallRecord]) -> list[str]:
    """The calls whose conflicts stand in these calls' outcomes."""
    outcomes = [record.outcome for record in records if record.outcome is not None]
    return [step.call for outcome in outcomes for step in outcome.steps if step.conflicts]
