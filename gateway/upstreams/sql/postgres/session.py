"""Connections to one PostgreSQL role: pinned, verified, pooled.

Agents' statements travel by the extended protocol only (``Session.extended``), where the server
itself refuses a second statement in one text. Everything else here is the gateway's own SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus, TransactionStatus

from gateway.errors import UpstreamError
from gateway.upstreams.sql.postgres.failures import unreachable
from gateway.upstreams.sql.postgres.pins import TEXT_PINS
from gateway.upstreams.sql.postgres.replies import DONE, ROWS, Reply, columns_of, origins_of, take

_PING_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. ``idle`` ends a transaction whose owner went away."""

    statement: float
    lock: float
    idle: float
    connect: float = 5.0


Query = tuple[str, Sequence[Any] | Mapping[str, Any]]  # %s or %(name)s for parameters


class TooMuch(Exception):
    """A result or an image went over its budget; the statement was cancelled. Its argument, where
    there is one, names the budget: rows, bytes."""


class Session:
    """One connection outside of psycopg's own transaction handling: BEGIN and COMMIT are
    statements here."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.used_at = 0.0
        self.durable = True  # False: the role's own default is synchronous_commit = off

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    @property
    def version(self) -> int:
        return self.connection.info.server_version

    @property
    def idle(self) -> bool:
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    async def rows(self, query: str, *params: Any, **named: Any) -> list[tuple[Any, ...]]:
        """Our own query, ``%s`` or ``%(name)s`` for parameters; its rows."""
        cursor = await self.connection.execute(query, params or named or None)
        return await cursor.fetchall()

    async def one(self, query: str, *params: Any, **named: Any) -> tuple[Any, ...]:
        return (await self.rows(query, *params, **named))[0]

    async def kept(self, query: str, **named: Any) -> tuple[Any, ...]:
        """As ``one``; the plan stays with the session (see ``Pool``, ``agents``)."""
        cursor = await self.connection.execute(query, named, prepare=True)
        rows: list[tuple[Any, ...]] = await cursor.fetchall()
        return rows[0]

    async def batch(self, *queries: Query) -> list[list[tuple[Any, ...]]]:
        """Our own queries, sent together; the rows of each, none for a command. The first error
        ends the rest."""
        execute = self.connection.execute
        async with self.connection.pipeline():
            cursors = [await execute(text, params or None) for text, params in queries]
        return [
            await cursor.fetchall() if cursor.description is not None else [] for cursor in cursors
        ]

    async def exchange(
        self, query: Query, raw: str
    ) -> tuple[tuple[Any, ...], list[tuple[bytes | None, ...]]]:
        """Two queries, sent together: the one row of ``query``, whose plan is kept, and all rows of
        ``raw`` with their values in the types' own binary form."""
        execute = self.connection.execute
        text, params = query
        async with self.connection.pipeline():
            cursor = await execute(text, params or None, prepare=True)
            found = await execute(raw, prepare=False, binary=True)
        rows: list[tuple[bytes | None, ...]] = []
        if found.pgresult is not None:
            take(found.pgresult, rows)
        return (await cursor.fetchall())[0], rows

    async def last(self, *statements: str) -> list[tuple[Any, ...]]:
        """Our own statements, sent as one text; the rows of the last one."""
        cursor = await self.connection.execute("; ".join(statements))
        while cursor.nextset():
            continue
        return await cursor.fetchall()

    async def run(self, statement: str, *params: Any) -> int:
        """Our own statement; how many rows it touched."""
        cursor = await self.connection.execute(statement, params or None)
        return cursor.rowcount

    async def extended(
        self,
        text: str,
        params: Sequence[bytes | None],
        *,
        types: Sequence[int] = (),
        prepared: str | None = None,
        max_rows: int,
        max_bytes: int,
    ) -> Reply:
        """One statement of an agent, verbatim, with parameters as text. ``types``: oids, 0 where
        the server infers the type; none given means all 0. ``prepared``: the name under which
        ``text`` already waits on this session. Raises ``TooMuch`` after cancelling the statement
        when its result is over its bounds."""
        pgconn = self.connection.pgconn
        async with self.connection.lock:
            if prepared is None:
                pgconn.send_query_params(text.encode(), list(params), list(types) or None)
            else:
                pgconn.send_query_prepared(prepared.encode(), list(params))
            if psycopg.capabilities.has_stream_chunked():
                pgconn.set_chunked_rows_mode(500)
            else:
                pgconn.set_single_row_mode()
            return await self._collect(max_rows, max_bytes)

    async def _collect(self, max_rows: int, max_bytes: int) -> Reply:
        pgconn = self.connection.pgconn
        rows: list[tuple[bytes | None, ...]] = []
        columns: tuple[tuple[str, int], ...] = ()
        origins: tuple[tuple[int, int], ...] = ()
        tag, affected, size, over = "", 0, 0, False
        error: psycopg.Error | None = None
        while True:
            result = await self.connection.wait(generators.fetch(pgconn))
            if result is None:
                break
            if result.status in ROWS:
                columns = columns or columns_of(result)
                origins = origins or origins_of(result)
                size += take(result, rows)
                if not over and (len(rows) > max_rows or size > max_bytes):
                    over = True
                    await self.connection.cancel_safe(timeout=2.0)
                if over:
                    rows.clear()
            elif result.status == ExecStatus.COPY_OUT or result.status == ExecStatus.COPY_IN:
                pgconn.finish()  # no agent's statement copies; there is no way back in here
                raise psycopg.ProgrammingError("COPY is not accepted here")
            elif result.status not in DONE:
                error = psycopg.errors.error_from_result(result)
            if result.command_status:  # on the last part of the rows, or after them
                tag = result.command_status.decode()
                affected = result.command_tuples or 0
        if over:
            raise TooMuch
        if error is not None:
            raise error
        return Reply(tag=tag, affected=affected, columns=columns, origins=origins, rows=rows)

    async def command(self, text: str) -> str:
        """One of our own transaction commands; the server's command tag."""
        cursor = await self.connection.execute(text)
        return cursor.statusmessage or ""

    async def close(self) -> None:
        await self.connection.close()


# What DISCARD ALL does, in one message together with what stands around it here.
_DISCARD = """
CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *;
SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"""
_NEVER = 1 << 30  # executions after which a statement is prepared unasked


class Pool:
    """At most ``size`` sessions of one role. A session comes back clean or not at all. Only where
    no one else's SQL ever runs (``agents`` is false) is it not wiped between two uses, so that
    plans can be kept."""

    def __init__(
        self,
        source: str,
        url: str,
        *,
        size: int,
        timeouts: Timeouts,
        search_path: str | None,
        agents: bool = True,
    ) -> None:
        self._source = source
        self._url = url
        self._timeouts = timeouts
        self._search_path = search_path
        self._agents = agents
        self._returning: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"Pool({self._source!r})"

    @asynccontextmanager
    async def session(self, wait_s: float = 10.0) -> AsyncIterator[Session]:
        """A session outside of a transaction. Raises ``UpstreamError`` (unreachable, timeout)."""
        try:
            await asyncio.wait_for(self._slots.acquire(), wait_s)
        except TimeoutError:
            raise UpstreamError(
                f"All connections to source {self._source!r} are busy.", reason="upstream.timeout"
            ) from None
        try:
            session = await self.take()
        except BaseException:
            self._slots.release()
            raise
        try:
            yield session
        finally:
            await self._let_go(session)

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[Session | None]:
        """Another session, where none has to be waited for."""
        if self._slots.locked():
            yield None
            return
        async with self.session() as session:
            yield session

    async def _let_go(self, session: Session) -> None:
        if not (self._agents or self._closed or session.connection.closed) and session.idle:
            self._keep(session)
            self._slots.release()
            return
        returning = asyncio.create_task(self._give_back(session))
        self._returning.add(returning)
        returning.add_done_callback(self._returned)
        # What is still open is rolled back before anybody is told how it went.
        if not session.idle:
            await asyncio.shield(returning)

    def _keep(self, session: Session) -> None:
        session.used_at = asyncio.get_running_loop().time()
        self._idle.append(session)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._returning.discard(task)
        self._slots.release()

    async def take(self) -> Session:
        if not self._idle and self._returning:  # sooner than a new one could be made
            await asyncio.wait(self._returning, return_when=asyncio.FIRST_COMPLETED)
        while self._idle:
            session = self._idle.pop()
            if await self._usable(session):
                return session
            await session.close()
        return await self.connect()

    async def _usable(self, session: Session) -> bool:
        if session.connection.closed or not session.idle:
            return False
        if asyncio.get_running_loop().time() - session.used_at < _PING_AFTER_S:
            return True
        try:
            await session.rows("SELECT 1")
        except psycopg.Error:
            return False
        return True

    async def connect(self) -> Session:
        """A new, pinned and verified session that belongs to the caller."""
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                prepare_threshold=None if self._agents else _NEVER,
                client_encoding="UTF8",
                application_name="holdfast",
                connect_timeout=max(2, int(self._timeouts.connect)),
                options=self._options(),
            )
        except psycopg.Error as error:
            raise unreachable(self._source) from error
        session = Session(connection)
        try:
            await self._verify(session)
        except psycopg.Error as error:
            await session.close()
            raise unreachable(self._source) from error
        except BaseException:
            await session.close()
            raise
        return session

    def _options(self) -> str:
        pins = {
            **TEXT_PINS,
            "default_transaction_isolation": "read committed",
            "default_transaction_read_only": "off",
            "default_transaction_deferrable": "off",
            "statement_timeout": str(int(self._timeouts.statement * 1000)),
            "lock_timeout": str(int(self._timeouts.lock * 1000)),
            "idle_in_transaction_session_timeout": str(int(self._timeouts.idle * 1000)),
        }
        if not self._agents:
            # Catalog queries: planning one takes ten times as long as running it.
            pins["plan_cache_mode"] = "force_generic_plan"
            pins["jit"] = "off"
        if self._search_path is not None:
            pins["search_path"] = self._search_path
            pins["row_security"] = "off"  # an error instead of rows that are silently left out
        return " ".join(f"-c {name}={_escaped(value)}" for name, value in pins.items())

    async def _verify(self, session: Session) -> None:
        wanted = {**TEXT_PINS, "client_encoding": "UTF8"}
        found = dict(
            await session.rows(
                "SELECT n, pg_catalog.current_setting(n) FROM pg_catalog.unnest(%s::text[]) AS n",
                list(wanted),
            )
        )
        for name, value in wanted.items():
            if found[name] != value:
                raise UpstreamError(
                    f"Source {self._source!r} does not keep {name} at {value!r}; a pooler between "
                    "must pass the options of a connection on."
                )
        # An acknowledged commit must be one that survives: only "off" does not promise that.
        session.durable = (await session.one("SHOW synchronous_commit"))[0] != "off"
        if not session.durable:
            await session.run("SET synchronous_commit = on")

    async def _give_back(self, session: Session) -> None:
        try:
            if self._closed or not await self._cleaned(session):
                await session.close()
                return
        except psycopg.Error:
            await session.close()
            return
        self._keep(session)

    async def _cleaned(self, session: Session) -> bool:
        connection = session.connection
        if connection.closed:
            return False
        if connection.pgconn.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        ):
            await session.run("ROLLBACK")
        if not session.idle:
            return False
        if not self._agents:
            return True
        parts = [_DISCARD]
        if not session.durable:
            parts.append("SET synchronous_commit = on")
        if session.version >= 150000:
            # The next transaction's counters start at nothing.
            parts.append("SELECT pg_catalog.pg_stat_force_next_flush()")
        await session.run("; ".join(parts))
        return session.idle

    async def close(self) -> None:
        self._closed = True
        if self._returning:
            await asyncio.wait(self._returning)
        while self._idle:
            await self._idle.pop().close()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
