"""A store that keeps everything in memory: for tests and for trying things out. It obeys the same
moves as the others and forgets all of it with the process."""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from gateway.errors import StoreUnavailable
from gateway.interfaces import Clock, Probe, Remains, no_probe
from gateway.store import keeping
from gateway.store.counting import CountingStore
from gateway.store.images import Images
from gateway.store.rows import (
    AgentRow,
    ApprovalRow,
    CallRow,
    Cell,
    ConflictRow,
    EntryRow,
    Filter,
    FreezeRow,
    Head,
    PinRow,
    RevertRow,
    SnapshotRow,
    Tallied,
)
from gateway.store.tables import Tables
from gateway.store.transactional import APPROVAL_TTL

T = TypeVar("T")
_UNSETTLED = ("intent", "executing", "reverting", "unknown")


class MemoryTables:
    """Dictionaries of rows, and how to take back what the open transaction changed."""

    def __init__(self) -> None:
        self._calls: dict[str, CallRow] = {}
        self._snapshots: dict[str, SnapshotRow] = {}
        self._freezes: dict[str, FreezeRow] = {}
        self._approvals: dict[str, ApprovalRow] = {}
        self._reverts: dict[str, RevertRow] = {}
        self._conflicts: dict[str, tuple[ConflictRow, ...]] = {}
        self._agents: dict[str, AgentRow] = {}
        self._pins: dict[tuple[str, str], PinRow] = {}
        self._entries: dict[int, EntryRow] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._beat: dict[int, str] = {}
        self._undo: list[Callable[[], None]] = []

    def begin(self) -> None:
        self._undo.clear()

    def rollback(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _set(self, table: MutableMapping[Any, Any], key: object, row: object) -> None:
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: table.__delitem__(key))
        table[key] = row

    # --- calls

    def head(self, id: str) -> Head | None:
        row = self._calls.get(id)
        return None if row is None else _head(row)

    def key_holder(self, agent: str, key: str) -> str | None:
        holder = self._calls.get(self._keys.get((agent, key), ""))
        return None if holder is None or holder.state == "denied" else holder.id

    def call(self, id: str) -> CallRow | None:
        return self._calls.get(id)

    def calls(self, wanted: Filter) -> list[CallRow]:
        found = [row for row in self._calls.values() if _matches(row, wanted)]
        return sorted(found, key=lambda row: -row.ord)[: wanted.limit]

    def unsettled(self) -> list[Head]:
        found = [row for row in self._calls.values() if row.state in _UNSETTLED]
        return [_head(row) for row in sorted(found, key=lambda row: row.ord)]

    def twin(self, agent: str, digest: str, since: str) -> Head | None:
        open_ = ("intent", "executing", "unknown")
        found = [r for r in self._identical(agent, digest, since) if r.state in open_]
        return _head(max(found, key=lambda row: row.ord)) if found else None

    def misses(self, agent: str, digest: str, since: str, spared: str) -> int:
        counted, other = 0, {None, *json.loads(spared)}
        for row in self._identical(agent, digest, since):
            if row.state in ("denied", "failed") and row.outcome is not None:
                refusal = json.loads(row.outcome)["refusal"] or {}
                counted += refusal.get("reason") not in other
        return counted

    def under_way(self, agent: str, digest: str, since: str) -> int:
        open_ = ("intent", "executing")
        return sum(r.state in open_ for r in self._identical(agent, digest, since))

    def _identical(self, agent: str, digest: str, since: str) -> list[CallRow]:
        return [
            row
            for row in self._calls.values()
            if (row.agent, row.digest) == (agent, digest) and row.received_at >= since
        ]

    def since_newest(self, agent: str, n: int) -> str | None:
        mine = sorted((r for r in self._calls.values() if r.agent == agent), key=lambda r: -r.ord)
        return mine[n - 1].received_at if len(mine) >= n else None

    def rows_changed(self, agent: str, since: str) -> int:
        return sum(
            json.loads(row.measured)["rows"]
            for row in self._calls.values()
            if row.agent == agent and row.received_at >= since and row.permitted
            if row.state not in ("failed", "denied") and row.reverts == "[]" and row.measured
        )

    def add_call(self, row: CallRow) -> None:
        self._set(self._calls, row.id, row)
        if row.idempotency_key is not None and row.state != "denied":
            self._set(self._keys, (row.agent, row.idempotency_key), row.id)

    def change_call(self, _query: str, id: str, /, **cells: Cell) -> None:
        self._set(self._calls, id, self._calls[id]._replace(**cells))  # type: ignore[arg-type]

    # --- snapshots

    def snapshot(self, id: str) -> SnapshotRow | None:
        return self._snapshots.get(id)

    def snapshots(self, call: str | None, before: int | None, limit: int) -> list[SnapshotRow]:
        found = [
            row._replace(image=None, manifest="{}")
            for row in self._snapshots.values()
            if (call is None or row.call == call) and (before is None or row.ord < before)
        ]
        return sorted(found, key=lambda row: -row.ord)[:limit]

    def due_snapshots(self, now: str) -> list[SnapshotRow]:
        return [
            row
            for row in self._snapshots.values()
            if row.deleted_at is None and row.expires_at is not None and row.expires_at <= now
        ]

    def files(self) -> set[str]:
        return {row.file for row in self._snapshots.values() if row.file is not None}

    def add_snapshot(self, row: SnapshotRow) -> None:
        self._set(self._snapshots, row.id, row)

    def drop_snapshot(self, id: str, at: str) -> None:
        gone = {"manifest": "{}", "image": None, "data_key": None, "answer": None}
        self._change_snapshot(id, **gone, deleted_at=at)

    def unerased_snapshots(self, after: int, limit: int) -> list[SnapshotRow]:
        rows = [row for row in self._snapshots.values() if row.ord > after]
        found = [r for r in rows if r.deleted_at is not None and r.erased_at is None]
        return sorted(found, key=lambda row: row.ord)[:limit]

    def keep_answer(self, id: str, answer: str) -> None:
        self._change_snapshot(id, answer=answer)

    def erase_snapshot(self, id: str, at: str) -> None:
        self._change_snapshot(id, file=None, erased_at=at)

    def keys_in_use(self) -> set[str]:
        return {r.key_id for r in self._kept_snapshots() if r.key_id is not None}

    def count_unsealed(self) -> int:
        return sum(1 for row in self._kept_snapshots() if row.key_id is None)

    def wrapped_snapshots(self, active: str, after: int, limit: int) -> list[SnapshotRow]:
        found = [
            row
            for row in self._kept_snapshots()
            if row.key_id is not None and row.key_id != active and row.ord > after
        ]
        return sorted(found, key=lambda row: row.ord)[:limit]

    def rewrap_snapshot(self, id: str, key_id: str, data_key: bytes) -> None:
        self._change_snapshot(id, key_id=key_id, data_key=data_key)

    def _kept_snapshots(self) -> list[SnapshotRow]:
        return [row for row in self._snapshots.values() if row.deleted_at is None]

    def _change_snapshot(self, id: str, **cells: Cell) -> None:
        changed = self._snapshots[id]._replace(**cells)  # type: ignore[arg-type]
        self._set(self._snapshots, id, changed)

    # --- freezes

    def epoch(self) -> int:
        return max((row.epoch for row in self._freezes.values()), default=0)

    def freeze(self, id: str) -> FreezeRow | None:
        return self._freezes.get(id)

    def freezes(self) -> list[FreezeRow]:
        return list(self._freezes.values())

    def standing_freezes(self, now: str) -> list[FreezeRow]:
        return [
            row
            for row in self._freezes.values()
            if row.lifted_at is None and (row.ends_at is None or row.ends_at > now)
        ]

    def add_freeze(self, row: FreezeRow) -> None:
        self._set(self._freezes, row.id, row)

    def lift_freeze(self, id: str, at: str) -> None:
        self._set(self._freezes, id, self._freezes[id]._replace(lifted_at=at))

    # --- approvals

    def approval(self, id: str) -> ApprovalRow | None:
        return self._approvals.get(id)

    def approvals(self, waiting: bool) -> list[ApprovalRow]:
        found = [r for r in self._approvals.values() if r.state == "waiting" or not waiting]
        return sorted(found, key=lambda row: (row.created_at, row.id))

    def add_approval(self, row: ApprovalRow) -> None:
        self._set(self._approvals, row.id, row)

    def change_approval(self, id: str, state: str, by: str | None, note: str | None) -> None:
        changed = self._approvals[id]._replace(state=state, decided_by=by, note=note)
        self._set(self._approvals, id, changed)

    # --- reverts

    def put_revert(self, row: RevertRow) -> None:
        first = self._reverts.get(row.id, row)
        changed = first._replace(state=row.state, steps=row.steps, updated_at=row.updated_at)
        self._set(self._reverts, row.id, changed)

    def revert(self, id: str) -> RevertRow | None:
        return self._reverts.get(id)

    def running_reverts(self) -> list[RevertRow]:
        found = [row for row in self._reverts.values() if row.state == "running"]
        return sorted(found, key=lambda row: row.id)

    def add_conflict(self, revert: str, call: str, body: str) -> None:
        there = self._conflicts.get(revert, ())
        number = there[-1].number + 1 if there else 1
        self._set(self._conflicts, revert, (*there, ConflictRow(revert, number, call, body)))

    def conflicts(self, revert: str, after: int, limit: int) -> list[ConflictRow]:
        return [row for row in self._conflicts.get(revert, ()) if row.number > after][:limit]

    def drop_conflicts(self, revert: str, call: str) -> None:
        kept = tuple(row for row in self._conflicts.get(revert, ()) if row.call != call)
        self._set(self._conflicts, revert, kept)

    # --- agents

    def agents(self) -> list[AgentRow]:
        return sorted(self._agents.values(), key=lambda row: (row.created_at, row.name))

    def agent(self, name: str) -> AgentRow | None:
        found = (r for r in self._agents.values() if r.name == name and r.revoked_at is None)
        return next(found, None)

    def agent_by_token(self, token_sha256: str) -> AgentRow | None:
        row = self._agents.get(token_sha256)
        return None if row is None or row.revoked_at is not None else row

    def add_agent(self, row: AgentRow) -> None:
        self._set(self._agents, row.token_sha256, row)

    def revoke_agent(self, name: str, at: str) -> None:
        row = self.agent(name)
        if row is not None:
            self._set(self._agents, row.token_sha256, row._replace(revoked_at=at))

    # --- tools of MCP servers

    def pins(self, server: str | None) -> list[PinRow]:
        found = (row for row in self._pins.values() if server in (None, row.server))
        return sorted(found, key=lambda row: (row.server, row.tool))

    def put_pin(self, row: PinRow) -> None:
        self._set(self._pins, (row.server, row.tool), row)

    # --- audit

    def last_entry(self) -> tuple[int, str] | None:
        last = self._entries.get(len(self._entries))
        return None if last is None else (last.seq, last.hash)

    def entries(self, after: int, limit: int) -> list[EntryRow]:
        wanted = range(max(0, after) + 1, min(max(0, after) + limit, len(self._entries)) + 1)
        return [self._entries[seq] for seq in wanted]

    def tallied(self, agent: str, session: str | None, since: str, after: int) -> list[Tallied]:
        return [
            Tallied(
                minute=row.received_at[:16],
                state=row.state,
                begun=int(row.generation > 0),
                dry_run=row.dry_run,
                cls=None if row.action is None else json.loads(row.action).get("class"),
                calls=1,
                rows=json.loads(row.measured)["rows"] if _landed(row) and row.measured else 0,
            )
            for row in self._calls.values()
            if row.agent == agent and session in (None, row.session) and row.reverts == "[]"
            if row.received_at >= since and row.ord > after
        ]

    def add_entry(self, row: EntryRow) -> None:
        self._set(self._entries, row.seq, row)

    def beat(self, at: str) -> None:
        self._set(self._beat, 1, at)


def _landed(row: CallRow) -> bool:
    return bool(row.permitted) and row.state not in ("failed", "denied")


def _head(row: CallRow) -> Head:
    return Head(**{name: getattr(row, name) for name in Head._fields})


def _matches(row: CallRow, f: Filter) -> bool:
    return (
        f.session in (None, row.session)
        and f.agent in (None, row.agent)
        and f.tool in (None, row.tool)
        and (f.since is None or row.received_at >= f.since)
        and (f.until is None or row.received_at < f.until)
        and (f.states is None or row.state in json.loads(f.states))
        and f.reverts in (None, int(row.reverts != "[]"))
        and (f.before is None or row.ord < f.before)
    )


class MemoryStore(CountingStore):
    """Without ``images`` that have a shelf, every image is kept in memory too."""

    def __init__(
        self,
        *,
        clock: Clock,
        images: Images | None = None,
        approval_ttl: timedelta = APPROVAL_TTL,
        remains: Remains | None = None,
        probe: Probe = no_probe,
    ) -> None:
        super().__init__(
            images=images or Images(),
            clock=clock,
            approval_ttl=approval_ttl,
            remains=remains,
            probe=probe,
        )
        self._tables = MemoryTables()
        self._is_open = False

    async def open(self) -> None:
        self._is_open = True
        await self._images.open(lambda: self._read(keeping.known))

    async def close(self) -> None:
        self._is_open = False

    async def _write(self, op: Callable[[Tables, datetime], T]) -> T:
        # The operation does not await: nothing else runs in between.
        self._opened()
        self._tables.begin()
        try:
            return op(self._tables, self._clock.now())
        except BaseException:
            self._tables.rollback()
            raise

    async def _read(self, op: Callable[[Tables], T]) -> T:
        self._opened()
        return op(self._tables)

    async def _scrub(self) -> None:
        self._tables.begin()  # what could take the deletion back goes too

    def _opened(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("The store is closed.")
