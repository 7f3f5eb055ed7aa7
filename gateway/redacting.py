"""Columns that policy keeps from the agent: demanded of the attempt, or the call is refused."""

from __future__ import annotations

from gateway.interfaces import Attempt, Redacting
from gateway.model import Action, Deny, Obligations, Redaction


def redact(attempt: Attempt, action: Action, demanded: Obligations) -> Deny | None:
    """Before anything runs."""
    if not demanded.redact:
        return None
    if not isinstance(attempt, Redacting):
        return _unable("this target's answers have no columns that could be told apart")
    redaction = Redaction(patterns=demanded.redact)
    attempt.redact(redaction, exposed=redaction.reached_by(action))
    return None


def still(before: Obligations, after: Obligations) -> Deny | None:
    """Whether what is demanded once the extent is known was done when the call ran."""
    if set(after.redact) <= set(before.redact):
        return None
    return _unable("it demands that only after the call had run")


def _unable(why: str) -> Deny:
    # Demanded and not done would be worse than refused.
    return Deny(
        reason="policy.unavailable",
        detail=f"Policy demands that columns are not shown, which cannot be done: {why}.",
    )
