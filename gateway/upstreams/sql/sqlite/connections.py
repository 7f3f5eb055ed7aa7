"""Connections to one SQLite file, each bound to a thread of its own, and the walls around them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from gateway.errors import UpstreamError
from gateway.upstreams.sql.sqlite.texts import replace_slow
from gateway.upstreams.sql.sqlite.watchdog import Watchdog

T = TypeVar("T")

WATCHDOG = Watchdog()

_PROGRESS_STEPS = 4000
# A single value of an agent's making; rows already in the file may not be larger either. Within one
# built-in function SQLite cannot be interrupted, and some take quadratic time: no value may be so
# long, nor a LIKE pattern so involved, that this would get far beyond a statement's time; those in
# ``texts`` are ours.
_MAX_VALUE_BYTES = 64 * 1024 * 1024
_MAX_PATTERN_BYTES = 250
# What all of SQLite in this process may take; a transaction's changed pages stay in memory.
_MOST_HEAP = 4 << 30


def bound_memory() -> int:
    """Sets the bound for the whole process, once or again, and returns it: half of the machine's
    memory, at most four gigabytes. A statement that needs more fails and is rolled back."""
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    most = min(half, _MOST_HEAP)
    apsw.hard_heap_limit(most)
    return most


class Lane:
    """One thread. Work given to it runs in order and is never abandoned: a caller that is
    cancelled waits for its work to stop."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], *, stop: Callable[[], None] | None = None) -> T:
        """The result of ``work`` in the lane's thread. ``stop`` is called, from outside it, when
        the caller is cancelled."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        cancelled = False
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                cancelled = True
                if stop is not None:
                    stop()
        if cancelled:
            future.exception()
            raise asyncio.CancelledError
        return future.result()

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class Deadline:
    """Interrupts a connection's statement when its time is up or ``stop`` is called."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._until = float("inf")
        self.stopped = False
        db.set_progress_handler(self._over, _PROGRESS_STEPS)

    def start(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self.stopped = False
        # The handler counts steps of the engine, some of which take long: the clock looks too.
        WATCHDOG.watch(self, self._until)

    def clear(self) -> None:
        WATCHDOG.forget(self)
        self._until = float("inf")
        self.stopped = False

    def stop(self) -> None:
        """May be called from any thread."""
        self.stopped = True

    def interrupt(self) -> None:
        """Stops the statement that runs now, from any thread."""
        self._db.interrupt()

    def _over(self) -> bool:
        return self.stopped or time.monotonic() > self._until


def open_reader(path: Path, *, busy_s: float, foreign_keys: bool) -> apsw.Connection:
    """Cannot write: the file is opened read-only and the engine is told so again."""
    db = _open(path, apsw.SQLITE_OPEN_READONLY, busy_s, foreign_keys)
    db.pragma("query_only", True)
    return db


def open_writer(path: Path, *, busy_s: float, foreign_keys: bool) -> apsw.Connection:
    """Never spills its cache, unless told to: until COMMIT the file is untouched and others can
    read it."""
    db = _open(path, apsw.SQLITE_OPEN_READWRITE, busy_s, foreign_keys)
    db.pragma("cache_spill", False)
    # Otherwise the journal leaves out pages that a transaction frees, which the next one may need.
    db.pragma("secure_delete", True)
    return db


def spill_from(db: apsw.Connection, size: int | None) -> None:
    """Outside a transaction: lets changed pages go to the file before COMMIT once they take more
    than ``size`` bytes and nobody is reading; nobody else can read then until the end."""
    if size is None:
        db.pragma("cache_spill", False)
    else:
        # Any number turns it on; the second says from how many pages on.
        db.pragma("cache_spill", True)
        db.pragma("cache_spill", max(1, size // int(str(db.pragma("page_size")))))


def spilled(db: apsw.Connection) -> int:
    """How many pages this connection ever wrote before their COMMIT."""
    return int(db.status(apsw.SQLITE_DBSTATUS_CACHE_SPILL)[0])


def _open(path: Path, flags: int, busy_s: float, foreign_keys: bool) -> apsw.Connection:
    try:
        db = apsw.Connection(str(path), flags=flags, statementcachesize=64)
    except apsw.Error as error:
        raise explained(error, "open") from error
    try:
        db.set_busy_timeout(int(busy_s * 1000))
        wall_in(db, foreign_keys=foreign_keys)
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error as error:
        db.close()
        raise explained(error, "open") from error
    return db


def wall_in(db: apsw.Connection, *, foreign_keys: bool) -> None:
    """What holds for every connection that looks at an agent's statements."""
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, int(foreign_keys))
    db.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    db.limit(apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _MAX_PATTERN_BYTES)
    db.limit(apsw.SQLITE_LIMIT_WORKER_THREADS, 0)
    replace_slow(db)
    db.pragma("temp_store", 2)


def recover(db: apsw.Connection) -> None:
    """Plays back a journal that waits for it. A reader in the way only puts it off: whoever opens
    the file next does the same."""
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.BusyError:
        return


def needs_recovery(error: UpstreamError) -> bool:
    """Whether a reader met the journal of somebody's crashed or put-back transaction, which only
    a connection that can write may play back."""
    return isinstance(error.__cause__, apsw.ReadOnlyError)


def explained(error: Exception, doing: str, *, stopped: bool = False) -> UpstreamError:
    """The engine's error as one of ours. Every error before COMMIT proves that nothing was
    changed; the caller of COMMIT judges its own. ``code`` (the extended one) and ``message`` in
    ``extra`` are the engine's, where it is the statement that failed."""
    text = str(error)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        detail = f"The database was locked by somebody else for too long ({doing})."
        return UpstreamError(detail, reason="upstream.timeout")
    if isinstance(error, apsw.InterruptError):
        why = "was cancelled" if stopped else "took longer than the source allows"
        return UpstreamError(
            f"The statement {why}; nothing was changed.", reason="upstream.timeout"
        )
    if isinstance(error, apsw.NoMemError):
        return UpstreamError("The statement needs more memory than SQLite may take here.")
    if isinstance(error, apsw.AuthError) or text.startswith("not authorized"):
        return UpstreamError(
            "The statement would do more than it was judged to do: the schema changed meanwhile."
        )
    if isinstance(error, apsw.CantOpenError | apsw.NotADBError | apsw.IOError | apsw.CorruptError):
        return UpstreamError(
            f"The database file cannot be read ({doing}): {text}", reason="upstream.unreachable"
        )
    code = getattr(error, "extendedresult", None) or apsw.SQLITE_ERROR
    return UpstreamError(f"The database refused ({doing}): {text}", code=code, message=text)
