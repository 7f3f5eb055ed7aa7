"""Tables in SQLite. Statements are those of ``queries.sql``; rows are JSON of the frozen nouns
beside the few columns that are searched."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import TypeAdapter

from gateway.audit import Sealed
from gateway.errors import AuditUnavailable
from gateway.interfaces import Agent, SnapshotInfo
from gateway.ledger.tables import CallFilter, StoredSnapshot
from gateway.model import Approval, CallRecord, Freeze, RevertJob, Undo

T = TypeVar("T")

CALL = TypeAdapter(CallRecord)
FREEZE = TypeAdapter(Freeze)
APPROVAL = TypeAdapter(Approval)
INFO = TypeAdapter(SnapshotInfo)
UNDO = TypeAdapter(Undo)
REVERT = TypeAdapter(RevertJob)
AGENT = TypeAdapter(Agent)


def named_queries(text: str) -> dict[str, str]:
    """``-- name: x`` blocks of a .sql file."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


QUERIES = named_queries(files("gateway.ledger").joinpath("queries.sql").read_text("utf-8"))


def _text(adapter: TypeAdapter[T], value: T) -> str:
    return adapter.dump_json(value).decode()


def _moment(at: datetime | None) -> str | None:
    # One form for all, so that text order is time order.
    return None if at is None else at.isoformat(timespec="microseconds")


class SqliteTables:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _rows(self, query: str, **values: Any) -> list[Any]:
        return self._connection.execute(QUERIES[query], values).fetchall()

    def _one(self, adapter: TypeAdapter[T], query: str, **values: Any) -> T | None:
        row = self._connection.execute(QUERIES[query], values).fetchone()
        return None if row is None else adapter.validate_json(row[0])

    def _many(self, adapter: TypeAdapter[T], query: str, **values: Any) -> list[T]:
        return [adapter.validate_json(row[0]) for row in self._rows(query, **values)]

    def _put(self, query: str, values: Mapping[str, Any]) -> None:
        self._connection.execute(QUERIES[query], values)

    def call(self, id: str) -> CallRecord | None:
        return self._one(CALL, "call", id=id)

    def call_by_key(self, subject: str, key: str) -> CallRecord | None:
        return self._one(CALL, "call_by_key", subject=subject, key=key)

    def put_call(self, record: CallRecord) -> None:
        call = record.call
        self._put(
            "put_call",
            {
                "id": call.id,
                "subject": call.subject.id,
                "session": call.subject.session,
                "tool": call.tool,
                "state": str(record.state),
                "key": call.idempotency_key,
                "is_revert": bool(call.reverts),
                "received_at": _moment(call.received_at),
                "lease_until": _moment(record.lease_until),
                "record": _text(CALL, record),
            },
        )

    def open_calls(self) -> list[CallRecord]:
        return self._many(CALL, "open_calls")

    def calls(self, wanted: CallFilter) -> list[CallRecord]:
        return self._many(
            CALL,
            "calls",
            session=wanted.session,
            agent=wanted.agent,
            since=_moment(wanted.since),
            until=_moment(wanted.until),
            tool=wanted.tool,
            is_revert=wanted.reverts,
            states=json.dumps([str(s) for s in wanted.states]),
            cursor=wanted.cursor,
            limit=wanted.limit,
        )

    def head(self) -> Sealed | None:
        rows = self._rows("head")
        return Sealed(*rows[0]) if rows else None

    def append(self, entry: Sealed) -> None:
        try:
            self._put("append", {"seq": entry.seq, "hash": entry.hash, "body": entry.body})
        except sqlite3.Error as error:
            raise AuditUnavailable("The audit log cannot be written.") from error

    def entries(self, after: int, limit: int) -> list[Sealed]:
        return [Sealed(*row) for row in self._rows("entries", after=after, limit=limit)]

    def freezes(self, *, lifted: bool) -> list[Freeze]:
        return self._many(FREEZE, "freezes", lifted=lifted)

    def freeze(self, id: str) -> Freeze | None:
        return self._one(FREEZE, "freeze", id=id)

    def freeze_count(self) -> int:
        return int(self._rows("freeze_count")[0][0])

    def put_freeze(self, freeze: Freeze) -> None:
        lifted = freeze.lifted_at is not None
        self._put(
            "put_freeze", {"id": freeze.id, "lifted": lifted, "record": _text(FREEZE, freeze)}
        )

    def approval(self, id: str) -> Approval | None:
        return self._one(APPROVAL, "approval", id=id)

    def approvals(self, *, waiting: bool) -> list[Approval]:
        return self._many(APPROVAL, "approvals", waiting=waiting)

    def put_approval(self, approval: Approval) -> None:
        self._put(
            "put_approval",
            {
                "id": approval.id,
                "call": approval.call,
                "state": approval.state,
                "record": _text(APPROVAL, approval),
            },
        )

    def _stored(self, rows: list[Any]) -> StoredSnapshot | None:
        if not rows:
            return None
        info, undo, file, image = rows[0]
        return StoredSnapshot(
            info=INFO.validate_json(info), undo=UNDO.validate_json(undo), file=file, image=image
        )

    def snapshot(self, id: str) -> StoredSnapshot | None:
        return self._stored(self._rows("snapshot", id=id))

    def snapshot_of(self, call: str) -> StoredSnapshot | None:
        return self._stored(self._rows("snapshot_of", call=call))

    def snapshots(self, call: str | None, limit: int, cursor: str | None) -> list[SnapshotInfo]:
        return self._many(INFO, "snapshots", call=call, limit=limit, cursor=cursor)

    def put_snapshot(self, snapshot: StoredSnapshot) -> None:
        info = snapshot.info
        self._put(
            "put_snapshot",
            {
                "id": info.id,
                "call": info.call,
                "expires_at": _moment(info.expires_at),
                "deleted": info.deleted_at is not None,
                "file": snapshot.file,
                "info": _text(INFO, info),
                "undo": _text(UNDO, snapshot.undo),
                "image": snapshot.image,
            },
        )

    def snapshots_due(self, now: datetime) -> list[str]:
        return [row[0] for row in self._rows("snapshots_due", now=_moment(now))]

    def files(self) -> set[str]:
        return {row[0] for row in self._rows("snapshot_files")}

    def revert(self, id: str) -> RevertJob | None:
        return self._one(REVERT, "revert", id=id)

    def unfinished_reverts(self) -> list[RevertJob]:
        return self._many(REVERT, "unfinished_reverts")

    def put_revert(self, job: RevertJob) -> None:
        self._put("put_revert", {"id": job.id, "state": job.state, "record": _text(REVERT, job)})

    def agent(self, name: str) -> Agent | None:
        return self._one(AGENT, "agent", name=name)

    def agents(self) -> list[Agent]:
        return self._many(AGENT, "agents")

    def agent_by_token(self, token_sha256: str) -> Agent | None:
        return self._one(AGENT, "agent_by_token", token_sha256=token_sha256)

    def put_agent(self, agent: Agent) -> None:
        self._put(
            "put_agent",
            {
                "name": agent.name,
                "token_sha256": agent.token_sha256,
                "record": _text(AGENT, agent),
            },
        )

    def beat(self, at: datetime) -> None:
        self._put("beat", {"at": _moment(at)})
