"""Taking schema changes back: only what still looks as the call left it, and only if everything
looks afterwards as it did before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import psycopg
from psycopg.sql import Identifier

from gateway.model import Conflict, Json
from gateway.upstreams.sql.postgres.copying import Segments
from gateway.upstreams.sql.postgres.ddl.altering import held
from gateway.upstreams.sql.postgres.ddl.closure import Seed, closure
from gateway.upstreams.sql.postgres.ddl.dropping import put_away
from gateway.upstreams.sql.postgres.ddl.quarantine import Moved, NoWayBack
from gateway.upstreams.sql.postgres.ddl.records import Made, Part
from gateway.upstreams.sql.postgres.ddl.shape import Shape, places, shape, unordered
from gateway.upstreams.sql.postgres.ddl.valuing import valued, written_since
from gateway.upstreams.sql.postgres.failures import lost
from gateway.upstreams.sql.postgres.preparing import REGISTER
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.sink import Sink

_TAKEN = """
SELECT pg_catalog.to_regnamespace(pg_catalog.quote_ident(w.schema)) IS NULL,
  CASE WHEN w.kind IN ('function', 'procedure', 'aggregate') THEN
         (SELECT p.oid::int8 FROM pg_catalog.pg_proc m
            JOIN pg_catalog.pg_proc p ON p.proname = m.proname AND p.proargtypes = m.proargtypes
            JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
           WHERE m.oid = w.moved::oid AND n.nspname = w.schema)
       WHEN w.kind = 'type' THEN
         (SELECT t.oid::int8 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n
             ON n.oid = t.typnamespace WHERE n.nspname = w.schema AND t.typname = w.name)
       WHEN w.kind = 'statistics' THEN
         (SELECT x.oid::int8 FROM pg_catalog.pg_statistic_ext x JOIN pg_catalog.pg_namespace n
             ON n.oid = x.stxnamespace WHERE n.nspname = w.schema AND x.stxname = w.name)
       WHEN w.kind = 'schema' THEN
         (SELECT n.oid::int8 FROM pg_catalog.pg_namespace n WHERE n.nspname = w.name)
       ELSE (SELECT c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
             ON n.oid = c.relnamespace WHERE n.nspname = w.schema AND c.relname = w.name) END
FROM ROWS FROM (unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]), unnest(%s::int8[]))
  AS w(kind, schema, name, moved)"""


@dataclass(slots=True)
class Back:
    """What became of one part: what takes this back in turn, or what stood in the way."""

    part: Part
    restored: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    failed: str | None = None
    purged: bool = False


async def take_back(
    session: Session,
    part: Part,
    segments: Callable[[], Segments],
    *,
    call: str,
    sink: Sink,
    budget: int,
    force: bool = False,
    rehearsal: bool = False,
) -> Back:
    """Within the caller's savepoint, which it rolls back when there are conflicts or a failure.
    The search path of ``session`` is empty. ``force``: also what others have put into something
    that the call made. ``segments`` opens the image of ``call``. Values that are taken away here
    go into ``sink``. ``rehearsal``: as the agents' role, which does not own the places that things
    come back from."""
    if part.made:
        return await _away(session, part, call=call, force=force)
    if part.places and not part.back and not await _there(session, part.places):
        return Back(part, failed="What it put into quarantine was purged.", purged=True)
    now = await _shape(session, part)
    conflicts = await _conflicts(session, part, now)
    if not conflicts and not force:
        conflicts = await written_since(session, part)
    if conflicts:
        return Back(part, conflicts=conflicts)
    try:
        swapped = await valued(session, part, segments, sink, budget)
        for statement in part.undo:
            if not (rehearsal and gives_up(part, statement)):
                await session.run(statement)
    except NoWayBack as error:
        return Back(part, failed=f"{error}.")
    except psycopg.Error as error:
        if lost(error) or isinstance(
            error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled
        ):
            raise
        if isinstance(error, psycopg.IntegrityError):
            return Back(part, conflicts=[_refused(part, error)])
        return Back(part, failed=f"The server says: {error.diag.message_primary}.")
    wrong = _wrong(part, now, await _shape(session, part))
    if wrong:
        return Back(part, failed=f"It did not come back as it was: {', '.join(wrong)}.")
    swapped = replace(swapped, seen=await shape(session, part.scope) if part.moves else {})
    return Back(swapped, restored=max(1, len(part.moved) or len(part.difference.parts)))


def gives_up(part: Part, statement: str) -> bool:
    """Whether a statement of its way back only gives up a place in quarantine."""
    if statement.startswith(f"DELETE FROM {REGISTER} "):
        return True
    return statement in {f"DROP SCHEMA {Identifier(p).as_string()}" for p in part.places}


async def _there(session: Session, places: Sequence[str]) -> bool:
    (found,) = await session.one(
        "SELECT count(*) FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (%s::text[])",
        list(places),
    )
    return bool(found)


async def _shape(session: Session, part: Part) -> Shape:
    if part.moves:
        return await places(session, part.scope)
    found = await shape(session, part.scope)
    return unordered(found) if part.loose else found


async def _away(session: Session, part: Part, *, call: str, force: bool) -> Back:
    """What the call made goes into quarantine, unless others have come to use it."""
    (made,) = part.made
    seed = Seed(catalog=made.catalog, oid=made.oid)
    gone = await closure(session, [seed])
    here = next((g for g in gone if (g.catalog, g.oid) == (made.catalog, made.oid)), None)
    if here is None or here.identity != made.name:
        now = None if here is None else here.identity
        return Back(part, conflicts=[_unlike(made, now, "changed")])
    kept = {(g.catalog, g.oid) for g in await closure(session, [seed], cascades=False)}
    others = {g.identity for g in gone if (g.catalog, g.oid) not in kept and g.owner != made.oid}
    others |= {g.identity for g in gone if g.kind == "f" and g.other == made.oid != g.owner}
    if others:
        return Back(part, conflicts=[_unlike(made, sorted(others), "depended_on")])
    rows = await held(session, seed)
    if rows != made.rows and not force:
        return Back(part, conflicts=[_unlike(made, {"rows": rows}, "changed")])
    try:
        return Back(await put_away(session, [seed], verb="revert", call=call), restored=1)
    except NoWayBack as error:
        return Back(part, failed=f"{error}.")


def _unlike(made: Made, now: Json, why: str) -> Conflict:
    after = {"name": made.name, "rows": made.rows}
    return Conflict(resource=made.name, key=None, before=None, after=after, now=now, why=why)


async def _conflicts(session: Session, part: Part, now: Shape) -> list[Conflict]:
    found = await _altered(session, part) if part.moves else _changed(part, now)
    return found if part.back else found + await _taken(session, part.moved)


async def _altered(session: Session, part: Part) -> list[Conflict]:
    """What others made different in things that were only moved."""
    now = await shape(session, part.scope)
    return [
        Conflict(
            resource=_resource(part, key),
            key={"part": key},
            before=None,
            after=part.seen.get(key),
            now=now.get(key),
            why="changed",
        )
        for key in {**part.seen, **now}
        if now.get(key) != part.seen.get(key)
    ]


def _changed(part: Part, now: Shape) -> list[Conflict]:
    before, after = part.difference.before, part.difference.after
    return [
        Conflict(
            resource=_resource(part, key),
            key={"part": key},
            before=before.get(key),
            after=after.get(key),
            now=now.get(key),
            why="changed",
        )
        for key in part.difference.parts
        if now.get(key) != after.get(key)
    ]


def _wrong(part: Part, now: Shape, then: Shape) -> list[str]:
    """Parts that are not as before the call; what others changed since stays as they left it."""
    before = part.difference.before
    ours = set(part.difference.parts)
    keys = {**now, **then, **before}
    return [
        key for key in keys if then.get(key) != (before.get(key) if key in ours else now.get(key))
    ]


def _resource(part: Part, key: str) -> str:
    oid = key.split(" ", 2)[1]
    for moved in part.moved:
        if str(moved.oid) == oid:
            return f"{moved.schema}.{moved.name}".lstrip(".")
    known = part.difference.before.get(f"relation {oid} itself") or {}
    if known:
        return f"{known['schema']}.{known['relname']}"
    return ", ".join(part.names)


async def _taken(session: Session, moved: Sequence[Moved]) -> list[Conflict]:
    """Names that others gave to something else meanwhile, and schemas that are gone."""
    rows = await session.rows(
        _TAKEN,
        [m.kind for m in moved],
        [m.schema for m in moved],
        [m.name for m in moved],
        [m.oid for m in moved],
    )
    conflicts = []
    for one, (homeless, oid) in zip(moved, rows, strict=True):
        gone = homeless and one.kind != "schema"
        if gone or oid is not None:
            conflicts.append(
                Conflict(
                    resource=f"{one.schema}.{one.name}".lstrip("."),
                    key=None,
                    before={"kind": one.kind, "oid": one.oid},
                    after=None,
                    now=None if gone else {"kind": one.kind, "oid": oid},
                    why="schema_gone" if gone else "name_taken",
                )
            )
    return conflicts


def _refused(part: Part, error: psycopg.Error) -> Conflict:
    diag = error.diag
    now: dict[str, Json] = {"message": diag.message_primary, "detail": diag.message_detail}
    return Conflict(
        resource=f"{diag.schema_name}.{diag.table_name}",
        key={"constraint": diag.constraint_name},
        before={"names": list(part.names)},
        after=None,
        now=now,
        why="constraint",
    )
