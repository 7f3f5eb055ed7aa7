"""How a call comes on record: refused, held, or with an intent. For every store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.ledger.journal import note_move, shown
from gateway.ledger.tables import Tables
from gateway.lifecycle import REVERTIBLE, Move, State, move
from gateway.model import (
    Approval,
    Call,
    CallRecord,
    Deny,
    EffectState,
    Hold,
    Intent,
    Json,
    Measured,
    Outcome,
    Reach,
    UndoInfo,
)

APPROVAL_TTL = timedelta(hours=24)


def refuse(
    tables: Tables,
    now: datetime,
    call: Call,
    refusal: Deny,
    action: Mapping[str, Json] | None,
    reach: Reach | None,
) -> None:
    held = tables.call(call.id)
    if held is not None:
        deny(tables, now, held, refusal)
        return
    record = _new(call, State.RECEIVED, now, action, reach, None)
    deny(tables, now, record, refusal)


def deny(tables: Tables, now: datetime, record: CallRecord, refusal: Deny) -> None:
    """received | held | intent -> denied, with the approval and the claims given up."""
    denied = replace(
        record,
        state=move(record.state, Move.DENY, State.DENIED),
        outcome=Outcome(state=State.DENIED, effect=refusal.effect, refusal=refusal),
        effect=refusal.effect,
        lease_until=None,
        updated_at=now,
    )
    tables.put_call(denied)
    if denied.approval is not None:
        approval = tables.approval(denied.approval)
        if approval is not None and approval.state in ("waiting", "approved"):
            ended = "rejected" if refusal.reason == "approval.rejected" else "expired"
            tables.put_approval(replace(approval, state=ended))
    release_claims(tables, denied, ())
    note_move(
        tables, now, Move.DENY, record.state, denied, revision=refusal.revision, **shown(refusal)
    )


def hold(
    tables: Tables,
    now: datetime,
    approval_id: str,
    call: Call,
    held: Hold,
    action: Mapping[str, Json],
    reach: Reach,
    measured: Measured | None,
) -> Approval | Deny:
    taken = _key_taken(tables, call)
    if taken is not None:
        return taken
    ttl = held.obligations.approval_ttl
    approval = Approval(
        id=approval_id,
        call=call.id,
        digest=call.digest,
        revision=held.revision,
        reasons=held.reasons,
        obligations=held.obligations,
        state="waiting",
        created_at=now,
        expires_at=now + (timedelta(seconds=ttl) if ttl is not None else APPROVAL_TTL),
    )
    record = replace(
        _new(call, State.RECEIVED, now, action, reach, None),
        state=move(State.RECEIVED, Move.HOLD, State.HELD),
        approval=approval.id,
        measured=measured.as_json() if measured else None,
    )
    tables.put_call(record)
    tables.put_approval(approval)
    note_move(
        tables,
        now,
        Move.HOLD,
        State.RECEIVED,
        record,
        revision=held.revision,
        reasons=list(held.reasons),
        measured=record.measured,
    )
    return approval


def intend(
    tables: Tables,
    now: datetime,
    call: Call,
    action: Mapping[str, Json],
    reach: Reach,
    decision: Mapping[str, Json],
    approval: str | None,
) -> Intent | Deny:
    held = tables.call(call.id)
    if held is None:
        refusal = _key_taken(tables, call) or _claimed(tables, call, now)
        record = _new(call, State.RECEIVED, now, action, reach, decision)
    else:
        refusal = None if held.state is State.HELD else _in_progress(held)
        record = replace(held, action=action, reach=reach, decision=decision)
    if refusal is not None:
        return refusal
    for target in call.reverts:
        claimed = tables.call(target)
        assert claimed is not None
        tables.put_call(replace(claimed, reverted_by=call.id))
    before = record.state
    record = replace(
        record,
        state=move(before, Move.INTEND, State.INTENT),
        approval=approval,
        updated_at=now,
    )
    tables.put_call(record)
    note_move(
        tables,
        now,
        Move.INTEND,
        before,
        record,
        decision=decision.get("decision"),
        revision=decision.get("revision"),
        reach=reach.as_json(),
    )
    return Intent.issue(call.id, record.generation)


def _key_taken(tables: Tables, call: Call) -> Deny | None:
    if call.idempotency_key is None:
        return None
    earlier = tables.call_by_key(call.subject.id, call.idempotency_key)
    if earlier is None or earlier.call.id == call.id:
        return None
    if earlier.call.digest != call.digest:
        return Deny(
            reason="idempotency.mismatch",
            detail="This idempotency key was used for another call. Use a new key.",
            extra={"call": earlier.call.id},
        )
    return _in_progress(earlier)


def _in_progress(earlier: CallRecord) -> Deny:
    unknown = earlier.state is State.UNKNOWN
    return Deny(
        reason="idempotency.unknown" if unknown else "idempotency.in_progress",
        detail="A call with this idempotency key is on record and has not ended. Poll it.",
        extra={"call": earlier.call.id, "state": str(earlier.state)},
        effect=EffectState.NONE,
    )


def _claimed(tables: Tables, call: Call, now: datetime) -> Deny | None:
    """Why one of the calls to revert cannot be claimed now."""
    for id in call.reverts:
        target = tables.call(id)
        why = None
        if target is None or target.state not in REVERTIBLE:
            why = "it did not succeed"
        elif target.reverted_by is not None:
            why = f"{target.reverted_by} has claimed or reverted it"
        elif not target.undo.available:
            why = "it has no way back"
        elif target.undo.expires_at is not None and target.undo.expires_at <= now:
            why = "its images have expired"
        if why is not None:
            return Deny(
                reason="revert.not_revertible",
                detail=f"The call {id} cannot be reverted: {why}.",
                extra={"target": id, "why": why},
            )
    return None


def release_claims(tables: Tables, revert: CallRecord, kept: set[str] | tuple[()]) -> None:
    """Gives the calls that a revert did not take back to whoever tries next."""
    for id in revert.call.reverts:
        target = tables.call(id)
        if target is not None and target.reverted_by == revert.call.id and id not in kept:
            tables.put_call(replace(target, reverted_by=None))


def _new(
    call: Call,
    state: State,
    now: datetime,
    action: Mapping[str, Json] | None,
    reach: Reach | None,
    decision: Mapping[str, Json] | None,
) -> CallRecord:
    return CallRecord(
        call=call,
        state=state,
        generation=1,
        effect=EffectState.NONE,
        action=action,
        reach=reach,
        decision=decision,
        measured=None,
        receipt=None,
        permitted=False,
        undo=UndoInfo(),
        snapshot=None,
        outcome=None,
        reverted_by=None,
        lease_until=None,
        updated_at=now,
    )
