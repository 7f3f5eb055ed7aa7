"""Whether a table's rows can be captured, and put back exactly later. Asked before the commit, so
that nothing is captured that could not be restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import Identifier

from gateway.upstreams.sql.postgres.catalog import ForeignKey, Table
from gateway.upstreams.sql.postgres.questions import Answer, Question, answers, as_one
from gateway.upstreams.sql.postgres.session import Session


class Unfit(Exception):
    """A sentence that says what stands in the way, and which grant would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A FROM item that yields the rows of one table, and the condition that narrows it."""

    text: str
    condition: str = ""


# No input function reads these back, or the value means something only to this server's run.
_ONE_WAY_TYPES = (
    "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary", "pg_ddl_command", "gtsvector",
)  # fmt: skip

_READABLE = """
SELECT w.oid, c.oid::int8, n.nspname, c.relname, pg_catalog.row_security_active(c.oid),
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
         AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.unnest(%(oids)s::int8[]) AS w(oid)
CROSS JOIN LATERAL (
  SELECT w.oid::oid AS oid, 0 AS i
  UNION ALL
  SELECT p.relid::oid, p.i
  FROM pg_catalog.pg_partition_ancestors(w.oid::oid::regclass) WITH ORDINALITY AS p(relid, i)
  WHERE p.relid::oid <> w.oid::oid) AS a
JOIN pg_catalog.pg_class c ON c.oid = a.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY w.oid, a.i"""

_RIGHTS = """
SELECT w.oid, current_user::text,
  ARRAY(SELECT p FROM pg_catalog.unnest(ARRAY['INSERT','UPDATE','DELETE']) AS p
        WHERE NOT pg_catalog.has_table_privilege(w.oid::oid, p)),
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'),
  pg_catalog.row_security_active(w.oid::oid)
FROM pg_catalog.unnest(%(oids)s::int8[]) AS w(oid)"""

_OBSTACLES = """
SELECT w.oid,
  (SELECT k.conname::text FROM pg_catalog.pg_constraint k WHERE k.conrelid = w.oid::oid
     AND k.contype = 'c' AND NOT k.convalidated LIMIT 1),
  (SELECT t.tgname::text FROM pg_catalog.pg_trigger t
     WHERE t.tgrelid = w.oid::oid AND t.tgenabled IN ('A', 'R') LIMIT 1),
  (SELECT r.rulename::text FROM pg_catalog.pg_rewrite r
     WHERE r.ev_class = w.oid::oid AND r.ev_enabled IN ('A', 'R') LIMIT 1),
  (SELECT t.tgname::text FROM pg_catalog.pg_trigger t
     LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
     WHERE t.tgrelid = w.oid::oid AND t.tgenabled <> 'D'
       AND COALESCE(k.contype, 't') NOT IN ('f', 'u', 'p', 'x') LIMIT 1),
  (SELECT r.rulename::text FROM pg_catalog.pg_rewrite r
     WHERE r.ev_class = w.oid::oid AND r.ev_enabled <> 'D' AND r.ev_type <> '1' LIMIT 1),
  (SELECT i.indexrelid::pg_catalog.regclass::text FROM pg_catalog.pg_index i
     WHERE i.indrelid = w.oid::oid AND NOT i.indimmediate AND (i.indisexclusion
       OR (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool) LIMIT 1)
FROM pg_catalog.unnest(%(oids)s::int8[]) AS w(oid)"""

_REFERENCED_RIGHTS = """
SELECT c.oid::pg_catalog.regclass::text, r.p
FROM (SELECT pg_catalog.unnest(%s::int8[]) AS oid, 'SELECT' AS p
      UNION SELECT pg_catalog.unnest(%s::int8[]), 'UPDATE') AS r
JOIN pg_catalog.pg_class c ON c.oid = r.oid::oid
WHERE NOT pg_catalog.has_table_privilege(c.oid, r.p)
   OR pg_catalog.row_security_active(c.oid) LIMIT 1"""


async def sources(own: Session, peer: Session, table: Table) -> tuple[Source, Source]:
    """How each side reads the table. Raises ``Unfit`` naming the missing right."""
    oids = [table.oid]
    return (
        source(table, await own.rows(_READABLE, oids=oids), "agent"),
        source(table, await peer.rows(_READABLE, oids=oids), "capture"),
    )


def source(table: Table, readable: Answer, role: str) -> Source:
    """``readable``: what the role is answered to ``readable``, for any tables."""
    filtered = False
    for wanted, oid, schema, name, secured, may_read in readable:
        if wanted != table.oid or not may_read:
            continue
        if secured:
            filtered = True
            continue
        if oid == table.oid:
            return Source(text=f"ONLY {table.quoted}")
        # A partition's rows are open to whoever may read the table it is part of.
        return Source(
            text=Identifier(schema, name).as_string(), condition=f"x.tableoid = {table.oid}"
        )
    if filtered:
        raise Unfit(
            f"row-level security hides rows of {table.resource} from the {role} role of this "
            "source, which needs BYPASSRLS for exact images."
        )
    raise Unfit(
        f"the {role} role of this source may not read {table.resource}; "
        f"GRANT SELECT ON {table.quoted} to it (and USAGE on its schema)."
    )


async def readable(session: Session, oids: Sequence[int]) -> Answer:
    """What ``source`` takes."""
    return await session.rows(_READABLE, oids=list(oids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the catalog says of the capture role and the tables it would restore, by oid."""

    rights: Mapping[int, tuple[Any, ...]]
    obstacles: Mapping[int, tuple[Any, ...]]
    readable: Answer


STANDING = (
    Question(text=_RIGHTS, width=5),
    Question(text=_OBSTACLES, width=7),
    Question(text=_READABLE, width=6),
)


def standing_of(found: Sequence[Answer]) -> Standing:
    """``found``: the answers to ``STANDING`` that the capture role is given."""
    rights, obstacles, may_read = found
    return Standing(
        rights={oid: tuple(rest) for oid, *rest in rights},
        obstacles={oid: tuple(rest) for oid, *rest in obstacles},
        readable=may_read,
    )


async def unfit(
    peer: Session,
    table: Table,
    keys: Sequence[ForeignKey],
    *,
    touched: frozenset[int],
    replica: bool,
    known: Standing | None = None,
) -> None:
    """Raises ``Unfit`` where a revert of changes to ``table`` could not be exact. ``touched``:
    every table that the same transaction changed, and the partitioned tables above them.
    ``known``: of this table among others, where it was asked for already."""
    if not table.stored:
        raise Unfit(f"{table.resource} has no columns that hold values.")
    for column in table.stored:
        if column.type.removesuffix("[]") in _ONE_WAY_TYPES:
            raise Unfit(f"{table.resource}.{column.name} has a type whose text cannot be read in.")
    if known is None:
        known = standing_of(answers(await peer.one(as_one(STANDING), oids=[table.oid])))
    _rights(table, known)
    _obstacles(table, known, replica=replica)
    await _references(peer, table, keys, touched, replica=replica)


def _rights(table: Table, known: Standing) -> None:
    user, missing, temporary, secured = known.rights[table.oid]
    if missing:
        raise Unfit(
            f"the capture role {user!r} could not restore {table.resource}; "
            f"GRANT {', '.join(missing)} ON {table.quoted} to it."
        )
    if not temporary:
        raise Unfit(f"the capture role {user!r} needs TEMPORARY on this database to restore rows.")
    if secured:
        raise Unfit(
            f"row-level security of {table.resource} applies to the capture role {user!r}; it "
            "needs BYPASSRLS."
        )


def _obstacles(table: Table, known: Standing, *, replica: bool) -> None:
    check, always_trigger, always_rule, trigger, rule, late = known.obstacles[table.oid]
    if late:
        raise Unfit(f"{late!r} is a deferrable constraint that a revert could not check.")
    if check:
        raise Unfit(
            f"constraint {check!r} of {table.resource} is NOT VALID, so that rows which are there "
            "now could be refused when they are put back."
        )
    if always_trigger or always_rule:
        raise Unfit(
            f"{always_trigger or always_rule!r} on {table.resource} is enabled ALWAYS or REPLICA "
            "and would act on a revert."
        )
    if not replica and (trigger or rule):
        raise Unfit(
            f"{trigger or rule!r} on {table.resource} would act on a revert, and the capture role "
            "may not switch it off; GRANT SET ON PARAMETER session_replication_role to it "
            "(PostgreSQL 15 and later; a superuser before)."
        )


async def _references(
    peer: Session,
    table: Table,
    keys: Sequence[ForeignKey],
    touched: frozenset[int],
    *,
    replica: bool,
) -> None:
    family = set(table.ancestors)
    as_child = [k for k in keys if k.child in family]
    as_parent = [k for k in keys if k.parent in family]
    for key in (*as_child, *as_parent):
        if key.temporal:
            raise Unfit(f"foreign key {key.name!r} is over periods.")
    own = {c.name for c in table.columns if c.generated}
    for key in as_child:
        if own & set(key.child_columns):
            raise Unfit(f"foreign key {key.name!r} is over generated columns.")
    if not replica:
        for key in as_parent:
            if key.acts or key.child in touched:
                raise Unfit(
                    f"foreign key {key.name!r} would act on a revert of {table.resource}, and the "
                    "capture role may not switch that off; GRANT SET ON PARAMETER "
                    "session_replication_role to it."
                )
        return
    if not (as_child or as_parent):
        return
    read = [k.parent for k in as_child] + [k.child for k in as_parent]
    read += [k.parent for k in as_parent]
    locked = [k.parent for k in as_child]
    missing = await peer.rows(_REFERENCED_RIGHTS, read, locked)
    if missing:
        name, right = missing[0]
        raise Unfit(
            f"the capture role needs {right} on all rows of {name} to keep foreign keys intact in "
            "a revert."
        )
