"""CREATE and ALTER: run as they are, then taken back and done again in a savepoint, from nothing
but the shapes before and after. What did not come back as it was has no exact way back."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg

from gateway.upstreams.sql.postgres.catalog import Table
from gateway.upstreams.sql.postgres.ddl.closure import Seed
from gateway.upstreams.sql.postgres.ddl.columns import Kept, digest, keep
from gateway.upstreams.sql.postgres.ddl.dropping import attempted, put_away
from gateway.upstreams.sql.postgres.ddl.inverse import nearer
from gateway.upstreams.sql.postgres.ddl.naming import seeds
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.ddl.records import Made, Part
from gateway.upstreams.sql.postgres.ddl.shape import (
    Difference,
    Scope,
    Shape,
    plain_names,
    shape,
    unordered,
)
from gateway.upstreams.sql.postgres.replies import Reply
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.written import Written

_MOST = 25  # kinds of difference that are worked off one after the other

_FAMILY = """
WITH RECURSIVE named AS (SELECT unnest(%s::int8[])::oid AS oid),
family(oid) AS (
  SELECT oid FROM named
  UNION
  SELECT n.oid FROM family f CROSS JOIN LATERAL (
    SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits i WHERE i.inhparent = f.oid
    UNION ALL SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = f.oid) AS n
)
"""
_RELATIVES = f"""{_FAMILY}
SELECT DISTINCT c.oid::int8 FROM (
  SELECT oid FROM family
  UNION ALL SELECT k.conrelid FROM pg_catalog.pg_constraint k JOIN family f ON k.confrelid = f.oid
  UNION ALL SELECT k.confrelid FROM pg_catalog.pg_constraint k JOIN family f ON k.conrelid = f.oid
  UNION ALL SELECT i.indrelid FROM pg_catalog.pg_index i JOIN family f ON i.indexrelid = f.oid
  UNION ALL SELECT w.ev_class FROM family f
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.refobjid = f.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
  UNION ALL SELECT y.polrelid FROM family f
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.refobjid = f.oid AND d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
    JOIN pg_catalog.pg_policy y ON y.oid = d.objid
  UNION ALL SELECT CASE WHEN d.refobjid = f.oid THEN d.objid ELSE d.refobjid END FROM family f
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.classid = d.refclassid AND d.refobjsubid > 0 AND f.oid IN (d.refobjid, d.objid)
) AS near(oid)
JOIN pg_catalog.pg_class c ON c.oid = near.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S')"""

_RELATED = f"""{_FAMILY}
SELECT c.oid::int8 FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid
WHERE c.relkind IN ('r', 'p')"""
_PRIVILEGES = ("grant", "revoke")
_BESIDE = {
    "functions": "pg_proc",
    "types": "pg_type",
    "schemas": "pg_namespace",
    "defaults": "pg_authid",
}
TAKING = frozenset({"DropColumn", "AlterColumnType"})
_QUOTED = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relkind::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::int8[]::oid[])"""
_LABELS = """
SELECT c.oid::int8, n.nspname || '.' || c.relname, c.relkind::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s::int8[]::oid[])"""


@dataclass(frozen=True, slots=True)
class _Before:
    named: frozenset[int]
    there: frozenset[Seed]  # what has the name of something that is to be made
    scope: Scope
    shape: Shape


async def alter(
    session: Session, change: Written, *, tried: Callable[[], Awaitable[Reply]], loose: bool
) -> tuple[Reply, list[Part]]:
    """``tried`` runs the agent's statement verbatim. ``loose``: policy accepts that columns come
    back in another order. Raises ``NoWayBack``, or what the server says to the statement."""
    before = await _before(session, change)
    values = await _values(session, change, before)
    reply = await tried()
    made = await _made(session, change, before)
    async with plain_names(session):
        await _nothing_else(session, change, before, {seed.oid for seed in made})
        parts = [await _changed(session, change, before, values, loose=loose)]
        for seed in made:
            parts.append(await _created(session, change, seed))
    return reply, [part for part in parts if part.difference.parts or part.made]


async def _before(session: Session, change: Written) -> _Before:
    found = await seeds(session, [n for n in change.named if not n.fresh])
    there = await seeds(session, [n for n in change.named if n.fresh])
    # CREATE OR REPLACE changes what is there.
    named = frozenset(s.oid for s in (*found, *there) if s.catalog == "pg_class")
    beside = Scope(
        **{
            part: frozenset(s.oid for s in found if s.catalog == catalog)
            for part, catalog in _BESIDE.items()
        }
    )
    async with plain_names(session):
        for oid, _, kind in await session.rows(_LABELS, sorted(named)):
            if kind in "rp" and change.verb not in _PRIVILEGES:
                await _hold(session, oid)
        scope = beside | await _around(session, named, change)
        return _Before(named, frozenset(there), scope, await shape(session, scope))


async def _hold(session: Session, oid: int) -> None:
    """Nobody else alters it until the call ends; reading and writing go on."""
    (name,) = await session.one("SELECT %s::int8::oid::pg_catalog.regclass::text", oid)
    try:
        await session.run("SAVEPOINT holding")
        await session.run(f"LOCK TABLE ONLY {name} IN SHARE UPDATE EXCLUSIVE MODE")
    except psycopg.errors.InsufficientPrivilege:
        await session.run("ROLLBACK TO SAVEPOINT holding")  # the statement itself says so


async def _around(session: Session, named: frozenset[int], change: Written) -> Scope:
    if not named or change.verb in _PRIVILEGES:
        return Scope(relations=named)
    near = {oid for (oid,) in await session.rows(_RELATIVES, sorted(named))}
    return Scope(relations=frozenset(near) | named)


async def _nothing_else(session: Session, change: Written, before: _Before, made: set[int]) -> None:
    """Raises ``NoWayBack`` where a table is related by inheritance now whose shape before is not
    known."""
    if not before.named or change.verb in _PRIVILEGES:
        return
    family = {oid for (oid,) in await session.rows(_RELATED, sorted(before.named))}
    for _, name, _ in await session.rows(_LABELS, sorted(family - before.scope.relations - made)):
        raise NoWayBack(f"it also changes {name}, which it does not name")


async def _made(session: Session, change: Written, before: _Before) -> list[Seed]:
    """Relations, types and schemas that were not there."""
    fresh = [n for n in change.named if n.fresh and n.verb == "create"]
    known = {Seed(catalog="pg_class", oid=oid) for oid in before.scope.relations}
    found = await seeds(session, fresh)
    if change.verb == "create" and fresh and not found:
        raise NoWayBack("what it makes is not to be found")
    return [seed for seed in found if seed not in known | before.there]


@dataclass(frozen=True, slots=True)
class _Values:
    """What stood in the columns that go or change their type."""

    table: Table
    kept: Kept | None
    digest: tuple[object, ...]


async def _values(session: Session, change: Written, before: _Before) -> _Values | None:
    if not TAKING & set(change.alters) or len(before.named) != 1:
        return None
    (oid,) = before.named
    (named,) = [n for n in change.named if n.verb == "alter"]
    copy = f"holdfast_columns_{secrets.randbelow(1 << 30)}"
    await session.run("SAVEPOINT keeping")
    try:
        async with plain_names(session):
            for name, kind in await session.rows(_QUOTED, [oid]):
                if kind == "r":
                    await session.run(f"LOCK TABLE ONLY {name} IN EXCLUSIVE MODE")
            table, kept = await keep(session, oid, named.columns, copy)
            return _Values(table, kept, await digest(session, table))
    except psycopg.errors.InsufficientPrivilege:
        await session.run("ROLLBACK TO SAVEPOINT keeping")  # the statement itself says so
        return None


async def _changed(
    session: Session, change: Written, before: _Before, values: _Values | None, *, loose: bool
) -> Part:
    """The part of what was there before, proven both ways."""
    after = await shape(session, before.scope)
    goal = unordered(before.shape) if loose else before.shape
    await session.run("SAVEPOINT proving")
    await session.run("SET CONSTRAINTS ALL IMMEDIATE")
    kept = values.kept if values else None
    if values is not None:
        await _quiet(session, values.table)
        if kept is None and "DropColumn" in change.alters:
            raise NoWayBack(f"rows of {values.table.resource} have no key to find them by again")
    undo = await way(session, before.scope, goal, fill=kept.fill if kept else None)
    if values is None and any(map(_needs_values, undo)):
        raise NoWayBack("it takes values away in a manner that is not known")
    if values is not None and await digest(session, values.table) != values.digest:
        raise NoWayBack("taking it back was tried and did not give the values there were before")
    redo = await _again(session, before.scope, unordered(after) if loose else after)
    await session.run("ROLLBACK TO SAVEPOINT proving")
    named = [name for _, name, _ in await session.rows(_LABELS, sorted(before.named))]
    seen = unordered(after) if loose else after
    return Part(
        verb=change.verb,
        names=tuple(named) or tuple(n.name for n in change.named),
        undo=tuple(undo),
        redo=tuple(redo),
        scope=before.scope,
        difference=Difference.between(goal, seen),
        kept=kept,
        filled=values.table.oid if values else 0,
        loose=loose,
    )


async def _quiet(session: Session, table: Table) -> None:
    """Raises ``NoWayBack`` where the call has also changed rows: the proof will count as such."""
    (rows,) = await session.one(
        "SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(%(t)s) + "
        "pg_catalog.pg_stat_get_xact_tuples_updated(%(t)s) + "
        "pg_catalog.pg_stat_get_xact_tuples_deleted(%(t)s)".replace("%(t)s", str(table.oid))
    )
    if rows:
        raise NoWayBack(f"it also changed rows of {table.resource}")


async def _again(session: Session, scope: Scope, after: Shape) -> list[str]:
    """How it is done once more after a revert; nothing where no statements are known for it, and
    then that revert cannot be taken back."""
    try:
        return await way(session, scope, after)
    except NoWayBack:
        return []


async def way(session: Session, scope: Scope, goal: Shape, *, fill: str | None = None) -> list[str]:
    """Statements that give ``scope`` the shape ``goal``, carried out here. ``fill`` comes after
    columns have been added or got their types back. Raises ``NoWayBack``."""
    done: list[str] = []
    for _ in range(_MOST):
        now = await _like(session, scope, goal)
        if now == goal:
            return done
        statements = nearer(now, goal)
        if not statements:
            break
        if fill is not None and any(map(_needs_values, statements)):
            statements.append(fill)
        for statement in statements:
            await attempted(session, statement)
        done += statements
    parts = Difference.between(await _like(session, scope, goal), goal).parts
    raise NoWayBack(f"taking it back was tried and left {_worded(parts)} different")


def _needs_values(statement: str) -> bool:
    return statement.startswith("ALTER TABLE ") and (
        " ADD COLUMN " in statement or " TYPE " in statement
    )


async def _like(session: Session, scope: Scope, goal: Shape) -> Shape:
    """The shape now, with or without the order of columns, as ``goal`` has it."""
    now = await shape(session, scope)
    ordered = any("place" in part for key, part in goal.items() if " column " in key)
    return now if ordered else unordered(now)


def _worded(parts: Sequence[str]) -> str:
    words = [" ".join(part.split(" ")[2:]) for part in parts]
    return ", ".join(words[:5])


async def _created(session: Session, change: Written, seed: Seed) -> Part:
    """It is taken back by quarantine, which is tried here."""
    rows = await held(session, seed)
    (name,) = await session.one(
        "SELECT o.identity FROM pg_catalog.pg_identify_object("
        "%s::text::pg_catalog.regclass, %s::int8::oid, 0) AS o",
        f"pg_catalog.{seed.catalog}",
        seed.oid,
    )
    await session.run("SAVEPOINT creating")
    await put_away(session, [seed], verb=change.verb, call="")
    await session.run("ROLLBACK TO SAVEPOINT creating")
    return Part(
        verb=change.verb,
        names=(name,),
        undo=(),
        redo=(),
        scope=Scope(),
        difference=Difference(before={}, after={}),
        made=(Made(catalog=seed.catalog, oid=seed.oid, name=name, rows=rows),),
    )


async def held(session: Session, seed: Seed) -> int:
    """How many rows of its own something holds."""
    if seed.catalog != "pg_class":
        return 0
    found = await session.rows(
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = %s::int8::oid AND c.relkind IN ('r', 'p')",
        seed.oid,
    )
    for (name,) in found:
        (rows,) = await session.one(f"SELECT count(*) FROM {name}")
        return int(rows)
    return 0
