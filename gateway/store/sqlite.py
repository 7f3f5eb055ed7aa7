"""The SQLite store: one file, one process, one writer, a few readers beside it."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import aiosqlite

from gateway.errors import StoreUnavailable
from gateway.interfaces import Clock, Probe, Remains, no_probe
from gateway.interfaces.metering import Meter
from gateway.store import keeping
from gateway.store.counting import CountingStore
from gateway.store.images import Images
from gateway.store.migrating import migrate
from gateway.store.sqlite_tables import SqliteTables
from gateway.store.tables import Tables
from gateway.store.transactional import APPROVAL_TTL
from gateway.store.writer import Writer, in_thread

T = TypeVar("T")
READERS = 2
BUSY_S = 5.0


class SqliteStore(CountingStore):
    """``path`` is made (file 0600, folder 0700) if it is not there. ``open`` raises
    ``StoreUnavailable`` when another process has the store open, when it is newer than this
    program, or damaged."""

    def __init__(
        self,
        path: Path,
        *,
        images: Images,
        clock: Clock,
        approval_ttl: timedelta = APPROVAL_TTL,
        remains: Remains | None = None,
        probe: Probe = no_probe,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(
            images=images,
            clock=clock,
            approval_ttl=approval_ttl,
            remains=remains,
            probe=probe,
            meter=meter,
        )
        self._path = path
        self._lock: int | None = None
        self._writer = Writer(self._connect_writer, clock, probe)
        self._readers: list[aiosqlite.Connection] = []
        self._turns = itertools.cycle(range(READERS))

    async def open(self) -> None:
        try:
            self._lock = await asyncio.to_thread(_locked, self._path)
            await self._writer.open()
            for _ in range(READERS):
                self._readers.append(await _connected(self._path, _prepare_reader))
            await self._images.open(lambda: self._read(keeping.known))
            await self.ready()
        except BaseException as error:
            await self.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise StoreUnavailable(f"The store cannot be opened: {error}.") from error
            raise

    async def close(self) -> None:
        """What was asked for before is carried out first."""
        readers, self._readers = self._readers, []
        for reader in readers:
            await reader.close()
        await self._writer.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def _write(self, op: Callable[[Tables, datetime], T]) -> T:
        began = time.monotonic()
        try:
            return await self._writer.write(op)
        finally:
            self._meter.wrote(time.monotonic() - began)

    async def _read(self, op: Callable[[Tables], T]) -> T:
        if len(self._readers) < READERS:
            raise StoreUnavailable("The store is closed.")
        reader = self._readers[next(self._turns)]
        try:
            return await in_thread(reader, lambda: self._reading(reader._conn, op))
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The store cannot be read: {error}.") from error

    @staticmethod
    def _reading(connection: sqlite3.Connection, op: Callable[[Tables], T]) -> T:
        connection.execute("BEGIN")
        try:
            return op(SqliteTables(connection))
        finally:
            connection.execute("ROLLBACK")

    async def _scrub(self) -> None:
        # Deleted pages are zeroed in the file (secure_delete); older copies of them stand in the
        # write-ahead log until it is cut. A reader in the way only delays that.
        await self._writer.run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def _connect_writer(self) -> aiosqlite.Connection:
        return await _connected(self._path, _prepare_writer)


async def _connected(
    path: Path, prepare: Callable[[sqlite3.Connection], None]
) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        await in_thread(connection, lambda: prepare(connection._conn))
    except BaseException:
        await connection.close()
        raise
    return connection


def _prepare_writer(connection: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "trusted_schema = OFF",
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    [(found,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise StoreUnavailable(f"The store is damaged: {found}.")
    migrate(connection)


def keys_in_use(path: Path) -> set[str]:
    """The names of the keys that the images of the store at ``path`` need, also while a process
    has it open. Blocking. Raises ``StoreUnavailable``."""
    if not path.exists():
        return set()
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The store cannot be read: {error}.") from error
    try:
        columns = connection.execute("SELECT name FROM pragma_table_info('snapshots')")
        if ("key_id",) not in columns.fetchall():
            return set()  # made by an earlier version, which encrypted nothing
        return SqliteTables(connection).keys_in_use()
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The store cannot be read: {error}.") from error
    finally:
        connection.close()


def _prepare_reader(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON").fetchall()


def _locked(path: Path) -> int:
    """Takes the lone-process lock beside ``path``; it ends with the process, however that ends."""
    path = path.resolve()  # a link to the store is the same store
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(
        path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # SQLite gives its log files the mode of the database.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreUnavailable(
            f"Another process has the store {path.name} open; it serves one process at a time."
        ) from error
    except OSError:
        os.close(lock)
        raise
    return lock
