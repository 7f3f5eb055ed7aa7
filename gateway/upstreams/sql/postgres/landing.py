"""The commit, and what can be said about it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Outcome
from gateway.upstreams.sql.postgres.failures import lost, upstream_error
from gateway.upstreams.sql.postgres.session import Session

Ask = Callable[[str], Awaitable[EffectState]]

_PATIENCE_S = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)  # a server that lost its client ends by itself

_STATUS = {"committed": EffectState.APPLIED, "aborted": EffectState.NONE}


async def status(session: Session, receipt: str) -> EffectState:
    """What became of the transaction ``receipt``; ``UNKNOWN`` while it runs, or when the server
    does not know it (any more)."""
    if not receipt.isdecimal():
        return EffectState.UNKNOWN
    try:
        found = await session.one("SELECT pg_catalog.pg_xact_status(%s::text::xid8)", receipt)
    except psycopg.errors.InvalidParameterValue:
        # From the future: this is not the server that gave it, or it was set back.
        return EffectState.UNKNOWN
    return _STATUS.get(found[0] or "", EffectState.UNKNOWN)


async def land(
    session: Session, receipt: str, landed: Outcome, *, ask: Ask, source: str
) -> Outcome:
    """Commits and returns ``landed``, or the truth: ``failed`` only when the server says that the
    transaction is gone."""
    try:
        tag = await session.command("COMMIT")
    except psycopg.Error as error:
        return await _told(receipt, landed, error, ask=ask, source=source)
    if tag == "COMMIT":
        return landed
    return _failed(
        Deny(reason="upstream.failed", detail="The transaction had failed and was rolled back.")
    )


async def _told(
    receipt: str, landed: Outcome, error: psycopg.Error, *, ask: Ask, source: str
) -> Outcome:
    for pause in _PATIENCE_S:
        await asyncio.sleep(pause)
        effect = await ask(receipt)
        if effect is EffectState.APPLIED:
            return landed
        if effect is EffectState.NONE:
            told = upstream_error(error, source)
            return _failed(Deny(reason=told.reason, detail=told.detail, extra=told.extra))
    what = "connection was lost" if lost(error) else "server failed"
    return Outcome(
        state=State.UNKNOWN,
        effect=EffectState.UNKNOWN,
        refusal=Deny(
            reason="outcome.unknown",
            detail=f"The {what} during COMMIT, and the server cannot be asked what became of it.",
            effect=EffectState.UNKNOWN,
        ),
    )


def _failed(refusal: Deny) -> Outcome:
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)
