"""Nouns to cells and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from gateway.interfaces import Agent, SnapshotInfo
from gateway.interfaces.mcp import Pin
from gateway.lifecycle import REVERTIBLE, RUNNING, State
from gateway.model import (
    Approval,
    Call,
    CallRecord,
    Conflict,
    Deny,
    EffectState,
    Freeze,
    Json,
    Obligations,
    OnConflict,
    Outcome,
    Reach,
    Reversibility,
    RevertJob,
    Scope,
    Step,
    Subject,
    Surface,
    UndoInfo,
)
from gateway.store.rows import (
    AgentRow,
    ApprovalRow,
    CallRow,
    FreezeRow,
    Head,
    PinRow,
    RevertRow,
    SnapshotRow,
)

_encode = json.JSONEncoder(separators=(",", ":")).encode


def dumped(value: Json) -> str:
    """JSON text; pure ASCII, so that any text that Python holds can be stored."""
    return _encode(value)


def dumped_or_none(value: Mapping[str, Json] | None) -> str | None:
    return None if value is None else _encode(dict(value))


def loaded(text: str) -> Json:
    return json.loads(text)


def loaded_or_none(text: str | None) -> Json:
    return None if text is None else json.loads(text)


def stamp(at: datetime) -> str:
    """UTC with microseconds, so that the order of the texts is the order of the times."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def stamp_or_none(at: datetime | None) -> str | None:
    return None if at is None else stamp(at)


def timed(text: str) -> datetime:
    return datetime.fromisoformat(text)


def timed_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


# --- calls ----------------------------------------------------------------------------------


def call_of(row: CallRow) -> Call:
    return Call(
        id=row.id,
        subject=Subject(
            id=row.agent,
            roles=tuple(loaded(row.roles)),
            session=row.session,
            delegation=tuple(loaded(row.delegation)),
        ),
        surface=Surface(row.surface),
        tool=row.tool,
        request=loaded(row.request),
        digest=row.digest,
        received_at=timed(row.received_at),
        idempotency_key=row.idempotency_key,
        reason=row.reason,
        dry_run=bool(row.dry_run),
        reverts=tuple(loaded(row.reverts)),
    )


def record_of(row: CallRow, now: str) -> CallRecord:
    return CallRecord(
        call=call_of(row),
        state=State(row.state),
        generation=row.generation,
        effect=_effect_of(row),
        action=loaded_or_none(row.action),
        reach=reach_of(row.reach),
        decision=loaded_or_none(row.decision),
        measured=loaded_or_none(row.measured),
        receipt=row.receipt,
        permitted=bool(row.permitted),
        undo=UndoInfo(
            reversibility=Reversibility(row.undo_reversibility),
            available=why_no_undo(row, now) is None,
            expires_at=timed_or_none(row.undo_expires_at),
            gone=_gone(row, now) if row.effect == EffectState.APPLIED else None,
        ),
        snapshot=row.snapshot,
        outcome=outcome_of(row.outcome),
        reverted_by=row.reverted_by,
        lease_until=timed_or_none(row.lease_until),
        updated_at=timed(row.updated_at),
        approval=row.approval,
    )


def _effect_of(row: CallRow) -> EffectState:
    """What may be said of the target: a call that runs under a permit may have landed already."""
    if State(row.state) in RUNNING and row.permitted:
        return EffectState.UNKNOWN
    return EffectState(row.effect)


def why_no_undo(row: CallRow | Head, now: str) -> str | None:
    """``None`` where the call's effect can be taken back, as far as the store knows."""
    if State(row.state) not in REVERTIBLE:
        return f"its state is {row.state}"
    if row.effect != EffectState.APPLIED or row.snapshot is None:
        return "it had no effect"
    if row.undo_reversibility not in (Reversibility.EXACT, Reversibility.COMPENSABLE):
        return f"it is {row.undo_reversibility}"
    return _gone(row, now)


DELETED, PURGED, EXPIRED = 1, 2, 3  # what ``undo_deleted`` says
_GONE = {
    DELETED: "its images were deleted",
    PURGED: "what it put into quarantine was purged",
    EXPIRED: "its images have expired",
}


def _gone(row: CallRow | Head, now: str) -> str | None:
    """Why a way back that there was is no more."""
    if row.undo_deleted:
        return _GONE.get(row.undo_deleted, _GONE[DELETED])
    if row.undo_expires_at is not None and row.undo_expires_at <= now:
        return _GONE[EXPIRED]
    return None


def reach_of(text: str | None) -> Reach | None:
    return None if text is None else _reach(text)


@lru_cache(maxsize=1024)
def _reach(text: str) -> Reach:
    return Reach.from_json(json.loads(text))


# --- outcomes -------------------------------------------------------------------------------


def outcome_json(outcome: Outcome) -> str:
    return dumped(
        {
            "state": outcome.state,
            "effect": outcome.effect,
            "result": None if outcome.result is None else dict(outcome.result),
            "refusal": None if outcome.refusal is None else _deny_json(outcome.refusal),
            "steps": [s.as_json() for s in outcome.steps],
        }
    )


def outcome_of(text: str | None) -> Outcome | None:
    if text is None:
        return None
    data = loaded(text)
    return Outcome(
        state=State(data["state"]),
        effect=EffectState(data["effect"]),
        result=data["result"],
        refusal=None if data["refusal"] is None else _deny_of(data["refusal"]),
        steps=tuple(step_of(s) for s in data["steps"]),
    )


def _deny_json(deny: Deny) -> dict[str, Json]:
    return {
        "reason": deny.reason,
        "detail": deny.detail,
        "reasons": list(deny.reasons),
        "extra": dict(deny.extra),
        "effect": deny.effect,
        "revision": deny.revision,
    }


def _deny_of(data: Mapping[str, Json]) -> Deny:
    return Deny(
        reason=data["reason"],
        detail=data["detail"],
        reasons=tuple(data["reasons"]),
        extra=data["extra"],
        effect=EffectState(data["effect"]),
        revision=data["revision"],
    )


def step_of(data: Mapping[str, Json]) -> Step:
    return Step(
        call=data["call"],
        upstream=data["upstream"],
        action=data["action"],
        state=data["state"],
        restored=data["restored"],
        conflicts=tuple(Conflict(**c) for c in data["conflicts"]),
        more=data.get("more", 0),
        reason=data["reason"],
        detail=data["detail"],
    )


# --- the other nouns ------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _scope(text: str) -> Scope:
    return Scope(**{k: tuple(v) for k, v in json.loads(text).items()})


def freeze_row(freeze: Freeze) -> FreezeRow:
    return FreezeRow(
        id=freeze.id,
        epoch=freeze.epoch,
        scope=dumped(freeze.scope.as_json()),
        reason=freeze.reason,
        starts_at=stamp(freeze.starts_at),
        ends_at=stamp_or_none(freeze.ends_at),
        origin=freeze.origin,
        created_by=freeze.created_by,
        lifted_at=stamp_or_none(freeze.lifted_at),
    )


def freeze_of(row: FreezeRow) -> Freeze:
    return Freeze(
        id=row.id,
        scope=_scope(row.scope),
        reason=row.reason,
        starts_at=timed(row.starts_at),
        ends_at=timed_or_none(row.ends_at),
        epoch=row.epoch,
        origin=row.origin,
        created_by=row.created_by,
        lifted_at=timed_or_none(row.lifted_at),
    )


def approval_of(row: ApprovalRow, now: str) -> Approval:
    ran_out = row.state in ("waiting", "approved") and row.expires_at <= now
    return Approval(
        id=row.id,
        call=row.call,
        digest=row.digest,
        revision=row.revision,
        reasons=tuple(loaded(row.reasons)),
        obligations=Obligations.from_json(loaded(row.obligations)),
        state="expired" if ran_out else row.state,
        created_at=timed(row.created_at),
        expires_at=timed(row.expires_at),
        decided_by=row.decided_by,
        note=row.note,
    )


def snapshot_of(row: SnapshotRow) -> SnapshotInfo:
    return SnapshotInfo(
        id=row.id,
        call=row.call,
        upstream=row.upstream,
        kind=row.kind,
        reversibility=row.reversibility,
        bytes=row.size,
        sha256=row.sha256,
        created_at=timed(row.created_at),
        expires_at=timed_or_none(row.expires_at),
        deleted_at=timed_or_none(row.deleted_at),
        erased_at=timed_or_none(row.erased_at),
        place="file" if row.file is not None else None if row.erased_at is not None else "row",
        packed=row.packed,
        key=row.key_id,
    )


def revert_row(job: RevertJob) -> RevertRow:
    return RevertRow(
        id=job.id,
        target=dumped(dict(job.target)),
        on_conflict=str(job.on_conflict),
        plan=int(job.plan),
        reason=job.reason,
        requested_by=job.requested_by,
        state=job.state,
        steps=dumped([s.as_json() for s in job.steps]),
        created_at=stamp(job.created_at),
        updated_at=stamp(job.updated_at),
    )


def revert_of(row: RevertRow) -> RevertJob:
    return RevertJob(
        id=row.id,
        target=loaded(row.target),
        on_conflict=OnConflict(row.on_conflict),
        plan=bool(row.plan),
        reason=row.reason,
        requested_by=row.requested_by,
        state=row.state,
        steps=tuple(step_of(s) for s in loaded(row.steps)),
        created_at=timed(row.created_at),
        updated_at=timed(row.updated_at),
    )


def pin_row(pin: Pin) -> PinRow:
    return PinRow(
        server=pin.server,
        tool=pin.tool,
        seen=pin.seen,
        approved=pin.approved,
        document=dumped(pin.document),
        warnings=dumped(list(pin.warnings)),
        updated_at=stamp(pin.updated_at),
        by=pin.by,
    )


def pin_of(row: PinRow) -> Pin:
    return Pin(
        server=row.server,
        tool=row.tool,
        seen=row.seen,
        approved=row.approved,
        document=loaded(row.document),
        warnings=tuple(loaded(row.warnings)),
        updated_at=timed(row.updated_at),
        by=row.by,
    )


def agent_of(row: AgentRow) -> Agent:
    return Agent(
        name=row.name,
        roles=tuple(loaded(row.roles)),
        token_sha256=row.token_sha256,
        created_at=timed(row.created_at),
        revoked_at=timed_or_none(row.revoked_at),
    )
