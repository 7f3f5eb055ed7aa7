"""One connection that writes: whatever waits is carried out in one transaction (group commit).

Every operation has a savepoint of its own, so that one that fails leaves the others whole; nobody
hears an answer before the commit that holds it is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import aiosqlite

from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.interfaces import Clock, Probe
from gateway.store.sqlite_tables import SqliteTables
from gateway.store.tables import Tables

T = TypeVar("T")
Op = Callable[[Tables, datetime], Any]
# More would make the first one wait for the last.
LARGEST_BATCH = 256


async def in_thread(connection: aiosqlite.Connection, work: Callable[[], T]) -> T:
    """Runs ``work`` in the connection's own thread, in one hop."""
    # ``_execute`` is what every public method of aiosqlite 0.22 goes through. One hop for each
    # statement would cost more than the statements; a batch has several hundred.
    answer: T = await connection._execute(work)  # type: ignore[no-untyped-call]
    return answer


@dataclass(slots=True)
class _Waiting:
    op: Op
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Done:
    """The answers of a batch in its order: (answer, error)."""

    answers: list[tuple[Any, BaseException | None]] = field(default_factory=list)
    broken: bool = False


class Writer:
    """``connect`` makes a new, proven connection; it is called again after one has failed."""

    def __init__(
        self, connect: Callable[[], Awaitable[aiosqlite.Connection]], clock: Clock, probe: Probe
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._probe = probe
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._connection: aiosqlite.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._connection = await self._connect()
        self._task = asyncio.create_task(self._run(), name="store writer")

    async def close(self) -> None:
        """Carries out what waits, then closes."""
        task, self._task = self._task, None
        if task is not None:
            self._queue.put_nowait(None)
            await task
        await self._disconnect()

    async def write(self, op: Callable[[Tables, datetime], T]) -> T:
        """Raises what ``op`` raised, or ``StoreUnavailable``; then nothing of it was written."""
        if self._task is None:
            raise StoreUnavailable("The store is closed.")
        waiting = _Waiting(op, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        answer: T = await waiting.future
        return answer

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """``work`` on the bare connection, between two batches; ``None`` while there is none."""
        connection = self._connection
        if connection is None:
            return None
        return await in_thread(connection, lambda: work(connection._conn))

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < LARGEST_BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            asked = [waiting for waiting in batch if waiting is not None]
            if asked:
                await self._carry_out(asked)
            if len(asked) < len(batch):
                return

    async def _carry_out(self, batch: Sequence[_Waiting]) -> None:
        ended = False
        try:
            connection = self._connection or await self._connect()
            self._connection = connection
            ops = [w.op for w in batch]
            done = await in_thread(connection, lambda: self._batch(connection._conn, ops))
        except BaseException as error:  # noqa: BLE001 - whatever it was, the callers hear of it
            await self._disconnect()
            done = _Done([(None, _told(error))] * len(batch))
            ended = isinstance(error, asyncio.CancelledError)
        if done.broken:
            await self._disconnect()
        for waiting, (answer, wrong) in zip(batch, done.answers, strict=True):
            if waiting.future.done():
                continue  # the caller went away; what it asked for stands
            if wrong is None:
                waiting.future.set_result(answer)
            else:
                waiting.future.set_exception(wrong)
        if ended:
            raise asyncio.CancelledError

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    # --- in the connection's thread

    def _batch(self, connection: sqlite3.Connection, ops: Sequence[Op]) -> _Done:
        done = _Done()
        try:
            connection.execute("BEGIN IMMEDIATE")
            tables = SqliteTables(connection)
            for op in ops:
                done.answers.append(self._one(connection, tables, op))
            self._probe("store.committing")
            connection.execute("COMMIT")
            self._probe("store.committed")
        except sqlite3.Error as error:
            _roll_back(connection)
            return _all_failed(done, len(ops), error)
        return done

    def _one(
        self, connection: sqlite3.Connection, tables: Tables, op: Op
    ) -> tuple[Any, BaseException | None]:
        connection.execute("SAVEPOINT op")
        try:
            answer = op(tables, self._clock.now())
        except Exception as error:
            if not connection.in_transaction:
                # SQLite took back the whole transaction (disk full, I/O error).
                raise _Aborted(error) from error
            connection.execute("ROLLBACK TO op")
            connection.execute("RELEASE op")
            return None, _unavailable(error) if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE op")
        return answer, None


class _Aborted(sqlite3.Error):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _all_failed(done: _Done, count: int, error: sqlite3.Error) -> _Done:
    """Nothing of the batch is durable, so nobody is told that it is."""
    failed: list[tuple[Any, BaseException | None]] = []
    for index in range(count):
        own = done.answers[index][1] if index < len(done.answers) else None
        aborted = isinstance(error, _Aborted) and index == len(done.answers)
        if aborted and isinstance(error, _Aborted) and isinstance(error.cause, AuditUnavailable):
            own = error.cause
        failed.append((None, own or _unavailable(error)))
    return _Done(failed, broken=True)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # the connection is closed next, which rolls back too


def _told(error: BaseException) -> BaseException:
    if isinstance(error, asyncio.CancelledError):
        return StoreUnavailable("The store was closed before this was written.")
    return _unavailable(error) if isinstance(error, sqlite3.Error | OSError) else error


def _unavailable(error: Exception) -> StoreUnavailable:
    if isinstance(error, StoreUnavailable):
        return error
    return StoreUnavailable(f"The store cannot be written: {error}.")
