"""temporary"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.interfaces import AuditEntry
from gateway.ledger import acts, moves, snapshots, starts
from gateway.ledger.images import ImageFolder
from gateway.ledger.memory_tables import MemoryTables
from gateway.ledger.sqlite_tables import SqliteTables
from gateway.ledger.tables import CallFilter


class _Base:
    def __init__(self, images, clock, probe=lambda s: None):
        self.images, self.clock, self.probe = images, clock, probe

    async def _do(self, op: Callable[[Any], Any]) -> Any: ...

    async def refuse(self, call, deny, *, action=None, reach=None):
        await self._do(lambda t: starts.refuse(t, self.clock.now(), call, deny, action, reach))

    async def hold(self, call, hold, *, action, reach, measured=None):
        return await self._do(lambda t: starts.hold(t, self.clock.now(), "apr_" + call.id.removeprefix("call_"), call, hold, action, reach, measured))

    async def intend(self, call, *, action, reach, decision, approval=None):
        return await self._do(lambda t: starts.intend(t, self.clock.now(), call, action, reach, decision, approval))

    async def begin(self, intent, *, windows, revision, lease):
        return await self._do(lambda t: moves.begin(t, self.clock.now(), intent, windows, revision, lease))

    async def permit(self, running, *, undo, receipt, measured, reach, windows, expires_at):
        prepared = None if undo is None else await self.images.prepare(running.call, undo, self.clock.now(), expires_at)
        return await self._do(lambda t: moves.permit(t, self.clock.now(), running, prepared, receipt, measured, reach, windows, expires_at))

    async def settle(self, running, outcome):
        return await self._do(lambda t: moves.settle(t, self.clock.now(), running, outcome))

    async def find(self, subject, key):
        return await self._do(lambda t: t.call_by_key(subject, key))

    async def call(self, id):
        return await self._do(lambda t: t.call(id))

    async def calls(self, *, limit=100, states=(), **kw):
        found = await self._do(lambda t: t.calls(CallFilter(limit=limit + 1, states=tuple(states), **kw)))
        return found[:limit], (found[limit - 1].call.id if len(found) > limit else None)

    async def take_over(self, *, everything, lease):
        return await self._do(lambda t: moves.take_over(t, self.clock.now(), everything, lease))

    async def freeze(self, freeze):
        return await self._do(lambda t: acts.freeze(t, self.clock.now(), freeze))

    async def lift(self, id, *, by):
        return await self._do(lambda t: acts.lift(t, self.clock.now(), id, by))

    async def freezes(self, *, lifted=False):
        return await self._do(lambda t: t.freezes(lifted=lifted))

    async def in_flight(self, scope):
        return await self._do(lambda t: acts.in_flight(t, scope))

    async def approvals(self, *, waiting=True):
        return await self._do(lambda t: t.approvals(waiting=waiting))

    async def approval(self, id):
        return await self._do(lambda t: t.approval(id))

    async def decide_approval(self, id, *, approve, by, note):
        return await self._do(lambda t: acts.decide_approval(t, self.clock.now(), id, approve, by, note))

    async def snapshots(self, *, call=None, limit=100, cursor=None):
        f = await self._do(lambda t: t.snapshots(call, limit + 1, cursor))
        return f[:limit], (f[limit - 1].id if len(f) > limit else None)

    async def undo_of(self, call):
        s = await self._do(lambda t: t.snapshot_of(call))
        if s is None or s.info.deleted_at is not None:
            return None
        return await asyncio.to_thread(self.images.load, s)

    async def delete_snapshot(self, id, *, by):
        ok, file = await self._do(lambda t: snapshots.delete(t, self.clock.now(), id, by))
        self.images.remove(file)
        return ok

    async def expire_snapshots(self, now):
        due = await self._do(lambda t: t.snapshots_due(now))
        for id in due:
            await self.delete_snapshot(id, by="retention")
        return len(due)

    async def save_revert(self, job):
        await self._do(lambda t: acts.save_revert(t, self.clock.now(), job))

    async def revert(self, id):
        return await self._do(lambda t: t.revert(id))

    async def unfinished_reverts(self):
        return await self._do(lambda t: t.unfinished_reverts())

    async def add_agent(self, agent, *, by):
        return await self._do(lambda t: acts.add_agent(t, self.clock.now(), agent, by))

    async def revoke_agent(self, name, *, by):
        return await self._do(lambda t: acts.revoke_agent(t, self.clock.now(), name, by))

    async def agents(self):
        return await self._do(lambda t: t.agents())

    async def agent_by_token(self, token_sha256):
        return await self._do(lambda t: t.agent_by_token(token_sha256))

    async def entries(self, *, after=0, limit=1000):
        return [AuditEntry(seq=e.seq, hash=e.hash, body=e.body) for e in await self._do(lambda t: t.entries(after, limit))]

    async def head(self):
        return await self._do(lambda t: t.head())

    async def record(self, event, body):
        await self._do(lambda t: acts.record(t, self.clock.now(), event, body))

    async def ready(self):
        await self._do(lambda t: t.beat(self.clock.now()))


class MemoryStore(_Base):
    def __init__(self, *, clock):
        super().__init__(ImageFolder(Path("/nonexistent"), inline_bytes=1 << 60), clock)
        self._tables = MemoryTables()

    async def _do(self, op):
        await asyncio.sleep(0)
        with self._tables.transaction():
            return op(self._tables)

    async def open(self): ...
    async def close(self): ...


class SqliteStore(_Base):
    def __init__(self, path, *, images, clock, probe=lambda s: None):
        super().__init__(images, clock, probe)
        self.path = path

    async def open(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        from importlib.resources import files
        if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name='calls'").fetchone():
            self.db.executescript(files("gateway.ledger").joinpath("migrations/0001_start.sql").read_text())
        self.lock = asyncio.Lock()

    async def close(self):
        if hasattr(self, "db"):
            self.db.close()

    def _op(self, op):
        self.db.execute("BEGIN IMMEDIATE")
        try:
            r = op(SqliteTables(self.db))
            self.db.execute("COMMIT")
            return r
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    async def _do(self, op):
        async with self.lock:
            return await asyncio.to_thread(self._op, op)
