"""Tables in dictionaries, with the rollback that a transaction needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from gateway.audit import Sealed
from gateway.interfaces import Agent, SnapshotInfo
from gateway.ledger.tables import CallFilter, StoredSnapshot
from gateway.lifecycle import State
from gateway.model import Approval, CallRecord, Freeze, RevertJob

OPEN = (State.INTENT, State.EXECUTING, State.REVERTING, State.UNKNOWN)


class MemoryTables:
    """All values are frozen, so a shallow copy of each dictionary is a whole snapshot."""

    def __init__(self) -> None:
        self._calls: dict[str, CallRecord] = {}
        self._audit: list[Sealed] = []
        self._freezes: dict[str, Freeze] = {}
        self._approvals: dict[str, Approval] = {}
        self._snapshots: dict[str, StoredSnapshot] = {}
        self._reverts: dict[str, RevertJob] = {}
        self._agents: dict[str, Agent] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Whatever is raised inside leaves no trace."""
        saved = {name: value.copy() for name, value in vars(self).items()}
        try:
            yield
        except BaseException:
            vars(self).update(saved)
            raise

    def call(self, id: str) -> CallRecord | None:
        return self._calls.get(id)

    def call_by_key(self, subject: str, key: str) -> CallRecord | None:
        for record in self._calls.values():
            call = record.call
            if (call.subject.id, call.idempotency_key) == (subject, key):
                if record.state is not State.DENIED:
                    return record
        return None

    def put_call(self, record: CallRecord) -> None:
        self._calls[record.call.id] = record

    def open_calls(self) -> list[CallRecord]:
        return [r for r in self._sorted() if r.state in OPEN]

    def _sorted(self) -> list[CallRecord]:
        return [self._calls[id] for id in sorted(self._calls)]

    def calls(self, wanted: CallFilter) -> list[CallRecord]:
        found = [r for r in reversed(self._sorted()) if _matches(r, wanted)]
        return found[: wanted.limit]

    def head(self) -> Sealed | None:
        return self._audit[-1] if self._audit else None

    def append(self, entry: Sealed) -> None:
        self._audit.append(entry)

    def entries(self, after: int, limit: int) -> list[Sealed]:
        return self._audit[after : after + limit]

    def freezes(self, *, lifted: bool) -> list[Freeze]:
        found = sorted(self._freezes.values(), key=lambda f: f.id, reverse=True)
        return [f for f in found if lifted or f.lifted_at is None]

    def freeze(self, id: str) -> Freeze | None:
        return self._freezes.get(id)

    def freeze_count(self) -> int:
        return len(self._freezes)

    def put_freeze(self, freeze: Freeze) -> None:
        self._freezes[freeze.id] = freeze

    def approval(self, id: str) -> Approval | None:
        return self._approvals.get(id)

    def approvals(self, *, waiting: bool) -> list[Approval]:
        found = sorted(self._approvals.values(), key=lambda a: a.id)
        return [a for a in found if a.state == "waiting" or not waiting]

    def put_approval(self, approval: Approval) -> None:
        self._approvals[approval.id] = approval

    def snapshot(self, id: str) -> StoredSnapshot | None:
        return self._snapshots.get(id)

    def snapshot_of(self, call: str) -> StoredSnapshot | None:
        return next((s for s in self._snapshots.values() if s.info.call == call), None)

    def snapshots(self, call: str | None, limit: int, cursor: str | None) -> list[SnapshotInfo]:
        found = [
            self._snapshots[id].info
            for id in sorted(self._snapshots, reverse=True)
            if cursor is None or id < cursor
        ]
        return [i for i in found if call is None or i.call == call][:limit]

    def put_snapshot(self, snapshot: StoredSnapshot) -> None:
        self._snapshots[snapshot.info.id] = snapshot

    def snapshots_due(self, now: datetime) -> list[str]:
        return [
            s.info.id
            for s in self._snapshots.values()
            if s.info.deleted_at is None
            and s.info.expires_at is not None
            and s.info.expires_at <= now
        ]

    def files(self) -> set[str]:
        return {s.file for s in self._snapshots.values() if s.file is not None}

    def revert(self, id: str) -> RevertJob | None:
        return self._reverts.get(id)

    def unfinished_reverts(self) -> list[RevertJob]:
        return [j for _, j in sorted(self._reverts.items()) if j.state == "running"]

    def put_revert(self, job: RevertJob) -> None:
        self._reverts[job.id] = job

    def agent(self, name: str) -> Agent | None:
        return self._agents.get(name)

    def agents(self) -> list[Agent]:
        return [a for _, a in sorted(self._agents.items())]

    def agent_by_token(self, token_sha256: str) -> Agent | None:
        return next((a for a in self._agents.values() if a.token_sha256 == token_sha256), None)

    def put_agent(self, agent: Agent) -> None:
        self._agents[agent.name] = agent

    def beat(self, at: datetime) -> None:
        """Memory is always writable."""


def _matches(record: CallRecord, wanted: CallFilter) -> bool:
    call = record.call
    return (
        (wanted.session is None or call.subject.session == wanted.session)
        and (wanted.agent is None or call.subject.id == wanted.agent)
        and (wanted.since is None or call.received_at >= wanted.since)
        and (wanted.until is None or call.received_at < wanted.until)
        and (wanted.tool is None or call.tool == wanted.tool)
        and (wanted.reverts is None or bool(call.reverts) == wanted.reverts)
        and (not wanted.states or record.state in wanted.states)
        and (wanted.cursor is None or call.id < wanted.cursor)
    )
