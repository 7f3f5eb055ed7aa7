"""The commit, and what can be said about it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Outcome
from gateway.upstreams.sql.mysql.pool import Lent

Ask = Callable[[str], Awaitable[EffectState]]

_PATIENCE_S = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)  # a server that lost its client ends by itself


async def land(lent: Lent, receipt: str, landed: Outcome, *, ask: Ask) -> Outcome:
    """Commits and returns ``landed``, or the truth: ``failed`` only when the receipt can never be
    written any more."""
    try:
        await lent.do(lambda session: session.run("COMMIT"))
    except UpstreamError as error:
        return await told(receipt, landed, error, ask)
    return landed


async def told(receipt: str, landed: Outcome, error: UpstreamError, ask: Ask) -> Outcome:
    """After a failure that may have come after the effect: what the target says."""
    for pause in _PATIENCE_S:
        await asyncio.sleep(pause)
        effect = await ask(receipt)
        if effect is EffectState.APPLIED:
            return landed
        if effect is EffectState.NONE:
            refusal = Deny(reason=error.reason, detail=error.detail, extra=error.extra)
            return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)
    return Outcome(
        state=State.UNKNOWN,
        effect=EffectState.UNKNOWN,
        refusal=Deny(
            reason="outcome.unknown",
            detail="The server failed while it committed, and cannot be asked what became of it.",
            effect=EffectState.UNKNOWN,
        ),
    )
