"""A few rows of one table: asked for, copied and proven in one exchange with each side.

The peer is asked for the old versions where they should be, in the same breath as for what the
catalog says of the table; ``own`` for the new ones and whether it still sees any of the old. The
proof is that of ``peek``, the way *exact*: a version with our id in xmax, which no list of lockers
can have had for a number, was ended or locked by us; ``own`` does not see it, so it was ended; and
there are as many as the transaction's counters say. Anything else is left to ``peek``.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.sql import Identifier

from gateway.upstreams.sql.postgres.catalog import (
    OF_KEYS,
    OF_TABLES,
    ForeignKey,
    Table,
    foreign_keys_of,
    tables_of,
)
from gateway.upstreams.sql.postgres.extent import Extent, Touched
from gateway.upstreams.sql.postgres.fitness import STANDING, Standing, standing_of
from gateway.upstreams.sql.postgres.images import Rows
from gateway.upstreams.sql.postgres.peek import (
    EPOCH,
    TID_RANGES,
    Budget,
    placed,
    spans_of,
    tail,
    within,
)
from gateway.upstreams.sql.postgres.questions import answers, as_one
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from gateway.upstreams.sql.postgres.sink import Sink

MOST = 1000  # versions ended, and versions made
_AT_ONCE = 16 * 1024  # bytes that are written without a thread

_WIDTH, _LENGTH, _NULL = struct.Struct(">h").pack, struct.Struct(">i").pack, b"\xff" * 4

Raw = Sequence[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the peer was asked for: the catalog's facts, and versions with our id in xmax, with
    all columns of the table. ``certain``: no list of lockers can have our number."""

    tables: dict[int, Table]
    keys: tuple[ForeignKey, ...]
    standing: Standing
    ended: tuple[tuple[str, str, Raw], ...]  # ctid, xmin, values
    certain: bool


def glanced_at(extent: Extent, xid: str, own: Session, near: str | None) -> Touched | None:
    """The table, where the transaction changed a few rows of one that a glance is enough for.
    ``near``: a condition that the old versions should meet."""
    if len(extent.tables) != 1 or int(xid) >= EPOCH or own.version < TID_RANGES:
        return None
    touched = extent.tables[0]
    ended, made = touched.updated + touched.deleted, touched.inserted + touched.updated
    if not touched.readable or max(ended, made) > MOST or (ended and near is None):
        return None
    return touched


KNOWN = as_one((*OF_TABLES, OF_KEYS, *STANDING))


def known_of(
    row: Sequence[Any],
) -> tuple[dict[int, Table], tuple[ForeignKey, ...], Standing]:
    """``row``: the answer to ``KNOWN``, everything that a capture asks of the catalog."""
    found = answers(row)
    return tables_of(found[:3]), foreign_keys_of(found[3]), standing_of(found[4:])


async def seen(peer: Session, touched: Touched, xid: str, near: str | None) -> Seen | None:
    """``None``: this way does not lead anywhere; nothing is lost."""
    condition = f"({near}) AND x.xmax = '{xid}'::pg_catalog.xid" if near else "false"
    source = f"ONLY {Identifier(touched.schema, touched.name).as_string()}"
    try:
        row, rows = await peer.exchange(
            (KNOWN, {"oids": [touched.oid]}),
            "SELECT x.ctid::pg_catalog.text, x.xmin::pg_catalog.text, "
            f"pg_catalog.mxid_age('{xid}'::pg_catalog.xid)::pg_catalog.text, x.* "
            f"FROM {source} AS x WHERE {condition} LIMIT {MOST + 1}",
        )
    except (psycopg.DataError, psycopg.ProgrammingError):
        return None  # it means something else to this role
    tables, keys, standing = known_of(row)
    return Seen(
        tables=tables,
        keys=keys,
        standing=standing,
        ended=tuple((_text(r[0]), _text(r[1]), r[3:]) for r in rows),
        certain=all(int(_text(r[2])) <= 0 for r in rows),
    )


async def copied(
    own: Session,
    table: Table,
    touched: Touched,
    found: Seen,
    xid: str,
    sink: Sink,
    budget: Budget,
) -> tuple[Rows, Rows] | None:
    """Before and after, in the form of COPY; ``None``: not proven, and nothing was written."""
    counted = touched.updated + touched.deleted
    if not table.binary or len(found.ended) != counted or not found.certain:
        return None
    if any(len(values) != len(table.columns) for _, _, values in found.ended):
        return None
    after = await _made(own, table, touched, found, xid)
    if after is None:
        return None
    stored = [i for i, column in enumerate(table.columns) if not column.generated]
    before = [[values[i] for i in stored] for _, _, values in found.ended]
    return await _written(sink, before, budget), await _written(sink, after, budget)


async def _made(
    own: Session, table: Table, touched: Touched, found: Seen, xid: str
) -> Sequence[Raw] | None:
    """The new versions, where none of the old ones is seen any more."""
    counted = touched.inserted + touched.updated
    source = f"ONLY {table.quoted}"
    columns = ", ".join(f"x.{c.quoted}" for c in table.stored)
    still = "false"
    if found.ended:
        places = "{" + ",".join(f'"{ctid}"' for ctid, _, _ in found.ended) + "}"
        makers = "{" + ",".join(sorted({xmin for _, xmin, _ in found.ended})) + "}"
        still = placed(places, makers)
    exact = f"x.xmin = '{xid}'::pg_catalog.xid"
    last = "(SELECT e.place FROM edge AS e)"  # once: the table may grow while it is read
    query = (
        f"WITH edge(place) AS MATERIALIZED (SELECT {tail(table.oid, counted)}) "
        f"SELECT {columns} FROM {source} AS x WHERE {exact} AND x.ctid >= {last}"
    )
    for span in spans_of((ctid, xmin) for ctid, xmin, _ in found.ended):
        query += (
            f" UNION ALL SELECT {columns} FROM {source} AS x "
            f"WHERE {exact} AND {within(span)} AND x.ctid < {last}"
        )
    if not counted:
        query = "SELECT WHERE false"
    visible = f"SELECT count(*) FROM {source} AS x WHERE {still}"
    (seen_still,), rows = await own.exchange((visible, ()), query)
    return rows if seen_still == 0 and len(rows) == counted else None


async def _written(sink: Sink, rows: Sequence[Raw], budget: Budget) -> Rows:
    at = sink.size
    data = _rows(rows)
    budget.bytes -= len(data)
    if budget.bytes < 0:
        raise TooMuch("bytes")
    if len(data) <= _AT_ONCE:
        sink.write(data)
    else:
        await asyncio.to_thread(sink.write, data)
    return Rows(count=len(rows), offset=at, size=len(data))


def _rows(rows: Sequence[Raw]) -> bytes:
    """As COPY writes them."""
    data = bytearray()
    for row in rows:
        data += _WIDTH(len(row))
        for value in row:
            if value is None:
                data += _NULL
            else:
                data += _LENGTH(len(value))
                data += value
    return bytes(data)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
