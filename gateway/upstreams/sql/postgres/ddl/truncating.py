"""TRUNCATE: the rows are copied while nobody can write them, and where sequences start again, they
are held and read first. What was copied is put back like rows that were deleted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg

from gateway.errors import SnapshotFailed, UpstreamError
from gateway.model import RowCounts
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres import catalog
from gateway.upstreams.sql.postgres.catalog import Table
from gateway.upstreams.sql.postgres.copying import copy_out
from gateway.upstreams.sql.postgres.ddl import sequences
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.ddl.sequences import Counter, Reset
from gateway.upstreams.sql.postgres.fitness import Unfit, sources, unfit
from gateway.upstreams.sql.postgres.images import BINARY, TEXT, Rows, TableImage
from gateway.upstreams.sql.postgres.references import dangling
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from gateway.upstreams.sql.postgres.sink import Sink

_CLEARED = """
WITH RECURSIVE reached(relation, alone) AS (
  SELECT o::oid, p FROM ROWS FROM (unnest(%s::int8[]), unnest(%s::bool[])) AS named(o, p)
  UNION
  SELECT next.relation, false FROM reached r CROSS JOIN LATERAL (
    SELECT i.inhrelid AS relation FROM pg_catalog.pg_inherits i
     WHERE i.inhparent = r.relation AND NOT r.alone
    UNION ALL
    SELECT k.conrelid FROM pg_catalog.pg_constraint k
     WHERE %s AND k.contype = 'f' AND k.confrelid = r.relation) next
)
SELECT DISTINCT c.oid::int8, c.relkind::text, n.nspname, c.relname
FROM reached r JOIN pg_catalog.pg_class c ON c.oid = r.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 3, 4"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What one TRUNCATE took away. ``counts`` are by table."""

    tables: frozenset[int]
    images: tuple[TableImage, ...]
    counts: dict[str, RowCounts]
    counters: tuple[Counter, ...]
    before: dict[int, tuple[int, bool]]

    async def resets(self, session: Session) -> list[Reset]:
        """Asked after the statement ran."""
        found = []
        for counter in self.counters:
            after = await sequences.stands(session, counter.quoted)
            if after != self.before[counter.oid]:
                found.append(
                    Reset(
                        oid=counter.oid,
                        step=counter.step,
                        before=self.before[counter.oid],
                        after=after,
                    )
                )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """``named``: (oid, whether ONLY stands before it)."""

    named: Sequence[tuple[int, bool]]
    cascades: bool
    restarts: bool


async def copied(
    own: Session,
    peer: Session,
    clearing: Clearing,
    sink: Sink,
    *,
    limits: SqlLimits,
    replica: bool,
    known: Collection[int],
) -> Cleared:
    """The rows that the statement is going to remove, read before it runs. ``known``: tables that
    the same call has cleared before. Raises ``NoWayBack``,
    ``Unfit``, ``SnapshotFailed``, or ``UpstreamError`` with ``limit.rows``."""
    rows = await own.rows(
        _CLEARED,
        [oid for oid, _ in clearing.named],
        [only for _, only in clearing.named],
        clearing.cascades,
    )
    if any(kind == "f" for _, kind, _, _ in rows):
        raise NoWayBack("a foreign table would be cleared")
    oids = [oid for oid, kind, _, _ in rows if kind == "r" and oid not in known]
    await _hold(own, [(schema, name) for _, kind, schema, name in rows if kind in "rp"])
    counters: list[Counter] = []
    if clearing.restarts:
        counters = await sequences.owned(own, [oid for oid, *_ in rows])
        for counter in counters:
            await sequences.hold(own, counter)
    found = await catalog.tables(peer, oids)
    keys = await catalog.foreign_keys(peer, list(found.values()))
    for key in keys:
        if not key.valid and await dangling(peer, key):
            raise Unfit(
                f"rows refer to nothing by the foreign key {key.name!r}, which is NOT VALID."
            )
    family = frozenset(oid for table in found.values() for oid in table.ancestors)
    budget = _Budget(limits)
    images = []
    for oid in oids:
        if oid not in found:
            raise Unfit(f"a table with the number {oid} is not seen by the capture role.")
        await unfit(peer, found[oid], keys, touched=family, replica=replica)
        images.append(await _image(peer, found[oid], sink, budget))
    return Cleared(
        tables=frozenset(oids),
        images=tuple(i for i in images if i.before.count),
        counts={i.resource: RowCounts(deleted=i.before.count) for i in images},
        counters=tuple(counters),
        before={c.oid: await sequences.stands(peer, c.quoted) for c in counters},
    )


async def _hold(own: Session, names: Sequence[tuple[str, str]]) -> None:
    # Readers may go on; the capture role is one of them.
    if names:
        quoted = ", ".join(psycopg.sql.Identifier(*name).as_string() for name in names)
        await own.run(f"LOCK TABLE ONLY {quoted.replace(', ', ', ONLY ')} IN EXCLUSIVE MODE")


class _Budget:
    def __init__(self, limits: SqlLimits) -> None:
        self._limits = limits
        self.rows = limits.max_capture_rows
        self.bytes = limits.max_capture_bytes

    def take(self, rows: int, size: int) -> None:
        self.rows -= rows
        self.bytes -= size
        if self.rows < 0:
            most = self._limits.max_capture_rows
            raise UpstreamError(
                f"This would clear more than {most} rows, the most that are kept for one call.",
                reason="limit.rows",
            )


async def _image(peer: Session, table: Table, sink: Sink, budget: _Budget) -> TableImage:
    _, source = await sources(peer, peer, table)
    binary = table.binary
    columns = ", ".join(
        f"x.{c.quoted}::{c.reg}" if c.reg and not binary else f"x.{c.quoted}" for c in table.stored
    )
    where = f" WHERE {source.condition}" if source.condition else ""
    query = f"SELECT {columns} FROM {source.text} AS x{where}"
    offset = sink.size
    try:
        done = await copy_out(peer, query, sink.write, binary=binary, budget=budget.bytes)
    except TooMuch:
        raise SnapshotFailed(
            f"The rows of {table.resource} are more than the bytes that are kept for one call."
        ) from None
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise SnapshotFailed("The rows could not be read in time.") from error
    budget.take(done.rows, done.size)
    return TableImage.of(
        table,
        before=Rows(count=done.rows, offset=offset, size=done.size),
        after=Rows(),
        updated=0,
        coding=BINARY if binary else TEXT,
    )
