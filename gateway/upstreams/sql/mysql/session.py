"""Connections to one account: pinned, verified, pooled.

The driver blocks, so everything here does too, and runs in threads: ``Session`` is used by one
thread at a time. Values stay the bytes that the server sent. One statement per packet: the client
flag for several is never set, nor that for LOAD DATA LOCAL.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.failures import FAILURES, lost, unreachable
from gateway.upstreams.sql.mysql.streams import Reply, Row, Stream
from gateway.upstreams.sql.mysql.varieties import MARIADB, numbers, variety

# Modes under which a text is read in another way than ``lexing`` reads it.
LEXICAL = frozenset(
    {"ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT", "IGNORE_SPACE", "ANSI", "DB2",
     "HIGH_NOT_PRECEDENCE", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL", "PAD_CHAR_TO_FULL_LENGTH"}
)  # fmt: skip
# Off, it keeps primary keys that MySQL made by itself out of the catalog.
_HIDES = "show_gipk_in_create_table_and_information_schema"
_READ_AHEAD = 500
_PART = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. ``idle`` ends a session whose owner went away."""

    statement: float
    lock: float
    idle: float
    connect: float = 5.0


class TooMuch(Exception):
    """A result or an image went over its budget; the session is lost with it."""


class Session:
    """One connection. BEGIN and COMMIT are statements here."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.used_at = 0.0
        self.modes = ""
        self.names_fold = False  # whether names of tables are the same in upper and lower case
        self.packet = 1 << 24  # max_allowed_packet: the most bytes of one statement
        self.variety = MARIADB
        self.silent: bool | None = None  # whether it takes events, where that was asked
        self.fires = False  # whether what foreign keys do fires triggers
        self.counts_cascades = False  # whether the session's counters hold what they do

    @property
    def id(self) -> int:
        return int(self.connection.thread_id())

    @property
    def part(self) -> int:
        """How many bytes of values one statement of ours may hold: written as hexadecimal digits
        they take twice as much."""
        return min(_PART, self.packet // 4)

    @property
    def open(self) -> bool:
        return bool(self.connection.open)

    @property
    def in_transaction(self) -> bool:
        return bool(self.connection.server_status & _IN_TRANSACTION)

    def run(self, sql: str) -> int:
        """Our own statement; how many rows it changed."""
        with self.connection.cursor() as cursor:
            return int(cursor.execute(sql))

    def rows(self, sql: str) -> list[Row]:
        """All rows of our own query."""
        stream = self.streamed(sql)
        found: list[Row] = []
        while part := stream.take(_READ_AHEAD):
            found += part
        return found

    def texts(self, sql: str) -> list[tuple[str | None, ...]]:
        """Rows of our own query over the catalog, as text."""
        return [
            tuple(None if cell is None else cell.decode("utf-8", "replace") for cell in row)
            for row in self.rows(sql)
        ]

    def streamed(self, sql: str) -> Stream:
        """Rows of our own query as they come; the session is taken until it is closed."""
        return Stream(self.connection, sql)

    def statement(self, sql: str, *, max_rows: int, max_bytes: int) -> Reply:
        """One statement of an agent. Raises ``TooMuch`` after dropping the connection, which rolls
        back, when its result is over its bounds."""
        stream = Stream(self.connection, sql)
        rows: list[Row] = []
        size = 0
        while part := stream.take(_READ_AHEAD):
            rows += part
            size += sum(len(c) for row in part for c in row if c is not None) + 8 * len(part)
            if len(rows) > max_rows or size > max_bytes:
                stream.abandon()
                raise TooMuch
        return stream.reply(rows)

    def interrupt(self) -> None:
        """Ends the wait of another thread for this session, which is lost with it."""
        sock = self.connection._sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it may have ended by itself just now
                sock.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Closes the socket without a word."""
        self.connection._force_close()

    def close(self) -> None:
        try:
            self.connection.close()
        except FAILURES:
            self.drop()


_IN_TRANSACTION = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where an account is reached."""

    host: str
    port: int
    user: str
    password: str
    database: str
    socket: str | None
    tls: str | None  # the file of the certificate authority

    def __repr__(self) -> str:
        return "Address(...)"


def address(url: str) -> Address:
    """``mysql://user:password@host:port/database?socket=...&ca=...``."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        socket=options.get("socket"),
        tls=options.get("ca"),
    )


def elsewhere(url: str, other: str) -> str:
    """``url`` with the database of ``other``, in which both read the same names."""
    parts = urlsplit(url)
    return parts._replace(path=urlsplit(other).path).geturl()


class Door:
    """Opens pinned sessions of one account."""

    def __init__(self, source: str, url: str, timeouts: Timeouts) -> None:
        self._source = source
        self._address = address(url)
        self._timeouts = timeouts

    @property
    def database(self) -> str:
        return self._address.database

    def connect(self) -> Session:
        """A new session, pinned and verified. Raises ``UpstreamError``."""
        at, timeouts = self._address, self._timeouts
        try:
            connection = pymysql.connect(
                host=at.host,
                port=at.port,
                unix_socket=at.socket,
                user=at.user,
                password=at.password,
                database=at.database or None,
                charset="utf8mb4",
                use_unicode=False,
                conv={_NO_CONVERSION: str},
                autocommit=True,
                local_infile=False,
                connect_timeout=timeouts.connect,
                read_timeout=timeouts.statement + 2 * timeouts.lock + 5,
                write_timeout=timeouts.statement + 5,
                ssl={"ca": at.tls} if at.tls else None,
                program_name="holdfast",
            )
        except FAILURES as error:
            raise unreachable(self._source) from error
        session = Session(connection)
        try:
            self.pin(session)
        except FAILURES as error:
            session.drop()
            raise unreachable(self._source) from error
        except UpstreamError:
            session.drop()
            raise
        return session

    def pin(self, session: Session) -> None:
        """Sets and verifies what texts and images depend on. Raises ``UpstreamError`` where the
        server does not keep it."""
        version, comment, modes, folds, packet = session.texts(
            "SELECT VERSION(), @@version_comment, @@GLOBAL.sql_mode, @@lower_case_table_names, "
            "@@max_allowed_packet"
        )[0]
        engine = session.texts("SHOW GLOBAL VARIABLES LIKE 'innodb_version'")
        found = variety(version or "", comment or "", (engine[0][1] or "") if engine else "")
        if found is None:
            raise UpstreamError(
                f"Source {self._source!r} is neither MariaDB nor MySQL; other servers are not "
                "served.",
                reason="upstream.failed",
            )
        if numbers(version or "") < found.oldest:
            oldest = ".".join(map(str, found.oldest))
            raise UpstreamError(
                f"Source {self._source!r} is {found.name} before {oldest}, which is not served.",
                reason="upstream.failed",
            )
        session.variety = found
        session.modes = ",".join(m for m in (modes or "").split(",") if m and m not in LEXICAL)
        session.names_fold = folds != "0"
        session.packet = int(packet or session.packet)
        self._set(session)
        self.verify(session)

    def _set(self, session: Session) -> None:
        timeouts = self._timeouts
        session.run(
            session.variety.settings.format(
                statement=timeouts.statement,
                patience=max(1, round(timeouts.statement * 1000)),
                lock=max(1, round(timeouts.lock)),
                idle=max(1, round(timeouts.idle)),
                mode=session.modes,
            )
        )
        if session.variety.layered:
            shown = session.texts(
                "SHOW SESSION VARIABLES WHERE variable_name IN "
                f"('enable_cascade_triggers', 'innodb_native_foreign_keys', '{_HIDES}')"
            )
            found = {name: value for name, value in shown}
            session.fires = found.get("enable_cascade_triggers", "OFF") != "OFF"
            session.counts_cascades = found.get("innodb_native_foreign_keys") == "OFF"
            if found.get(_HIDES, "ON") != "ON":
                session.run(f"SET {_HIDES} = ON")

    def verify(self, session: Session) -> None:
        """Raises ``UpstreamError`` when a pin does not hold."""
        pins = session.variety.pins
        names = list(pins)
        found = session.texts(f"SELECT {', '.join('@@' + n for n in names)}, @@sql_mode")[0]
        for name, value in zip(names, found, strict=False):
            if value != pins[name]:
                raise UpstreamError(
                    f"Source {self._source!r} does not keep {name} at {pins[name]!r}.",
                    reason="upstream.failed",
                )
        if LEXICAL & set((found[-1] or "").split(",")):
            raise UpstreamError(
                f"Source {self._source!r} does not keep the sql_mode of the gateway.",
                reason="upstream.failed",
            )

    def renew(self, session: Session) -> bool:
        """Makes a used session as good as new; false when it should be closed instead."""
        try:
            if session.in_transaction:
                session.run("ROLLBACK")
            _reset(session.connection)
            session.silent = None
            self._set(session)
        except FAILURES:
            return False
        session.used_at = time.monotonic()
        return True

    def end(self, session: Session) -> None:
        """Ends what the server still does for a session that was closed in the middle of it."""
        try:
            other = self.connect()
        except UpstreamError:
            return  # a server that is away does nothing any more
        try:
            other.run(f"KILL {session.id}")
        except FAILURES:
            return  # it has ended by itself
        finally:
            other.close()

    def usable(self, session: Session) -> bool:
        """Whether a session that waited is still there."""
        if not session.open:
            return False
        if time.monotonic() - session.used_at < _PING_AFTER_S:
            return True
        try:
            session.rows("SELECT 1")
        except FAILURES as error:
            return not lost(error)
        return True


_NO_CONVERSION = -1  # no column has this type, so none is converted
_PING_AFTER_S = 5.0
_COM_RESET_CONNECTION = 0x1F


def _reset(connection: Any) -> None:
    """Drops what a session may have left: variables, temporary tables, locks, statements."""
    connection._execute_command(_COM_RESET_CONNECTION, b"")
    connection._read_ok_packet()
