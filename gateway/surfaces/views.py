"""Nouns as the JSON that people and programs are shown. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.interfaces import SnapshotInfo
from gateway.model import (
    Approval,
    CallRecord,
    Deny,
    Freeze,
    Json,
    Outcome,
    Reply,
    RevertJob,
    UndoInfo,
)
from gateway.surfaces.hiding import Hiding
from gateway.surfaces.problems import problem_document


def time_json(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def undo_json(undo: UndoInfo) -> dict[str, Json]:
    gone = {} if undo.gone is None else {"gone": undo.gone}
    return {
        "reversibility": str(undo.reversibility),
        "available": undo.available,
        "expires_at": time_json(undo.expires_at),
        **gone,
    }


def reply_json(reply: Reply) -> dict[str, Json]:
    """A success. The upstream's own result stands beside the fields that are ours."""
    return {
        **(reply.outcome.result or {}),
        "call": reply.call,
        "state": str(reply.state),
        "effect": str(reply.effect),
        "undo": undo_json(reply.undo),
    }


def record_json(record: CallRecord, *, full: bool, hiding: Hiding) -> dict[str, Json]:
    """A call. ``full`` adds what only the admin is shown."""
    call, outcome = record.call, record.outcome
    shown: dict[str, Json] = {
        "call": call.id,
        "state": str(record.state),
        "effect": str(record.effect),
        "agent": call.subject.id,
        "session": call.subject.session,
        "surface": str(call.surface),
        "tool": call.tool,
        "request": dict(call.request),
        "digest": call.digest,
        "dry_run": call.dry_run,
        "reason": call.reason,
        "received_at": time_json(call.received_at),
        "updated_at": time_json(record.updated_at),
        "decision": record.decision,
        "measured": record.measured,
        "outcome": None if outcome is None else outcome_json(record, outcome, hiding),
        "result": hiding.result(record),
        "undo": {**undo_json(record.undo), "available": _takes_back(record)},
        "reverts": list(call.reverts),
        "reverted_by": record.reverted_by,
        "approval": record.approval,
    }
    if full:
        shown |= {
            "roles": list(call.subject.roles),
            "idempotency_key": call.idempotency_key,
            "action": record.action,
            "reach": None if record.reach is None else record.reach.as_json(),
            "generation": record.generation,
            "permitted": record.permitted,
            "receipt": record.receipt,
            "snapshot": record.snapshot,
            "lease_until": time_json(record.lease_until),
        }
    return shown


def _takes_back(record: CallRecord) -> bool:
    # What was taken back already is brought again by reverting the revert, not this call.
    return record.undo.available and record.reverted_by is None


def outcome_json(record: CallRecord, outcome: Outcome, hiding: Hiding) -> dict[str, Json]:
    refusal = hiding.refusal(record)
    shown = None if refusal is None else refusal_json(refusal, record.call.id, outcome)
    return {
        "state": str(outcome.state),
        "effect": str(outcome.effect),
        "refusal": shown,
        "steps": [hiding.step(step) for step in outcome.steps],
    }


def refusal_json(refusal: Deny, call: str, outcome: Outcome) -> dict[str, Json]:
    return problem_document(refusal, call, outcome.effect)


def freeze_json(freeze: Freeze, now: datetime) -> dict[str, Json]:
    return {
        "id": freeze.id,
        "scope": freeze.scope.as_json(),
        "reason": freeze.reason,
        "starts_at": time_json(freeze.starts_at),
        "ends_at": time_json(freeze.ends_at),
        "epoch": freeze.epoch,
        "origin": freeze.origin,
        "created_by": freeze.created_by,
        "lifted_at": time_json(freeze.lifted_at),
        "active": freeze.active(now),
    }


def job_json(job: RevertJob, hiding: Hiding) -> dict[str, Json]:
    return {
        "id": job.id,
        "state": job.state,
        "target": dict(job.target),
        "plan": job.plan,
        "on_conflict": str(job.on_conflict),
        "reason": job.reason,
        "requested_by": job.requested_by,
        "steps": [hiding.step(step) for step in job.steps],
        "created_at": time_json(job.created_at),
        "updated_at": time_json(job.updated_at),
    }


def snapshot_json(info: SnapshotInfo) -> dict[str, Json]:
    return {
        "id": info.id,
        "call": info.call,
        "upstream": info.upstream,
        "kind": info.kind,
        "reversibility": info.reversibility,
        "bytes": info.bytes,
        "sha256": info.sha256,
        "created_at": time_json(info.created_at),
        "expires_at": time_json(info.expires_at),
        "deleted_at": time_json(info.deleted_at),
        "erased_at": time_json(info.erased_at),
        "place": info.place,
        "stored_bytes": info.packed,
        "key": info.key,
    }


def approval_json(approval: Approval, record: CallRecord | None) -> dict[str, Json]:
    """With the exact action that the approval is bound to and what it would change."""
    return {
        "id": approval.id,
        "call": approval.call,
        "state": approval.state,
        "digest": approval.digest,
        "revision": approval.revision,
        "reasons": list(approval.reasons),
        "obligations": approval.obligations.as_json(),
        "created_at": time_json(approval.created_at),
        "expires_at": time_json(approval.expires_at),
        "decided_by": approval.decided_by,
        "note": approval.note,
        "agent": None if record is None else record.call.subject.id,
        "session": None if record is None else record.call.subject.session,
        "tool": None if record is None else record.call.tool,
        "request": None if record is None else dict(record.call.request),
        "action": None if record is None else record.action,
        "measured": None if record is None else record.measured,
        "agent_reason": None if record is None else record.call.reason,
    }
