"""What is kept beside the calls: undos, revert jobs, agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.interfaces import Agent
from gateway.interfaces.mcp import Pin
from gateway.lifecycle import RUNNING, State
from gateway.model import (
    Conflict,
    EffectState,
    Json,
    Reversibility,
    RevertJob,
    Spooled,
    Surface,
    Undo,
)
from gateway.store.cells import (
    DELETED,
    EXPIRED,
    PURGED,
    agent_of,
    dumped,
    loaded,
    pin_of,
    pin_row,
    revert_of,
    revert_row,
    stamp,
)
from gateway.store.images import Known
from gateway.store.rows import AgentRow, Head, SnapshotRow
from gateway.store.tables import Tables
from gateway.store.trail import write

# --- undos ----------------------------------------------------------------------------------


def kept(t: Tables, call: str) -> SnapshotRow | None:
    head = t.head(call)
    row = t.snapshot(head.snapshot) if head is not None and head.snapshot is not None else None
    return None if row is None or row.deleted_at is not None else row


def undo_of(
    row: SnapshotRow,
    manifest: Mapping[str, Json],
    image: bytes | Spooled,
    answer: Mapping[str, Json] | None,
) -> Undo:
    return Undo(
        upstream=row.upstream,
        kind=row.kind,
        reversibility=Reversibility(row.reversibility),
        manifest=manifest,
        image=image if isinstance(image, bytes) else b"",
        spooled=image if isinstance(image, Spooled) else None,
        answer=answer,
    )


def known(t: Tables) -> Known:
    return Known(files=frozenset(t.files()), keys=frozenset(t.keys_in_use()))


def delete(t: Tables, now: datetime, id: str, by: str) -> SnapshotRow | None:
    """What was deleted and is still to be erased; ``None`` where there is nothing to delete. The
    image of a call that still runs stays: its outcome may depend on it."""
    row = t.snapshot(id)
    if row is None or row.deleted_at is not None or not _over(t, row):
        return None
    _delete(t, now, row, by, "deleted")
    return row


def expire(t: Tables, now: datetime, until: datetime) -> int:
    """Deletes what expired by ``until``."""
    due = [row for row in t.due_snapshots(stamp(until)) if _over(t, row)]
    for row in due:
        _delete(t, now, row, "retention", "expired")
    return len(due)


def _over(t: Tables, row: SnapshotRow) -> bool:
    head = t.head(row.call)
    return head is None or State(head.state) not in RUNNING | {State.UNKNOWN}


def _delete(t: Tables, now: datetime, row: SnapshotRow, by: str, why: str) -> None:
    t.drop_snapshot(row.id, stamp(now))
    code = EXPIRED if why == "expired" else DELETED
    t.change_call("forget_undo", row.call, undo_deleted=code)
    body = {**_named(row), "expires_at": row.expires_at, "by": by, "why": why}
    write(t, now, "snapshot.delete", body)


def purged(t: Tables, now: datetime, purge: Head, effect: EffectState) -> None:
    """Where ``purge`` is one and landed, it threw away what others had put into quarantine:
    neither they nor the reverts of them have a way back any more."""
    if effect is not EffectState.APPLIED or purge.surface != Surface.ADMIN:
        return
    row = t.call(purge.id)
    calls = loaded(row.request).get("purge") if row is not None else None
    for call in calls if isinstance(calls, list) else ():
        head = t.head(str(call))
        while head is not None and head.tool == purge.tool:
            if head.snapshot is not None and not head.undo_deleted:
                t.change_call("forget_undo", head.id, undo_deleted=PURGED)
                write(t, now, "undo.purge", {"call": head.id, "purge": purge.id})
            head = t.head(head.reverted_by) if head.reverted_by is not None else None


def erased(t: Tables, now: datetime, rows: Sequence[SnapshotRow]) -> None:
    """Of ``rows`` nothing can be read any more: the proof that a deletion was carried out."""
    for row in rows:
        current = t.snapshot(row.id)
        if current is not None and current.erased_at is None:
            t.erase_snapshot(row.id, stamp(now))
            body = {**_named(row), "file": row.file, "key": row.key_id, "read_again": "not found"}
            write(t, now, "snapshot.erase", body)


def _named(row: SnapshotRow) -> dict[str, Json]:
    return {"snapshot": row.id, "call": row.call, "sha256": row.sha256, "bytes": row.size}


# --- reverts --------------------------------------------------------------------------------


def save_revert(t: Tables, now: datetime, job: RevertJob) -> None:
    t.put_revert(revert_row(job))
    # The steps name rows; what they did stands in the entries of the reverting calls.
    write(
        t,
        now,
        "revert.save",
        {
            "revert": job.id,
            "state": job.state,
            "target": dict(job.target),
            "on_conflict": job.on_conflict.value,
            "by": job.requested_by,
            "steps": {s.call: s.state for s in job.steps},
        },
    )


def revert(t: Tables, id: str) -> RevertJob | None:
    row = t.revert(id)
    return None if row is None else revert_of(row)


def add_conflicts(t: Tables, id: str, found: Sequence[tuple[str, Conflict]]) -> None:
    for call, conflict in found:
        t.add_conflict(id, call, dumped(conflict.as_json()))


def forget_conflicts(t: Tables, id: str, calls: Sequence[str]) -> None:
    for call in calls:
        t.drop_conflicts(id, call)


def conflicts(
    t: Tables, id: str, after: int, limit: int
) -> tuple[list[tuple[str, Conflict]], str | None]:
    rows = t.conflicts(id, after, limit + 1)
    page = [(row.call, Conflict(**loaded(row.body))) for row in rows[:limit]]
    return page, str(rows[limit - 1].number) if len(rows) > limit else None


def unfinished_reverts(t: Tables) -> list[RevertJob]:
    return [revert_of(row) for row in t.running_reverts()]


# --- agents ---------------------------------------------------------------------------------


def add_agent(t: Tables, now: datetime, agent: Agent, by: str) -> bool:
    if t.agent(agent.name) is not None or t.agent_by_token(agent.token_sha256) is not None:
        return False
    t.add_agent(
        AgentRow(
            name=agent.name,
            roles=dumped(list(agent.roles)),
            token_sha256=agent.token_sha256,
            created_at=stamp(agent.created_at),
            revoked_at=None,
        )
    )
    write(t, now, "agent.add", {"agent": agent.name, "roles": list(agent.roles), "by": by})
    return True


def revoke_agent(t: Tables, now: datetime, name: str, by: str) -> bool:
    if t.agent(name) is None:
        return False
    t.revoke_agent(name, stamp(now))
    write(t, now, "agent.revoke", {"agent": name, "by": by})
    return True


def agents(t: Tables) -> list[Agent]:
    return [agent_of(row) for row in t.agents()]


def agent_by_token(t: Tables, token_sha256: str) -> Agent | None:
    row = t.agent_by_token(token_sha256)
    return None if row is None else agent_of(row)


# --- tools of MCP servers -------------------------------------------------------------------


def pins(t: Tables, server: str | None) -> list[Pin]:
    return [pin_of(row) for row in t.pins(server)]


def put_pin(t: Tables, now: datetime, pin: Pin) -> None:
    t.put_pin(pin_row(pin))
    entry = {"server": pin.server, "tool": pin.tool, "seen": pin.seen, "approved": pin.approved}
    write(t, now, "mcp.pin", {**entry, "warnings": list(pin.warnings), "by": pin.by})
