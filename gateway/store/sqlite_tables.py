"""``Tables`` over one SQLite connection, used in the connection's own thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from gateway.errors import AuditUnavailable
from gateway.store.queries import queries
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


class SqliteTables:
    """Transactions are the caller's; errors are ``sqlite3.Error`` but for ``add_entry``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queries = queries()

    def _run(self, query: str, cells: Mapping[str, Cell]) -> sqlite3.Cursor:
        return self._connection.execute(self._queries[query], cells)

    def _one(self, query: str, **cells: Cell) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(query, cells).fetchone()
        return row

    def _all(self, query: str, **cells: Cell) -> list[tuple[Any, ...]]:
        return self._run(query, cells).fetchall()

    # --- calls

    def head(self, id: str) -> Head | None:
        row = self._one("head", id=id)
        return None if row is None else Head._make(row)

    def key_holder(self, agent: str, key: str) -> str | None:
        row = self._one("key_holder", agent=agent, key=key)
        return None if row is None else row[0]

    def call(self, id: str) -> CallRow | None:
        row = self._one("call", id=id)
        return None if row is None else CallRow._make(row)

    def calls(self, wanted: Filter) -> list[CallRow]:
        query = "calls"
        if wanted.session is not None:
            query = "calls_of_session"
        elif wanted.agent is not None:
            query = "calls_of_agent"
        return [CallRow._make(row) for row in self._run(query, wanted._asdict())]

    def unsettled(self) -> list[Head]:
        return [Head._make(row) for row in self._all("unsettled")]

    def twin(self, agent: str, digest: str, since: str) -> Head | None:
        row = self._one("twin", agent=agent, digest=digest, since=since)
        return None if row is None else Head._make(row)

    def misses(self, agent: str, digest: str, since: str, spared: str) -> int:
        row = self._one("misses", agent=agent, digest=digest, since=since, spared=spared)
        return 0 if row is None else int(row[0])

    def under_way(self, agent: str, digest: str, since: str) -> int:
        row = self._one("under_way", agent=agent, digest=digest, since=since)
        return 0 if row is None else int(row[0])

    def since_newest(self, agent: str, n: int) -> str | None:
        row = self._one("since_newest", agent=agent, n=n)
        return None if row is None else row[0]

    def rows_changed(self, agent: str, since: str) -> int:
        row = self._one("rows_changed", agent=agent, since=since)
        return 0 if row is None else int(row[0])

    def tallied(self, agent: str, session: str | None, since: str, after: int) -> list[Tallied]:
        query = "tallied_of_agent" if session is None else "tallied_of_session"
        cells: dict[str, Cell] = {"agent": agent, "since": since, "after": after}
        if session is not None:
            cells["session"] = session
        return [Tallied._make(row) for row in self._all(query, **cells)]

    def add_call(self, row: CallRow) -> None:
        self._run("add_call", row._asdict())

    def change_call(self, query: str, id: str, /, **cells: Cell) -> None:
        self._run(query, {"id": id, **cells})

    # --- snapshots

    def snapshot(self, id: str) -> SnapshotRow | None:
        row = self._one("snapshot", id=id)
        return None if row is None else SnapshotRow._make(row)

    def snapshots(self, call: str | None, before: int | None, limit: int) -> list[SnapshotRow]:
        rows = self._all("snapshots", call=call, before=before, limit=limit)
        return [SnapshotRow._make(row) for row in rows]

    def due_snapshots(self, now: str) -> list[SnapshotRow]:
        return [SnapshotRow._make(row) for row in self._all("due_snapshots", now=now)]

    def files(self) -> set[str]:
        return {row[0] for row in self._all("files")}

    def add_snapshot(self, row: SnapshotRow) -> None:
        self._run("add_snapshot", row._asdict())

    def drop_snapshot(self, id: str, at: str) -> None:
        self._run("drop_snapshot", {"id": id, "at": at})

    def unerased_snapshots(self, after: int, limit: int) -> list[SnapshotRow]:
        rows = self._all("unerased_snapshots", after=after, limit=limit)
        return [SnapshotRow._make(row) for row in rows]

    def keep_answer(self, id: str, answer: str) -> None:
        self._run("keep_answer", {"id": id, "answer": answer})

    def erase_snapshot(self, id: str, at: str) -> None:
        self._run("erase_snapshot", {"id": id, "at": at})

    def keys_in_use(self) -> set[str]:
        return {row[0] for row in self._all("keys_in_use")}

    def count_unsealed(self) -> int:
        row = self._one("count_unsealed")
        return 0 if row is None else int(row[0])

    def wrapped_snapshots(self, active: str, after: int, limit: int) -> list[SnapshotRow]:
        rows = self._all("wrapped_snapshots", active=active, after=after, limit=limit)
        return [SnapshotRow._make(row) for row in rows]

    def rewrap_snapshot(self, id: str, key_id: str, data_key: bytes) -> None:
        self._run("rewrap_snapshot", {"id": id, "key_id": key_id, "data_key": data_key})

    # --- freezes

    def epoch(self) -> int:
        row = self._one("epoch")
        return 0 if row is None else int(row[0])

    def freeze(self, id: str) -> FreezeRow | None:
        row = self._one("freeze", id=id)
        return None if row is None else FreezeRow._make(row)

    def freezes(self) -> list[FreezeRow]:
        return [FreezeRow._make(row) for row in self._all("freezes")]

    def standing_freezes(self, now: str) -> list[FreezeRow]:
        return [FreezeRow._make(row) for row in self._all("standing_freezes", now=now)]

    def add_freeze(self, row: FreezeRow) -> None:
        self._run("add_freeze", row._asdict())

    def lift_freeze(self, id: str, at: str) -> None:
        self._run("lift_freeze", {"id": id, "at": at})

    # --- approvals

    def approval(self, id: str) -> ApprovalRow | None:
        row = self._one("approval", id=id)
        return None if row is None else ApprovalRow._make(row)

    def approvals(self, waiting: bool) -> list[ApprovalRow]:
        rows = self._all("approvals_waiting" if waiting else "approvals")
        return [ApprovalRow._make(row) for row in rows]

    def add_approval(self, row: ApprovalRow) -> None:
        self._run("add_approval", row._asdict())

    def change_approval(self, id: str, state: str, by: str | None, note: str | None) -> None:
        self._run("change_approval", {"id": id, "state": state, "by": by, "note": note})

    # --- reverts

    def put_revert(self, row: RevertRow) -> None:
        self._run("put_revert", row._asdict())

    def revert(self, id: str) -> RevertRow | None:
        row = self._one("revert", id=id)
        return None if row is None else RevertRow._make(row)

    def running_reverts(self) -> list[RevertRow]:
        return [RevertRow._make(row) for row in self._all("running_reverts")]

    def add_conflict(self, revert: str, call: str, body: str) -> None:
        self._run("add_conflict", {"revert": revert, "call": call, "body": body})

    def conflicts(self, revert: str, after: int, limit: int) -> list[ConflictRow]:
        rows = self._all("conflicts", revert=revert, after=after, limit=limit)
        return [ConflictRow._make(row) for row in rows]

    def drop_conflicts(self, revert: str, call: str) -> None:
        self._run("drop_conflicts", {"revert": revert, "call": call})

    # --- agents

    def agents(self) -> list[AgentRow]:
        return [AgentRow._make(row) for row in self._all("agents")]

    def agent(self, name: str) -> AgentRow | None:
        row = self._one("agent", name=name)
        return None if row is None else AgentRow._make(row)

    def agent_by_token(self, token_sha256: str) -> AgentRow | None:
        row = self._one("agent_by_token", token_sha256=token_sha256)
        return None if row is None else AgentRow._make(row)

    def add_agent(self, row: AgentRow) -> None:
        self._run("add_agent", row._asdict())

    def revoke_agent(self, name: str, at: str) -> None:
        self._run("revoke_agent", {"name": name, "at": at})

    # --- tools of MCP servers

    def pins(self, server: str | None) -> list[PinRow]:
        return [PinRow._make(row) for row in self._all("pins", server=server)]

    def put_pin(self, row: PinRow) -> None:
        self._run("put_pin", row._asdict())

    # --- audit

    def last_entry(self) -> tuple[int, str] | None:
        row = self._one("last_entry")
        return None if row is None else (row[0], row[1])

    def entries(self, after: int, limit: int) -> list[EntryRow]:
        rows = self._all("entries", after=after, limit=limit)
        # Bytes that are no text must reach the verifier, which then names the entry.
        return [EntryRow(seq, hash, body.decode("utf-8", "replace")) for seq, hash, body in rows]

    def add_entry(self, row: EntryRow) -> None:
        try:
            self._run("add_entry", row._asdict())
        except sqlite3.Error as error:
            raise AuditUnavailable(f"The audit log cannot be written: {error}.") from error

    def beat(self, at: str) -> None:
        self._run("beat", {"at": at})
