"""COPY in and out of a session in constant memory.

Out, the rows are taken from libpq in a plain loop on a thread: an await per row would cost several
times what the server needs to make it.
"""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import pq
from psycopg.pq import ExecStatus

from gateway.errors import ImageDamaged
from gateway.upstreams.sql.postgres.session import Session, TooMuch

# Signature, flags without oids, no extension; and what ends the rows.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_CHUNK = 1 << 18
_POLL_MS = 200

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
    form = " (FORMAT binary)" if binary else ""
    out = _Out(session.connection.pgconn, write, binary=binary, budget=budget)
    async with session.connection.lock:
        running = asyncio.get_running_loop().run_in_executor(
            None, out.run, f"COPY ({query}) TO STDOUT{form}".encode()
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            out.stop.set()
            await asyncio.wait([running])  # the connection is the thread's until it lets go
            raise


class _Out:
    """One COPY TO STDOUT on its thread."""

    def __init__(self, pgconn: pq.abc.PGconn, write: Write, *, binary: bool, budget: int) -> None:
        self.stop = threading.Event()
        self._pgconn = pgconn
        self._write = write
        self._budget = budget
        self._skip = len(HEADER) if binary else 0
        self._end = TRAILER if binary else b""  # no message is empty
        self._size = 0
        self._over = False  # the last row has been read
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)

    def run(self, query: bytes) -> Copied:
        pgconn = self._pgconn
        pgconn.send_query(query)
        while pgconn.flush():
            select.select([], [pgconn.socket], [], _POLL_MS / 1000)
        result = self._result()
        if result is None or result.status != ExecStatus.COPY_OUT:
            self._finish(result)
            raise psycopg.ProgrammingError("the server did not start to copy")
        try:
            self._rows()
        except BaseException:
            self._abandon()
            raise
        done = self._finish(self._result())
        return Copied(rows=done.command_tuples or 0, size=self._size)

    def _rows(self) -> None:
        """The loop that every row goes through."""
        get, buffer, end = self._pgconn.get_copy_data, bytearray(), memoryview(self._end)
        while True:
            length, row = get(1)
            if length > 0:
                if self._skip:
                    row = self._headless(row)
                if row != end:
                    buffer += row
                if len(buffer) >= _CHUNK:
                    self._give(buffer)
            elif length == 0:
                self._wait()
            else:
                self._over = True
                break
        self._give(buffer)

    def _headless(self, row: memoryview) -> memoryview:
        if bytes(row[: self._skip]) != HEADER:
            raise psycopg.DataError("the server copies in a form that is not known here")
        skip, self._skip = self._skip, 0
        return row[skip:]

    def _give(self, buffer: bytearray) -> None:
        self._size += len(buffer)
        if self._size > self._budget:
            raise TooMuch
        if buffer:
            self._write(bytes(buffer))
            buffer.clear()

    def _wait(self) -> None:
        self._poll.poll(_POLL_MS)
        self._pgconn.consume_input()
        if self.stop.is_set():
            raise TooMuch

    def _result(self) -> pq.abc.PGresult | None:
        while self._pgconn.is_busy():
            self._poll.poll(_POLL_MS)
            self._pgconn.consume_input()
            if self.stop.is_set():
                self.stop.clear()
                self._pgconn.get_cancel().cancel()
        return self._pgconn.get_result()

    def _finish(self, result: pq.abc.PGresult | None) -> pq.abc.PGresult:
        """The last answer. Raises what it says when it is an error."""
        last = result
        while (more := self._result()) is not None:
            last = more
        if last is None or last.status == ExecStatus.FATAL_ERROR:
            raise (
                psycopg.OperationalError("the server sent no answer")
                if last is None
                else psycopg.errors.error_from_result(last)
            )
        return last

    def _abandon(self) -> None:
        """Cancels and reads on until the session can be used again."""
        self.stop.clear()
        self._pgconn.get_cancel().cancel()
        while not self._over:
            length, _ = self._pgconn.get_copy_data(1)
            if length == 0:
                self._poll.poll(_POLL_MS)
                self._pgconn.consume_input()
            elif length < 0:
                break
        while self._result() is not None:
            continue


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
