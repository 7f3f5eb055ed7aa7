"""The moves of a call: what each demands, what it writes, and its audit entry, for every store.

Each function runs inside one transaction of ``Tables`` and raises nothing but what the tables
raise, ``StaleGeneration``, or an assertion for a move that the life of a call does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.interfaces import StaleGeneration
from gateway.ledger.journal import note_move, shown
from gateway.ledger.snapshots import Prepared, drop_image, keep
from gateway.ledger.starts import deny, release_claims
from gateway.ledger.tables import Tables
from gateway.lifecycle import RUNNING, SETTLED, Move, State, move
from gateway.model import (
    Approval,
    CallRecord,
    Deny,
    EffectState,
    Freeze,
    Intent,
    Json,
    Measured,
    Outcome,
    Permit,
    Reach,
    Reversibility,
    Running,
    UndoInfo,
)


def begin(
    tables: Tables,
    now: datetime,
    intent: Intent,
    windows: Sequence[Freeze],
    revision: str,
    lease: timedelta,
) -> Running | Deny:
    record = _owned(tables, intent.call, intent.generation)
    refusal = _stops_begin(tables, now, record, windows, revision)
    if refusal is not None:
        refusal = replace(refusal, revision=revision)
        deny(tables, now, record, refusal)
        return refusal
    if record.approval is not None:
        approval = tables.approval(record.approval)
        assert approval is not None
        tables.put_approval(replace(approval, state="used"))
    target = State.REVERTING if record.call.reverts else State.EXECUTING
    running = replace(
        record,
        state=move(record.state, Move.BEGIN, target),
        lease_until=now + lease,
        updated_at=now,
    )
    tables.put_call(running)
    epoch = tables.freeze_count()
    note_move(tables, now, Move.BEGIN, record.state, running, epoch=epoch, revision=revision)
    return Running.issue(record.call.id, record.generation)


def _stops_begin(
    tables: Tables,
    now: datetime,
    record: CallRecord,
    windows: Sequence[Freeze],
    revision: str,
) -> Deny | None:
    decided = (record.decision or {}).get("revision")
    if decided != revision:
        return Deny(
            reason="policy.unavailable",
            detail="The policies changed while this call was decided. Send it again.",
        )
    if record.approval is not None:
        refusal = _unusable(tables.approval(record.approval), record, revision, now)
        if refusal is not None:
            return refusal
    if record.call.reverts:
        return None
    assert record.reach is not None
    return _frozen(tables, now, record.reach, windows)


def _unusable(
    approval: Approval | None, record: CallRecord, revision: str, now: datetime
) -> Deny | None:
    if approval is None or approval.state in ("waiting", "rejected"):
        return Deny(reason="approval.rejected", detail="Nobody approved this call.")
    if approval.state != "approved" or approval.expires_at <= now:
        return Deny(
            reason="approval.expired", detail="The approval was used or ran out. Ask again."
        )
    if approval.digest != record.call.digest or approval.revision != revision:
        return Deny(
            reason="approval.expired",
            detail="The approval was given for another call or under other policies. Ask again.",
        )
    return None


def _frozen(tables: Tables, now: datetime, reach: Reach, windows: Sequence[Freeze]) -> Deny | None:
    stopping = [
        f
        for f in (*windows, *tables.freezes(lifted=False))
        if f.active(now) and f.scope.covers(reach)
    ]
    if not stopping:
        return None
    return Deny(
        reason="frozen",
        detail="A freeze stops this: "
        + "; ".join(f.reason for f in stopping)
        + ". Nothing was changed. Wait until it is lifted or ask the person who set it.",
        extra={
            "freezes": [
                {
                    "id": f.id,
                    "reason": f.reason,
                    "until": f.ends_at.isoformat() if f.ends_at else None,
                }
                for f in stopping
            ]
        },
    )


def permit(
    tables: Tables,
    now: datetime,
    running: Running,
    prepared: Prepared | None,
    receipt: str,
    measured: Measured,
    reach: Reach,
    windows: Sequence[Freeze],
    expires_at: datetime | None,
) -> Permit | Deny:
    record = _owned(tables, running.call, running.generation)
    if not record.call.reverts:
        refusal = _frozen(tables, now, reach, windows)
        if refusal is not None:
            return refusal
    undo = UndoInfo()
    fields: dict[str, Json] = {}
    snapshot = None
    if prepared is not None:
        snapshot = prepared.info.id
        keep(tables, prepared)
        reversibility = Reversibility(prepared.info.reversibility)
        undo = UndoInfo(
            reversibility=reversibility,
            available=reversibility is not Reversibility.IRREVERSIBLE,
            expires_at=expires_at,
        )
        fields = {
            "snapshot": snapshot,
            "sha256": prepared.info.sha256,
            "bytes": prepared.info.bytes,
            "reversibility": str(reversibility),
        }
    permitted = replace(
        record,
        state=move(record.state, Move.PERMIT, record.state),
        permitted=True,
        receipt=receipt,
        measured=measured.as_json(),
        reach=reach,
        snapshot=snapshot,
        undo=undo,
        updated_at=now,
    )
    tables.put_call(permitted)
    note_move(
        tables,
        now,
        Move.PERMIT,
        record.state,
        permitted,
        receipt=receipt,
        measured=measured.as_json(),
        reach=reach.as_json(),
        **fields,
    )
    return Permit.issue(record.call.id, record.generation)


def settle(tables: Tables, now: datetime, running: Running, outcome: Outcome) -> CallRecord:
    record = tables.call(running.call)
    if record is None or record.generation != running.generation or record.state in SETTLED:
        raise StaleGeneration(f"{running} no longer owns the call")
    landed = outcome.effect is EffectState.APPLIED
    settled = replace(
        record,
        state=move(record.state, Move.SETTLE, outcome.state),
        effect=outcome.effect,
        outcome=outcome,
        lease_until=None,
        updated_at=now,
        undo=record.undo
        if landed or outcome.effect is EffectState.UNKNOWN
        else UndoInfo(reversibility=record.undo.reversibility),
    )
    tables.put_call(settled)
    if outcome.effect is EffectState.NONE and record.snapshot is not None:
        drop_image(tables, record.snapshot, now)
    if record.call.reverts and outcome.state is not State.UNKNOWN:
        kept = {s.call for s in outcome.steps if s.state == "reverted"}
        release_claims(tables, settled, kept if outcome.state is State.REVERTED else ())
    fields: dict[str, Json] = shown(outcome.refusal) if outcome.refusal else {}
    if outcome.steps:
        fields["steps"] = [
            {"call": s.call, "state": s.state, "restored": s.restored} for s in outcome.steps
        ]
    note_move(tables, now, Move.SETTLE, record.state, settled, **fields)
    return settled


def take_over(
    tables: Tables, now: datetime, everything: bool, lease: timedelta
) -> list[tuple[CallRecord, Running | None]]:
    taken: list[tuple[CallRecord, Running | None]] = []
    for record in tables.open_calls():
        if record.state is State.UNKNOWN:
            continue  # a person, or a probe of its class, resolves these
        due = record.lease_until is None or record.lease_until <= now
        if record.state is State.INTENT:
            # An intent has no lease: it is abandoned when nobody began it for one lease.
            due = record.updated_at + lease <= now
        if not (everything or due):
            continue
        taken.append(_take(tables, now, record, lease))
    return taken


def _take(
    tables: Tables, now: datetime, record: CallRecord, lease: timedelta
) -> tuple[CallRecord, Running | None]:
    generation = record.generation + 1
    if record.state in RUNNING:
        taken = replace(
            record,
            state=move(record.state, Move.RECOVER, record.state),
            generation=generation,
            lease_until=now + lease,
            updated_at=now,
        )
        tables.put_call(taken)
        note_move(tables, now, Move.RECOVER, record.state, taken)
        return taken, Running.issue(record.call.id, generation)
    refusal = Deny(
        reason="interrupted",
        detail="The gateway stopped before this call began. Nothing was changed; send it again.",
    )
    ended = replace(
        record,
        state=move(record.state, Move.RECOVER, State.FAILED),
        generation=generation,
        effect=EffectState.NONE,
        outcome=Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal),
        lease_until=None,
        updated_at=now,
    )
    tables.put_call(ended)
    release_claims(tables, ended, ())
    note_move(tables, now, Move.RECOVER, record.state, ended)
    return ended, None


def _owned(tables: Tables, id: str, generation: int) -> CallRecord:
    record = tables.call(id)
    if record is None or record.generation != generation or record.state in SETTLED:
        raise StaleGeneration(f"generation {generation} no longer owns {id}")
    return record
