"""Drives the upstream as the walk does, without a store: calls, permits, reverts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from gateway.interfaces import Ran
from gateway.model import (
    Action,
    Call,
    Deny,
    Json,
    OnConflict,
    Outcome,
    Permit,
    Step,
    Subject,
    Surface,
    Undo,
)
from gateway.store.images import Images
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite import SqliteUpstream
from gateway.upstreams.sql.sqlite.catalog import quoted


class Ticking:
    """A clock that moves on by a second each time it is read."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def call_of(number: int, sql: object, params: Json = None) -> Call:
    return Call(
        id=f"call-{number:04}",
        subject=Subject(id="agent", session="s"),
        surface=Surface.SQL,
        tool="shop",
        request={"sql": sql, "params": params if params is not None else []},
        digest="d",
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@dataclass(slots=True)
class Done:
    """A call that was committed."""

    call: Call
    action: Action
    ran: Ran
    undo: Undo
    outcome: Outcome


@dataclass(slots=True)
class Driver:
    upstream: SqliteUpstream
    path: Path
    folder: Path
    number: int = 0
    done: list[Done] = field(default_factory=list)

    async def parse(self, sql: object, params: Json = None) -> Action | Deny:
        self.number += 1
        return await self.upstream.parse(call_of(self.number, sql, params))

    async def judged(self, sql: str, params: Json = None) -> Action:
        action = await self.parse(sql, params)
        assert isinstance(action, Action), action
        return action

    async def read(self, sql: str, params: Json = None) -> Outcome:
        action = await self.judged(sql, params)
        async with self.upstream.attempt(call_of(self.number, sql, params), action) as attempt:
            return await attempt.read()

    async def do(self, sql: str, params: Json = None) -> Done:
        """Runs, captures and commits."""
        action = await self.judged(sql, params)
        call = call_of(self.number, sql, params)
        async with self.upstream.attempt(call, action) as attempt:
            ran = await attempt.run()
            captured = await attempt.capture()
            assert not isinstance(captured, Deny), captured
            outcome = await attempt.commit(Permit.issue(call.id, 1))
        done = Done(call, action, ran, captured.undo, outcome)
        self.done.append(done)
        return done

    async def revert(
        self, *done: Done, on_conflict: OnConflict = OnConflict.ABORT
    ) -> tuple[tuple[Step, ...], Done | None]:
        """Newest first, as given. The second is the committed revert, if one was."""
        self.number += 1
        call = call_of(self.number, "revert")
        undos = [(each.call.id, each.undo) for each in done]
        async with self.upstream.unwind(call, undos, on_conflict) as unwinding:
            steps = await unwinding.run()
            if not any(step.restored for step in steps):
                return steps, None
            captured = await unwinding.capture()
            assert not isinstance(captured, Deny), captured
            outcome = await unwinding.commit(Permit.issue(call.id, 1))
        action: Any = None
        ran: Any = None
        return steps, Done(call, action, ran, captured.undo, outcome)


def _exactly(column: str) -> str:
    name = quoted(column)
    return (
        f"CASE WHEN typeof({name}) IN ('text', 'blob') THEN hex(CAST({name} AS BLOB)) "
        f"ELSE quote({name}) END, typeof({name})"
    )


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table with its row id where it has one; the oracle of exactness."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return rows_in(db)
    finally:
        db.close()


def rows_in(db: apsw.Connection) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    tables = db.execute(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
        "AND name NOT IN ('holdfast_receipt', 'sqlite_schema', 'sqlite_sequence')"
    ).fetchall()
    for name, without_rowid in tables:
        columns = db.execute("SELECT name FROM pragma_table_xinfo(?)", (name,)).fetchall()
        wanted = ", ".join(_exactly(str(c)) for (c,) in columns)
        rowid = "" if without_rowid else "_rowid_, "
        rows = db.execute(f"SELECT {rowid}{wanted} FROM {quoted(str(name))}").fetchall()
        found[str(name)] = sorted(tuple(r) for r in rows)
    return found


def change(path: Path, *statements: str | tuple[str, Sequence[Any]], fk: bool = True) -> None:
    """Somebody else's writes, each committed by itself."""
    db = apsw.Connection(str(path))
    try:
        db.pragma("foreign_keys", fk)
        for statement in statements:
            if isinstance(statement, str):
                db.execute(statement)
            else:
                db.execute(*statement)
    finally:
        db.close()


@asynccontextmanager
async def driving(
    path: Path, schema: str, *, limits: SqlLimits | None = None, **options: Any
) -> AsyncIterator[Driver]:
    """A new file with ``schema`` behind an open upstream."""
    change(path, schema)
    folder = path.parent / "kept"
    upstream = SqliteUpstream(
        "shop",
        path,
        environment="test",
        limits=limits or SqlLimits(lock_timeout_s=1.0),
        folder=folder,
        spooler=Images(),
        clock=Ticking(),
        **options,
    )
    await upstream.open()
    try:
        yield Driver(upstream, path, folder)
    finally:
        await upstream.close()
