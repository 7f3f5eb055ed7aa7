"""COPY in and out of a session in constant memory.

Out, the rows are taken from libpq in a plain loop on a thread: an await per row would cost several
times what the server needs to make it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import generators, pq
from psycopg.pq import ExecStatus

from gateway.errors import ImageDamaged
from gateway.upstreams.sql.postgres.replies import DONE, Reply
from gateway.upstreams.sql.postgres.session import Session, TooMuch

# Signature, flags without oids, no extension; and what ends the rows.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_CHUNK = 1 << 18
_POLL_MS = 200
_PIECE = 65_536  # bytes of what an agent loads, at a time

Write = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    rows: int
    size: int


async def copy_out(
    session: Session, query: str, write: Write, *, binary: bool, budget: int
) -> Copied:
    """Rows of ``query`` by COPY; of the binary form only the rows themselves, so that several can
    stand one after the other. ``write`` is called on another thread. Raises ``TooMuch`` beyond
    ``budget`` bytes, after cancelling."""
    return await copy_all([(session, query)], write, binary=binary, budget=budget)


async def copy_all(
    parts: Sequence[tuple[Session, str]], write: Write, *, binary: bool, budget: int
) -> Copied:
    """As ``copy_out``, of several queries at once, each on a session of its own: their rows come in
    any order, and ``write`` is given whole ones."""
    stop = threading.Event()
    rest = _Rest(bytes=budget)
    outs = [
        _Out(session.connection.pgconn, query, write, binary=binary, rest=rest, stop=stop)
        for session, query in parts
    ]
    async with contextlib.AsyncExitStack() as locks:
        for session, _ in parts:
            await locks.enter_async_context(session.connection.lock)
        running = asyncio.get_running_loop().run_in_executor(None, _run, outs)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([running])  # the connections are the thread's until it lets go
            raise


def _run(outs: Sequence[_Out]) -> Copied:
    """All of them on this thread: the rows of one are read while the server makes the other's."""
    try:
        for out in outs:
            out.start()
        for out in outs:
            out.open()
        poll = select.poll()
        still = {out.socket: out for out in outs}
        for socket in still:
            poll.register(socket, select.POLLIN)
        while still:
            for socket, out in tuple(still.items()):
                if out.rows():
                    poll.unregister(socket)
                    del still[socket]
            for socket, _ in poll.poll(_POLL_MS) if still else ():
                still[socket].read()
            if still and next(iter(still.values())).stopped:
                raise TooMuch
        return Copied(rows=sum(out.finish() for out in outs), size=sum(out.size for out in outs))
    except BaseException:
        for out in outs:
            out.abandon()
        raise


@dataclass
class _Rest:
    bytes: int


class _Out:
    """One COPY TO STDOUT, on the thread of ``_run``."""

    def __init__(
        self,
        pgconn: pq.abc.PGconn,
        query: str,
        write: Write,
        *,
        binary: bool,
        rest: _Rest,
        stop: threading.Event,
    ) -> None:
        self.size = 0
        self._pgconn = pgconn
        self._query = f"COPY ({query}) TO STDOUT{' (FORMAT binary)' if binary else ''}".encode()
        self._write = write
        self._rest = rest
        self._stop = stop
        self._skip = len(HEADER) if binary else 0
        self._end = TRAILER if binary else b""  # no message is empty
        self._buffer = bytearray()
        self._busy = self._copies = self._cancelled = False
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)

    @property
    def socket(self) -> int:
        return self._pgconn.socket

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def start(self) -> None:
        self._pgconn.send_query(self._query)
        self._busy = True
        while self._pgconn.flush():
            select.select([], [self._pgconn.socket], [], _POLL_MS / 1000)

    def open(self) -> None:
        result = self._result()
        if result is None or result.status != ExecStatus.COPY_OUT:
            self._last(result)
            raise psycopg.ProgrammingError("the server did not start to copy")
        self._copies = True

    def read(self) -> None:
        self._pgconn.consume_input()

    def rows(self) -> bool:
        """The loop that every row goes through, as far as they are here; whether that was all."""
        get, buffer, end, ends = self._pgconn.get_copy_data, self._buffer, self._end, len(self._end)
        while True:
            length, row = get(1)
            if length > 0:
                if self._skip:
                    row = self._headless(row)
                    length = len(row)
                if length != ends or row != end:
                    buffer += row
                if len(buffer) >= _CHUNK:
                    self._give()
            elif length == 0:
                return False
            else:
                self._copies = False
                self._give()
                return True

    def _headless(self, row: memoryview) -> memoryview:
        if bytes(row[: self._skip]) != HEADER:
            raise psycopg.DataError("the server copies in a form that is not known here")
        skip, self._skip = self._skip, 0
        return row[skip:]

    def _give(self) -> None:
        self.size += len(self._buffer)
        self._rest.bytes -= len(self._buffer)
        if self._rest.bytes < 0:
            raise TooMuch
        if self._buffer:
            self._write(bytes(self._buffer))
            self._buffer.clear()

    def finish(self) -> int:
        """How many rows that were."""
        return self._last(self._result()).command_tuples or 0

    def _result(self) -> pq.abc.PGresult | None:
        while self._pgconn.is_busy():
            self._poll.poll(_POLL_MS)
            self._pgconn.consume_input()
            if self._stop.is_set() and not self._cancelled:
                self._cancel()
        return self._pgconn.get_result()

    def _cancel(self) -> None:
        self._cancelled = True
        self._pgconn.get_cancel().cancel()

    def _last(self, result: pq.abc.PGresult | None) -> pq.abc.PGresult:
        """The last answer. Raises what it says when it is an error."""
        last = result
        while (more := self._result()) is not None:
            last = more
        self._busy = False
        if last is None or last.status == ExecStatus.FATAL_ERROR:
            raise (
                psycopg.OperationalError("the server sent no answer")
                if last is None
                else psycopg.errors.error_from_result(last)
            )
        return last

    def abandon(self) -> None:
        """Cancels and reads on until the session can be used again."""
        if not self._busy:
            return
        self._busy = False
        self._cancel()
        self._drain()
        while (result := self._result()) is not None:
            self._copies = result.status == ExecStatus.COPY_OUT  # it had only just started
            self._drain()

    def _drain(self) -> None:
        while self._copies:
            length, _ = self._pgconn.get_copy_data(1)
            self._copies = length >= 0
            if length == 0:
                self._poll.poll(_POLL_MS)
                self._pgconn.consume_input()


async def load(session: Session, text: str, rows: bytes) -> Reply:
    """One COPY FROM STDIN of an agent, verbatim, with what it reads."""
    connection, pgconn = session.connection, session.connection.pgconn
    async with connection.lock:
        pgconn.send_query_params(text.encode(), None)
        begun = await connection.wait(generators.fetch(pgconn))
        if begun is not None and begun.status == ExecStatus.COPY_OUT:
            pgconn.finish()  # nobody reads what it would send
            raise psycopg.ProgrammingError("the server copies out")
        if begun is None or begun.status != ExecStatus.COPY_IN:
            while await connection.wait(generators.fetch(pgconn)) is not None:
                continue
            if begun is None or begun.status in DONE:
                raise psycopg.ProgrammingError("the server did not start to copy")
            raise psycopg.errors.error_from_result(begun)
        for start in range(0, len(rows), _PIECE):
            await connection.wait(generators.copy_to(pgconn, rows[start : start + _PIECE]))
        done = await connection.wait(generators.copy_end(pgconn, None))
    if done.status not in DONE:
        raise psycopg.errors.error_from_result(done)
    tag = (done.command_status or b"").decode()
    return Reply(tag=tag, affected=done.command_tuples or 0, columns=(), origins=(), rows=[])


async def copy_in(session: Session, target: str, parts: Iterable[bytes], *, binary: bool) -> int:
    """Copies ``parts`` into ``target`` (a table with its columns) and returns how many rows that
    were. ``parts`` may block: each is fetched on another thread."""
    form = " (FORMAT binary)" if binary else ""
    cursor = session.connection.cursor()
    rest = iter(parts)
    async with cursor.copy(f"COPY {target} FROM STDIN{form}") as copy:
        if binary:
            await copy.write(HEADER)
        while part := await asyncio.to_thread(next, rest, b""):
            await copy.write(part)
        if binary:
            await copy.write(TRAILER)
    return cursor.rowcount


class Segments:
    """Parts of one image, taken in the order in which they lie there."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self._at = 0

    def part(self, offset: int, size: int) -> Iterator[bytes]:
        """``size`` bytes from ``offset`` on, in pieces. Raises ``ImageDamaged`` when they are not
        there, or lie before what was taken already."""
        if offset < self._at:
            raise ImageDamaged("The parts of this call's images are out of order.")
        for _ in self._taken(offset - self._at):
            continue
        yield from self._taken(size)

    def drain(self) -> None:
        """Reads to the end: only then is it proven that nothing changed meanwhile."""
        self._held = b""
        for _ in self._pieces:
            continue

    def _taken(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._held or next(self._pieces, b"")
            if not piece:
                raise ImageDamaged("The images of this call are not complete.")
            given, self._held = piece[:size], piece[size:]
            self._at += len(given)
            size -= len(given)
            yield given
