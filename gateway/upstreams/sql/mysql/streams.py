"""Results as the server sends them: rows stay bytes, and are read while they are still made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pymysql
import pymysql.cursors

from gateway.upstreams.sql.mysql.failures import FAILURES

Row = tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a result: the protocol's number of its type, and of its character set.
    ``origin``: the table and the column that it comes from as it is, if it does."""

    name: str
    type: int
    charset: int
    flags: int
    length: int
    origin: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answered to one statement."""

    fields: tuple[Field, ...]
    rows: list[Row]
    affected: int
    insert_id: int
    warnings: int


_ANY = 1 << 62


class Stream:
    """A result that is read while the server still makes it."""

    def __init__(self, connection: Any, sql: str) -> None:
        self._connection = connection
        self._cursor = connection.cursor(pymysql.cursors.SSCursor)
        self._cursor.execute(sql)

    def take(self, count: int, most: int = _ANY) -> Sequence[Row]:
        """Up to ``count`` rows more, and about ``most`` bytes; none at the end."""
        if not self._cursor._result.field_count:
            return ()
        found: list[Row] = []
        connection = self._cursor._result.connection
        while connection is not None and len(found) < count and most > 0:
            try:
                payload = _packet(connection)
            except FAILURES:
                self.forget()
                raise
            if payload[0] == 0xFE and len(payload) < 9:
                self._ended(payload)
                break
            if payload[0] == 0xFF:
                self.forget()
                pymysql.err.raise_mysql_exception(payload)
            found.append(_cells(payload))
            most -= len(payload)
        return found

    def _ended(self, payload: bytes) -> None:
        result = self._cursor._result
        result.warning_count = int.from_bytes(payload[1:3], "little")
        result.connection.server_status = int.from_bytes(payload[3:5], "little")
        self.forget()

    def reply(self, rows: list[Row]) -> Reply:
        """What the server said beside its rows, once all of them were taken."""
        result = self._cursor._result
        shown = bool(result.field_count)
        return Reply(
            fields=tuple(map(_field, result.fields or ())) if shown else (),
            rows=rows,
            affected=0 if shown else int(result.affected_rows or 0),
            insert_id=int(result.insert_id or 0),
            warnings=int(result.warning_count or 0),
        )

    def forget(self) -> None:
        """The driver is to read nothing more of this result."""
        result = self._cursor._result
        result.unbuffered_active, result.connection = False, None

    def abandon(self) -> None:
        """Leaves the rest of the result unread, and the session with it."""
        self.forget()
        self._connection._force_close()


_WHOLE = 0xFFFFFF  # a packet of this size goes on in the next one


def _packet(connection: Any) -> bytes:
    """The driver's own reader makes an object of every packet; results are long."""
    payload = b""
    while True:
        head = connection._rfile.read(4)
        if len(head) < 4:
            raise pymysql.OperationalError(2013, "Lost connection to the server during a result")
        if head[3] != connection._next_seq_id:
            raise pymysql.InternalError("The packets of a result are out of order")
        connection._next_seq_id = (head[3] + 1) & 0xFF
        size = head[0] | head[1] << 8 | head[2] << 16
        part = connection._rfile.read(size)
        if len(part) < size:
            raise pymysql.OperationalError(2013, "Lost connection to the server during a result")
        if size < _WHOLE and not payload:
            return bytes(part)
        payload += bytes(part)
        if size < _WHOLE:
            return payload


_LONG = {252: 2, 253: 3, 254: 8}


def _cells(payload: bytes) -> Row:
    """A row of the text protocol: strings, each after its length."""
    cells: list[bytes | None] = []
    at, end = 0, len(payload)
    while at < end:
        size = payload[at]
        at += 1
        if size == 251:
            cells.append(None)
            continue
        if size > 251:
            width = _LONG[size]
            size = int.from_bytes(payload[at : at + width], "little")
            at += width
        cells.append(payload[at : at + size])
        at += size
    return tuple(cells)


def _field(packet: Any) -> Field:
    name = packet.name
    return Field(
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name),
        type=packet.type_code,
        charset=packet.charsetnr,
        flags=packet.flags,
        length=packet.length,
        origin=_origin(packet),
    )


def _origin(packet: Any) -> tuple[str, str] | None:
    """As the server tells: what is computed, or was kept in between, comes from no schema. A
    derived table, a WITH or a view that it merges stands under its own name."""
    schema, table, column = (
        part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part or "")
        for part in (packet.db, packet.org_table, packet.org_name)
    )
    return (f"{schema}.{table}", column) if schema and table and column else None
