"""What people do: freezes, approvals, agents, jobs. One audit entry each, like the moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from gateway.interfaces import Agent, Frozen
from gateway.ledger.journal import note
from gateway.ledger.starts import deny
from gateway.ledger.tables import Tables
from gateway.lifecycle import RUNNING, State
from gateway.model import Approval, Deny, Freeze, Json, RevertJob, Scope


def freeze(tables: Tables, now: datetime, wanted: Freeze) -> Frozen:
    stored = replace(wanted, epoch=tables.freeze_count() + 1)
    tables.put_freeze(stored)
    running = tuple(in_flight(tables, stored.scope))
    note(
        tables,
        now,
        "freeze.add",
        {
            "freeze": stored.id,
            "epoch": stored.epoch,
            "scope": stored.scope.as_json(),
            "reason": stored.reason,
            "starts_at": stored.starts_at.isoformat(),
            "ends_at": stored.ends_at.isoformat() if stored.ends_at else None,
            "by": stored.created_by,
            "in_flight": list(running),
        },
    )
    return Frozen(freeze=stored, in_flight=running)


def in_flight(tables: Tables, scope: Scope) -> list[str]:
    """Running calls of agents in ``scope``; reverts are people's and not counted."""
    return [
        record.call.id
        for record in tables.open_calls()
        if record.state in RUNNING
        and not record.call.reverts
        and record.reach is not None
        and scope.covers(record.reach)
    ]


def lift(tables: Tables, now: datetime, id: str, by: str) -> Freeze | None:
    found = tables.freeze(id)
    if found is None or found.lifted_at is not None:
        return None
    lifted = replace(found, lifted_at=now)
    tables.put_freeze(lifted)
    note(tables, now, "freeze.lift", {"freeze": id, "epoch": found.epoch, "by": by})
    return lifted


def decide_approval(
    tables: Tables, now: datetime, id: str, approve: bool, by: str, remark: str | None
) -> Approval | None:
    approval = tables.approval(id)
    if approval is None or approval.state != "waiting":
        return None
    late = approval.expires_at <= now
    verdict = "expired" if late else ("approved" if approve else "rejected")
    decided = replace(approval, state=verdict, decided_by=by, note=remark)
    tables.put_approval(decided)
    note(
        tables,
        now,
        "approval.decide",
        {"approval": id, "call": approval.call, "verdict": verdict, "by": by},
    )
    record = tables.call(approval.call)
    if verdict != "approved" and record is not None and record.state is State.HELD:
        reason = "approval.expired" if late else "approval.rejected"
        detail = "Nobody decided on this call in time." if late else "A person rejected this call."
        deny(tables, now, record, Deny(reason=reason, detail=detail))
    return None if late else decided


def save_revert(tables: Tables, now: datetime, job: RevertJob) -> None:
    tables.put_revert(job)
    note(
        tables,
        now,
        "revert.save",
        {
            "revert": job.id,
            "target": dict(job.target),
            "on_conflict": str(job.on_conflict),
            "state": job.state,
            "by": job.requested_by,
            "steps": [
                {"call": s.call, "state": s.state, "restored": s.restored} for s in job.steps
            ],
        },
    )


def add_agent(tables: Tables, now: datetime, agent: Agent, by: str) -> bool:
    known = tables.agent(agent.name)
    if known is not None and known.revoked_at is None:
        return False
    tables.put_agent(agent)
    note(tables, now, "agent.add", {"agent": agent.name, "roles": list(agent.roles), "by": by})
    return True


def revoke_agent(tables: Tables, now: datetime, name: str, by: str) -> bool:
    known = tables.agent(name)
    if known is None or known.revoked_at is not None:
        return False
    tables.put_agent(replace(known, revoked_at=now))
    note(tables, now, "agent.revoke", {"agent": name, "by": by})
    return True


def record(tables: Tables, now: datetime, event: str, body: Mapping[str, Json]) -> None:
    note(tables, now, event, body)
