"""Whether a call's way back is tried before it commits, and what follows when it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.interfaces import Attempt, Captured, Probe, Rehearsing, no_probe
from gateway.model import Action, ActionClass, Deny, Measured, Obligations, Reversibility

# The obligations of every decision on one call; a demand by any of them counts.
Demands = tuple[Obligations, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsals:
    """``rows``: destructive calls up to this many rows are rehearsed unasked, where the upstream
    can; 0 for none."""

    rows: int = 0
    probe: Probe = no_probe

    async def capture(
        self, attempt: Attempt, action: Action, measured: Measured, demands: Demands
    ) -> Captured | Deny:
        """Captures, then rehearses if policy demands it or by the default above."""
        captured = await attempt.capture()
        if isinstance(captured, Deny):
            return captured
        self.probe("walk.captured")
        refusal = await self._rehearse(attempt, captured, action, measured, demands)
        if refusal is not None:
            return refusal
        self.probe("walk.rehearsed")
        return captured

    async def _rehearse(
        self,
        attempt: Attempt,
        captured: Captured,
        action: Action,
        measured: Measured,
        demands: Demands,
    ) -> Deny | None:
        demanded = any(o.rehearse for o in demands)
        if not demanded and not self._unasked(action, measured, demands):
            return None
        exact = captured.undo.reversibility is Reversibility.EXACT
        if exact and isinstance(attempt, Rehearsing):
            return await attempt.rehearse(demanded=demanded)
        return cannot("this target has no way to try it") if demanded else None

    def _unasked(self, action: Action, measured: Measured, demands: Demands) -> bool:
        if action.cls is not ActionClass.DESTRUCTIVE or any(o.rehearse is False for o in demands):
            return False
        return measured.rows <= self.rows


def cannot(why: str) -> Deny:
    """A rehearsal was demanded and is not to be had."""
    return Deny(
        reason="undo.unavailable",
        detail=f"Policy demands that the way back is rehearsed before the change lands: {why}. "
        "It was rolled back.",
    )
