"""A DROP, done by quarantine: tried first in a savepoint, where it gives the agent's answer or
error, then taken back there and done without losing anything."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence

import psycopg
from psycopg.sql import Identifier

from gateway.upstreams.sql.postgres.ddl.closure import Gone, Seed, closure, reached
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack, Plan, Quarantine
from gateway.upstreams.sql.postgres.ddl.records import Part
from gateway.upstreams.sql.postgres.ddl.shape import (
    Difference,
    Scope,
    Shape,
    places,
    plain_names,
    shape,
)
from gateway.upstreams.sql.postgres.failures import lost
from gateway.upstreams.sql.postgres.replies import Reply
from gateway.upstreams.sql.postgres.session import Session


async def planned(
    session: Session, found: Sequence[Seed], *, call: str = "", cascades: bool = True
) -> tuple[Plan, list[Gone]]:
    """What a DROP of ``found`` would be here and now. Changes nothing. Raises ``NoWayBack``."""
    gone = await closure(session, found, cascades=cascades)
    return await Quarantine(session, gone, secrets.token_hex(6), call).plan(), gone


async def drop(
    session: Session,
    found: Sequence[Seed],
    *,
    call: str,
    tried: Callable[[], Awaitable[Reply]],
) -> tuple[Reply, Part | None]:
    """``call``: who it is kept for. ``tried`` runs the agent's statement verbatim. ``None`` where
    nothing was there to drop. Raises ``NoWayBack``, or what the server says to it."""
    await session.run("SAVEPOINT tried")
    reply = await tried()
    await session.run("ROLLBACK TO SAVEPOINT tried")
    if not found:
        return reply, None
    async with plain_names(session):
        return reply, await put_away(session, found, verb="drop", call=call)


async def put_away(session: Session, found: Sequence[Seed], *, verb: str, call: str) -> Part:
    """Puts ``found`` and all that depends on it into quarantine. The search path is empty."""
    plan, gone = await planned(session, found, call=call)
    tables = sorted(
        Identifier(g.schema, g.name).as_string()
        for g in gone
        if g.catalog == "pg_class" and g.kind in "rp" and not g.sub
    )
    for name in tables:
        await attempted(session, f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE")
    if plan.prove:
        # Somebody may have changed what hangs on other things before it was locked.
        plan, gone = await planned(session, found, call=call)
    moves = not (plan.prove or plan.apart)
    look = places if moves else shape
    before = await look(session, plan.scope)
    for statement in plan.redo:
        await attempted(session, statement)
    after = await look(session, plan.scope)
    await _alone(session, found, gone)
    if plan.prove:
        # The places belong to the capture role: only that can give them up.
        await prove(session, [s for s in plan.undo if s not in plan.leave], plan.scope, before)
    return Part(
        verb=verb,
        names=tuple(sorted(_names(plan, gone, found))),
        undo=tuple(plan.undo),
        redo=tuple(plan.redo),
        scope=plan.scope,
        difference=Difference.between(before, after),
        moved=tuple(plan.moved),
        places=tuple(plan.places),
        moves=moves,
        seen=await shape(session, plan.scope) if moves else {},
    )


async def prove(session: Session, undo: Sequence[str], scope: Scope, before: Shape) -> None:
    """Takes it back in a savepoint and compares with how it was. Raises ``NoWayBack``."""
    await session.run("SAVEPOINT proving")
    for statement in undo:
        await attempted(session, statement)
    there = await shape(session, scope)
    await session.run("ROLLBACK TO SAVEPOINT proving")
    if there != before:
        raise NoWayBack("taking it back was tried and did not give what was there before")


async def attempted(session: Session, statement: str) -> None:
    """Raises ``NoWayBack`` where the server does not let it."""
    try:
        await session.run(statement)
    except psycopg.Error as error:
        if lost(error) or isinstance(
            error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled
        ):
            raise
        raise NoWayBack(
            f"the agents' role cannot do what the way back needs ({error.diag.message_primary})"
        ) from error


async def _alone(session: Session, found: Sequence[Seed], gone: Sequence[Gone]) -> None:
    """Nothing that stays may depend on what lies in quarantine."""
    left = {(g.catalog, g.oid, g.sub) for g in gone}
    for one in await reached(session, found):
        if one not in left:
            raise NoWayBack(f"{one[0]} {one[1]} came to depend on it in this moment; send it again")


def _names(plan: Plan, gone: Sequence[Gone], found: Sequence[Seed]) -> list[str]:
    wanted = {(s.catalog, s.oid) for s in found} | {("pg_class", m.oid) for m in plan.moved}
    return [g.identity for g in gone if (g.catalog, g.oid) in wanted and not g.sub]
