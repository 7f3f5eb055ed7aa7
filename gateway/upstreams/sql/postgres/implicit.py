"""Code of users that the server runs although no statement names it: casts that functions look up
while they run, the operator classes of types, indexes and partition keys, expressions of indexes,
statistics, partitions and constraints that are folded when a relation is opened or planned."""

from __future__ import annotations

from collections.abc import Collection

from gateway.upstreams.sql.postgres.functions import FIRST_USER_OID
from gateway.upstreams.sql.postgres.lookup import Connection

# Code in C came with an extension, by whoever may load libraries into the server; without this
# exemption every index of a common extension would be refused.
_HIDDEN = """
WITH RECURSIVE relation(oid) AS (
  SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname = ANY (%(names)s::name[])
  UNION
  SELECT near.oid FROM relation r CROSS JOIN LATERAL (
    SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid
    UNION ALL SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid
    UNION ALL SELECT d.refobjid FROM pg_catalog.pg_rewrite w
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
       AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     WHERE w.ev_class = r.oid) near
), type(oid) AS (
  SELECT pg_catalog.unnest(%(types)s::oid[])
  UNION
  SELECT a.atttypid FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
   WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION
  SELECT part.oid FROM type y JOIN pg_catalog.pg_type t ON t.oid = y.oid CROSS JOIN LATERAL (
    SELECT t.typelem AS oid WHERE t.typelem <> 0
    UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
       WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
    UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid) part
), opened(oid) AS (
  SELECT oid FROM relation
  UNION SELECT i.indexrelid FROM relation r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid
), class(family) AS (
  SELECT o.opcfamily FROM pg_catalog.pg_opclass o
   WHERE (o.oid >= %(first)s OR o.opcintype >= %(first)s) AND (
         o.opcintype IN (SELECT oid FROM type) AND o.opcintype >= %(first)s
      OR o.oid IN (SELECT pg_catalog.unnest(i.indclass::oid[]) FROM pg_catalog.pg_index i
                    WHERE i.indexrelid IN (SELECT oid FROM opened))
      OR o.oid IN (SELECT pg_catalog.unnest(p.partclass::oid[])
                     FROM pg_catalog.pg_partitioned_table p
                    WHERE p.partrelid IN (SELECT oid FROM relation))
      OR o.oid IN (SELECT r.rngsubopc FROM pg_catalog.pg_range r
                    WHERE r.rngtypid IN (SELECT oid FROM type)))
), bound(classid, objid) AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, oid FROM opened
  UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid
    FROM pg_catalog.pg_constraint k
   WHERE k.conrelid IN (SELECT oid FROM relation) OR k.contypid IN (SELECT oid FROM type)
  UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid
    FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid IN (SELECT oid FROM relation)
), named(refclassid, refobjid) AS (
  SELECT d.refclassid, d.refobjid FROM bound b
    JOIN pg_catalog.pg_depend d ON d.classid = b.classid AND d.objid = b.objid
   WHERE d.refobjid >= %(first)s
), code(oid) AS (
  SELECT refobjid FROM named WHERE refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION SELECT o.oprcode FROM named n JOIN pg_catalog.pg_operator o ON o.oid = n.refobjid
   WHERE n.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
  UNION SELECT a.amproc::oid FROM class c JOIN pg_catalog.pg_amproc a ON a.amprocfamily = c.family
  UNION SELECT o.oprcode FROM class c JOIN pg_catalog.pg_amop a ON a.amopfamily = c.family
    JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
  UNION SELECT c.castfunc FROM pg_catalog.pg_cast c
   WHERE c.castsource IN (SELECT oid FROM type) AND c.castsource >= %(first)s
  UNION SELECT pg_catalog.unnest(ARRAY[r.rngsubdiff::oid, r.rngcanonical::oid])
    FROM pg_catalog.pg_range r WHERE r.rngtypid IN (SELECT oid FROM type)
  UNION SELECT pg_catalog.unnest(ARRAY[t.typinput::oid, t.typoutput::oid, t.typsend::oid,
      t.typreceive::oid, t.typmodin::oid, t.typmodout::oid, t.typanalyze::oid])
    FROM pg_catalog.pg_type t WHERE t.oid IN (SELECT oid FROM type)
)
SELECT n.nspname || '.' || p.proname
  FROM code JOIN pg_catalog.pg_proc p ON p.oid = code.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= %(first)s AND l.lanname NOT IN ('c', 'internal')
UNION
SELECT 'values of any type in ' || c.relname FROM relation r
  JOIN pg_catalog.pg_class c ON c.oid = r.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
 WHERE a.attnum > 0 AND a.atttypid IN (2277, 2283)
"""


async def hidden_code(
    connection: Connection,
    *,
    names: Collection[str] = (),
    types: Collection[int] = (),
) -> list[str]:
    """Qualified names of the functions that users wrote (not in C) and that merely reading the
    relations of the bare ``names``, in whatever schema and with views opened, or values of
    ``types`` may run. Needs an open transaction."""
    if not (names or types):
        return []
    values = {"names": sorted(names), "types": sorted(types), "first": FIRST_USER_OID}
    # Compiling this query would take a hundred times longer than running it.
    await connection.execute("SET LOCAL jit = off")
    cursor = await connection.execute(_HIDDEN, values)
    return sorted(name for (name,) in await cursor.fetchall())


# Whatever changes a catalog writes to the log before it commits, and is among those that a snapshot
# calls running until it is visible. Where neither moved, every catalog is what it was.
_STATE = """
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE pg_catalog.pg_current_wal_insert_lsn()::text END,
       pg_catalog.pg_current_snapshot()::text"""
_MOST_KNOWN = 1000

_State = tuple[str | None, str]
_Asked = tuple[frozenset[str], frozenset[int]]


class HiddenCode:
    """``hidden_code`` of one database, asked anew unless it is proven that nothing was written
    since. ``asked`` counts how often that was."""

    def __init__(self) -> None:
        self._known: dict[_Asked, tuple[_State, list[str]]] = {}
        self.asked = 0

    async def of(
        self, connection: Connection, names: Collection[str], types: Collection[int]
    ) -> list[str]:
        if not (names or types):
            return []
        key = (frozenset(names), frozenset(types))
        # Before the catalogs are read: what comes between makes the state another one.
        row = await (await connection.execute(_STATE)).fetchone()
        state: _State = (row[0], row[1]) if row else (None, "")
        known = self._known.get(key)
        if known is not None and state[0] is not None and known[0] == state:
            return known[1]
        self.asked += 1
        found = await hidden_code(connection, names=names, types=types)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = (state, found)
        return found
