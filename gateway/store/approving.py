"""Approvals: a person's answer to a held call."""

from __future__ import annotations

from datetime import datetime

from gateway.lifecycle import State
from gateway.model import Approval, Deny
from gateway.store.cells import approval_of, stamp
from gateway.store.refusing import deny_stored
from gateway.store.rows import ApprovalRow
from gateway.store.tables import Tables
from gateway.store.trail import write


def approvals(t: Tables, now: datetime, waiting: bool) -> list[Approval]:
    found = [approval_of(row, stamp(now)) for row in t.approvals(waiting)]
    return [a for a in found if a.state == "waiting"] if waiting else found


def decide(
    t: Tables, now: datetime, id: str, approve: bool, by: str, note: str | None
) -> Approval | None:
    row = t.approval(id)
    if row is None or row.state != "waiting":
        return None
    if row.expires_at <= stamp(now):
        _decided(t, now, row, "expired", by, note)
        _deny(t, now, row, "approval.expired", "The approval ran out before it was given.")
        return None
    state = "approved" if approve else "rejected"
    decided = _decided(t, now, row, state, by, note)
    if not approve:
        _deny(t, now, row, "approval.rejected", f"{by} rejected this call.")
    return decided


def _decided(
    t: Tables, now: datetime, row: ApprovalRow, state: str, by: str, note: str | None
) -> Approval:
    t.change_approval(row.id, state, by, note)
    write(
        t,
        now,
        "approval.decide",
        {
            "approval": row.id,
            "call": row.call,
            "digest": row.digest,
            "revision": row.revision,
            "state": state,
            "by": by,
        },
    )
    return approval_of(row._replace(state=state, decided_by=by, note=note), stamp(now))


def _deny(t: Tables, now: datetime, row: ApprovalRow, reason: str, detail: str) -> None:
    head = t.head(row.call)
    if head is not None and head.state == State.HELD:
        deny_stored(t, now, head, Deny(reason=reason, detail=detail))
