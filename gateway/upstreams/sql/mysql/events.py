"""Row changes as events of the binary log, which the server applies without firing triggers.

Triggers cannot be switched off for a session, but ``BINLOG`` applies rows as a replica does. What
it writes is read again by whoever uses it: nothing here is trusted to have been understood.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pymysql

from gateway.upstreams.sql.mysql.catalog import Name, Table, definition
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.literals import text_literal
from gateway.upstreams.sql.mysql.packing import date, decimal, moment, stamp, time_of_day, year
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row
from gateway.upstreams.sql.mysql.varieties import MARIADB, MYSQL

_DENIED = frozenset({1227, 1142, 1044, 1290})
_FORMAT, _TABLE = 15, 19
_TABLE_ID = 71
_MEMBER = re.compile(r"'(?:[^']|'')*'")

# A key over hidden columns: of MariaDB by hash, of MySQL over an expression.
_COMPUTED = re.compile(r"USING HASH|^\s*(?:[A-Z]+ )?KEY .*[(,]\(", re.MULTILINE)

Encode = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Cell:
    """How a column stands in a row: the number of its type, what is said of it beside, and how a
    value, as text or bytes, is written."""

    type: int
    meta: bytes
    encode: Encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All columns of a table in their order."""

    at: Name
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How a server writes events. ``lengths``: of the fixed part of each kind, in their order;
    ``extra``: what stands in front of the columns of a row event."""

    write: int
    delete: int
    flags: int
    lengths: bytes
    extra: bytes = b""


_FORMS = {
    MARIADB: _Form(
        write=23,
        delete=25,
        flags=0x1 | 0x2 | 0x80,  # end of statement, without foreign keys, without CHECK
        lengths=bytes((56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 228, 0, 4, 26, 8, 0, 0, 0, 8,
                       8, 8, 2, 0, 0, 0, 10, 10, 10)).ljust(170, b"\0"),
    ),
    # As the log of MySQL 9.7.4 begins.
    MYSQL: _Form(
        write=30,
        delete=32,
        flags=0x1 | 0x2,
        lengths=bytes((0, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 99, 0, 4, 26, 8, 0, 0, 0, 0, 0, 0,
                       2, 0, 0, 0, 10, 10, 10, 42, 42, 0, 18, 52, 0, 10, 40, 0, 0)),
        extra=b"\2\0",
    ),
}  # fmt: skip


def allowed(session: Session) -> bool:
    """Whether the account may apply events, and the server would fire no triggers for them. Asked
    of MySQL once, before a transaction."""
    if session.silent is None:
        session.silent = _allowed(session)
    return session.silent


def _allowed(session: Session) -> bool:
    if session.variety is MARIADB:  # MySQL never does
        [(fires,)] = session.rows("SELECT @@GLOBAL.slave_run_triggers_for_rbr")
        if fires != b"NO":
            return False
    try:
        session.run(_statement([_format(session)]))
        if session.variety is MYSQL:
            # It takes what follows for a transaction of another server, unless told otherwise.
            session.run("SET SESSION gtid_next = 'AUTOMATIC'")
    except pymysql.Error as error:
        if code_of(error) in _DENIED:
            return False
        raise
    return True


def layout(session: Session, table: Table) -> Layout | None:
    """``None`` for a table with a column or an index that cannot be written this way: what the
    server computes it does not compute again for an event."""
    text = definition(session, table.at)
    if any(c.generated for c in table.columns) or _COMPUTED.search(text):
        return None
    found = session.texts(
        "SELECT column_type, data_type, character_octet_length, numeric_precision, "
        "numeric_scale, datetime_precision FROM information_schema.columns WHERE table_schema = "
        f"{text_literal(table.schema.encode())} AND table_name = "
        f"{text_literal(table.name.encode())} ORDER BY ordinal_position"
    )
    cells = [_cell(*row) for row in found]
    known = tuple(cell for cell in cells if cell is not None)
    if len(known) != len(table.columns):
        return None
    return Layout(at=table.at, cells=known)


def apply(session: Session, to: Layout, rows: Sequence[Row], *, delete: bool) -> None:
    """Deletes or inserts whole rows. Raises the server's errors."""
    form = _FORMS[session.variety]
    head = [_event(_TABLE, _map(to))]
    if session.variety is MARIADB:
        head.insert(0, _format(session))
    for part in _parts(to, rows, session.part):
        kind = form.delete if delete else form.write
        session.run(_statement([*head, _event(kind, _changed(to, form) + part)]))


def _parts(to: Layout, rows: Sequence[Row], most: int) -> Iterator[bytes]:
    part = bytearray()
    for row in rows:
        packed = _row(to, row)
        if part and len(part) + len(packed) > most:
            yield bytes(part)
            part.clear()
        part += packed
    if part:
        yield bytes(part)


def _statement(events: Sequence[bytes]) -> str:
    return f"BINLOG '{base64.b64encode(b''.join(events)).decode()}'"


def _event(kind: int, body: bytes) -> bytes:
    size = 19 + len(body)
    return struct.pack("<IBIIIH", 0, kind, 1, size, 0, 0) + body


def _format(session: Session) -> bytes:
    """What tells the server how the events after it are written: without checksums."""
    [(version,)] = session.rows("SELECT VERSION()")
    lengths = _FORMS[session.variety].lengths
    body = struct.pack("<H50sIB", 4, version or b"", 0, 19) + lengths + b"\0"
    event = bytearray(_event(_FORMAT, body + bytes(4)))
    event[-4:] = struct.pack("<I", zlib.crc32(bytes(event[:-4])))
    return bytes(event)


def _map(to: Layout) -> bytes:
    schema, name = (part.encode() for part in to.at)
    cells = to.cells
    meta = b"".join(cell.meta for cell in cells)
    return b"".join(
        (
            _TABLE_ID.to_bytes(6, "little"),
            b"\1\0",
            bytes((len(schema),)), schema, b"\0",
            bytes((len(name),)), name, b"\0",
            _packed(len(cells)),
            bytes(cell.type for cell in cells),
            _packed(len(meta)), meta,
            b"\xff" * ((len(cells) + 7) // 8),
        )
    )  # fmt: skip


def _changed(to: Layout, form: _Form) -> bytes:
    head = _TABLE_ID.to_bytes(6, "little") + struct.pack("<H", form.flags) + form.extra
    return head + _packed(len(to.cells)) + _bits([True for _ in to.cells])


def _row(to: Layout, row: Row) -> bytes:
    nulls = _bits([value is None for value in row])
    pairs = zip(to.cells, row, strict=True)
    return nulls + b"".join(c.encode(value) for c, value in pairs if value is not None)


def _bits(flags: Sequence[bool]) -> bytes:
    number = sum(1 << i for i, flag in enumerate(flags) if flag)
    return number.to_bytes((len(flags) + 7) // 8, "little")


def _packed(number: int) -> bytes:
    if number < 251:
        return bytes((number,))
    return (
        b"\xfc" + struct.pack("<H", number)
        if number < 1 << 16
        else (b"\xfd" + number.to_bytes(3, "little"))
    )


_INTEGERS = {"tinyint": (1, 1), "smallint": (2, 2), "mediumint": (9, 3), "int": (3, 4),
             "bigint": (8, 8)}  # fmt: skip
_BLOBS = {"tiny": 1, "": 2, "medium": 3, "long": 4}


def _cell(
    whole: str | None,
    kind: str | None,
    octets: str | None,
    precision: str | None,
    scale: str | None,
    fraction: str | None,
) -> Cell | None:
    whole, kind = whole or "", kind or ""
    if "mariadb-5.3" in whole or "COMPRESSED" in whole.upper():
        return None
    if kind in _INTEGERS:
        number, size = _INTEGERS[kind]
        return Cell(number, b"", lambda v: (int(v) % (1 << 8 * size)).to_bytes(size, "little"))
    if kind in ("varchar", "varbinary"):
        return _varying(int(octets or 0))
    if kind in ("char", "binary"):
        return _fixed(int(octets or 0))
    if kind == "decimal":
        digits, places = int(precision or 0), int(scale or 0)
        return Cell(246, bytes((digits, places)), lambda v: decimal(v, digits, places))
    if kind in ("enum", "set"):
        members = len(_MEMBER.findall(whole))
        size = (1 if members < 256 else 2) if kind == "enum" else _set_size(members)
        number = 247 if kind == "enum" else 248
        return Cell(254, bytes((number, size)), lambda v: int(v).to_bytes(size, "little"))
    if kind == "bit":
        count = int(precision or 0)
        meta = bytes((count % 8, count // 8))
        return Cell(16, meta, lambda v: int(v).to_bytes((count + 7) // 8, "big"))
    return _timed(kind, int(fraction or 0)) or _long(kind)


def _timed(kind: str, fraction: int) -> Cell | None:
    simple = {"date": (10, date), "year": (13, year)}
    if kind in simple:
        return Cell(simple[kind][0], b"", simple[kind][1])
    exact = {"datetime": (18, moment), "timestamp": (17, stamp), "time": (19, time_of_day)}
    if kind not in exact:
        return None
    number, encode = exact[kind]
    return Cell(number, bytes((fraction,)), lambda v: encode(v, fraction))


def _long(kind: str) -> Cell | None:
    if kind == "float":
        return Cell(4, b"\4", lambda v: struct.pack("<f", float(v)))
    if kind == "double":
        return Cell(5, b"\x08", lambda v: struct.pack("<d", float(v)))
    if kind in _SHAPES:
        return _blob(255, 4)
    for end in ("blob", "text"):
        if kind.endswith(end) and kind.removesuffix(end) in _BLOBS:
            return _blob(252, _BLOBS[kind.removesuffix(end)])
    return None


_SHAPES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
     "multipolygon", "geometrycollection"}
)  # fmt: skip


def _blob(number: int, size: int) -> Cell:
    return Cell(number, bytes((size,)), lambda v: len(v).to_bytes(size, "little") + v)


def _varying(most: int) -> Cell:
    size = 1 if most < 256 else 2
    return Cell(15, struct.pack("<H", most), lambda v: len(v).to_bytes(size, "little") + v)


def _fixed(most: int) -> Cell:
    size = 1 if most < 256 else 2
    meta = bytes((254 ^ ((most & 0x300) >> 4), most & 0xFF))
    return Cell(254, meta, lambda v: len(v).to_bytes(size, "little") + v)


def _set_size(members: int) -> int:
    size = (members + 7) // 8
    return 8 if size > 4 else size
