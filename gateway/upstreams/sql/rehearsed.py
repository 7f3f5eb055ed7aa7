"""What a rehearsal that did not pass answers: the same for every database."""

from __future__ import annotations

from gateway.model import Deny


def inexact(why: str) -> Deny:
    return Deny(
        reason="undo.inexact",
        detail=f"The way back was tried before the change landed and is not exact: {why}. "
        "Nothing was changed.",
    )


def cannot(why: str) -> Deny:
    """A rehearsal was demanded and is not to be had."""
    return Deny(
        reason="undo.unavailable",
        detail="Policy demands that the way back is rehearsed before the change lands: "
        f"{why.rstrip('.')}. It was rolled back.",
    )
