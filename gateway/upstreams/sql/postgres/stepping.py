"""What the step of a revert says of one call, as that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.model import LISTED, Conflict, Step

NOTHING = "nothing to restore"


def acting(step: Step, what: str) -> Step:
    """Says that ``what`` is done, beside what was done before."""
    return replace(step, action=what if step.action == NOTHING else f"{step.action}; {what}")


def disputed(step: Step, found: Sequence[Conflict]) -> Step:
    """Nothing of the call is taken back, because of ``found``."""
    return replace(
        step,
        state="conflict",
        restored=0,
        conflicts=tuple(found[:LISTED]),
        more=max(0, len(found) - LISTED),
        reason="revert.conflict",
    )


def not_done(step: Step) -> Step:
    """What is left of a step after everything was rolled back."""
    return replace(step, restored=0, state="skipped" if step.state == "reverted" else step.state)
