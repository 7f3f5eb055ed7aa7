"""What an open transaction has changed so far, asked of the server itself: which relations it
holds locks on, and how many row versions it made and ended in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from gateway.model import Measured, RowCounts
from gateway.upstreams.sql.postgres.pins import PIN
from gateway.upstreams.sql.postgres.questions import Answer, Question, answers, as_one
from gateway.upstreams.sql.postgres.session import Session

Counts = Mapping[int, tuple[int, int, int]]  # by relation: inserted, updated, deleted

_COUNTERS = """
    pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_updated(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)"""

_BASELINE = f"""
SELECT * FROM (
  SELECT c.oid::int8, {_COUNTERS} FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm')
) AS t(oid, i, u, d) WHERE i + u + d > 0"""

_HELD = f"""
WITH held AS MATERIALIZED (
  SELECT relation, bool_or(mode = 'AccessExclusiveLock') AS exclusive,
         bool_or(mode = 'RowExclusiveLock') AS written
  FROM pg_catalog.pg_locks
  WHERE locktype = 'relation' AND pid = pg_catalog.pg_backend_pid() AND granted
    AND mode <> 'AccessShareLock'
    AND database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
  GROUP BY relation)
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, h.exclusive,
       h.written, c.reltuples::float8,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
         AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND NOT pg_catalog.row_security_active(c.oid), {_COUNTERS}
FROM held h
JOIN pg_catalog.pg_class c ON c.oid = h.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> 'pg_catalog' AND c.relkind NOT IN ('i', 'I', 't', 'c')
ORDER BY 2, 3"""

_CATALOGS = f"""
SELECT c.oid::int8, {_COUNTERS} FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """One relation that the transaction wrote to, or may have: counts are row versions.
    ``readable``: its role sees all rows of it."""

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    exclusive: bool
    written: bool
    estimate: float  # the planner's number of rows, -1 when unknown
    readable: bool
    inserted: int
    updated: int
    deleted: int

    @property
    def resource(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """``schema_changed`` says in words why this is more than rows: a catalog was written, or a
    relation is locked as only TRUNCATE and DDL lock."""

    tables: tuple[Touched, ...]
    sequences: tuple[str, ...]
    schema_changed: str | None
    refusal: str | None


async def baseline(session: Session) -> Counts:
    """What the counters hold before the transaction does anything: servers before 15 keep numbers
    of earlier transactions there until they send them on."""
    if session.version >= 150000:
        return {}
    return {oid: (i, u, d) for oid, i, u, d in await session.rows(_BASELINE)}


_QUESTIONS = as_one(
    (
        Question(text=_HELD, width=12),
        Question(text=_CATALOGS, width=4),
        Question(text="SELECT pg_catalog.current_setting('track_counts')", width=1),
    )
)


async def extent(session: Session, before: Counts, *, own_temporary: bool = False) -> Extent:
    """What the open transaction of ``session`` has changed. ``own_temporary``: temporary tables
    and the catalog rows that they need are the gateway's own."""
    return _extent(answers(await session.one(_QUESTIONS)), before, own_temporary)


async def finished(
    session: Session, before: Counts, *, own_temporary: bool = False
) -> tuple[Extent, str | None]:
    """Fires what is deferred, then ``extent``, and the id of the transaction that this is said
    of. Names and values read in one way from then on, unless there is ``own_temporary``."""
    _, _, ((xid,),), (found,) = await session.batch(
        ("SET CONSTRAINTS ALL IMMEDIATE", ()),
        ("SELECT" if own_temporary else PIN, ()),
        ("SELECT pg_catalog.pg_current_xact_id_if_assigned()::text", ()),
        (_QUESTIONS, ()),
    )
    return _extent(answers(found), before, own_temporary), xid


def _extent(found: Sequence[Answer], before: Counts, own_temporary: bool) -> Extent:
    held, catalogs, ((counted,),) = found
    tables: list[Touched] = []
    sequences: list[str] = []
    locked: list[str] = []
    refusal: str | None = None
    for row in held:
        touched = _touched(row, before)
        if own_temporary and touched.persistence == "t":
            continue
        if touched.exclusive:
            locked.append(touched.resource)
        if touched.kind == "S" and touched.written:
            sequences.append(touched.resource)
        elif touched.kind == "f" and touched.written:
            refusal = f"{touched.resource} is a foreign table"
        elif touched.rows:
            tables.append(touched)
            refusal = refusal or _unfit(touched)
    changed = f"{', '.join(locked)} was created, truncated or altered" if locked else None
    if changed is None and not own_temporary and _catalogs_written(catalogs, before):
        changed = "database objects were created, altered or dropped"
    if counted != "on":
        refusal = "track_counts is off, so that changes cannot be counted"
    return Extent(
        tables=tuple(tables),
        sequences=tuple(sequences),
        schema_changed=changed,
        refusal=refusal,
    )


def _touched(row: tuple[object, ...], before: Counts) -> Touched:
    oid, schema, name, kind, persistence, exclusive, written, estimate, readable, i, u, d = row
    old = before.get(int(str(oid)), (0, 0, 0))
    return Touched(
        oid=int(str(oid)),
        schema=str(schema),
        name=str(name),
        kind=str(kind),
        persistence=str(persistence),
        exclusive=bool(exclusive),
        written=bool(written),
        estimate=float(str(estimate)),
        readable=bool(readable),
        inserted=int(str(i)) - old[0],
        updated=int(str(u)) - old[1],
        deleted=int(str(d)) - old[2],
    )


def _unfit(touched: Touched) -> str | None:
    if touched.persistence == "t":
        return f"{touched.name} is a temporary table"
    if touched.kind != "r":
        return f"{touched.resource} is not an ordinary table"
    return None


def _catalogs_written(catalogs: Answer, before: Counts) -> bool:
    return any(tuple(counts) != before.get(oid, (0, 0, 0)) for oid, *counts in catalogs)


async def measured(found: Extent, reader: Session | None) -> Measured:
    """The extent as policy and limits see it. ``reader`` counts tables that are small or of
    unknown size; a table that it may not count and nobody estimated counts as wholly changed."""
    tables: dict[str, RowCounts] = {}
    share = 0.0
    for table in found.tables:
        tables[table.resource] = RowCounts(
            inserted=table.inserted, updated=table.updated, deleted=table.deleted
        )
        changed = table.updated + table.deleted
        if table.rows > _SHARE_FROM and changed:
            share = max(share, min(1.0, changed / max(1.0, await _size(table, reader))))
    return Measured(tables=tables, share=share)


_SHARE_FROM = 10  # a share of a handful of rows says nothing
_COUNTED_BELOW = 100_000


async def _size(table: Touched, reader: Session | None) -> float:
    if table.estimate >= _COUNTED_BELOW or reader is None:
        return max(table.estimate, 0.0)
    name = psycopg.sql.Identifier(table.schema, table.name).as_string()
    try:
        return float((await reader.one(f"SELECT count(*) FROM ONLY {name}"))[0])
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled):
        return max(table.estimate, 0.0)
