"""What can be said of the way back of a schema change before it runs. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.upstreams.sql.postgres import preparing
from gateway.upstreams.sql.postgres.ddl.dropping import planned
from gateway.upstreams.sql.postgres.ddl.naming import seeds
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.ddl.shape import plain_names
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.written import Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """``irreversible``: why there is no way back at all; ``inexact``: why it would not restore
    everything as it was. Neither: the way back is exact."""

    irreversible: str | None = None
    inexact: str | None = None


_COLUMNS = """
SELECT a.attname FROM pg_catalog.pg_attribute a
WHERE a.attrelid = %s::int8::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""


# What goes with one of these, where nothing else may depend on it, goes along with it; unless it
# inherits from something that stays.
_WHOLE = frozenset({"table", "view", "materialized view"})
_HEIRS = """
SELECT 1 FROM pg_catalog.pg_inherits i
WHERE i.inhrelid = ANY (%s::int8[]::oid[]) AND NOT i.inhparent = ANY (%s::int8[]::oid[]) LIMIT 1"""


async def foresee(session: Session, changes: Sequence[Written | None]) -> Foreseen:
    """``changes``: of each statement of a text, ``None`` for one that changes rows or only reads.
    Asked as the agents' role, in a transaction that is rolled back."""
    schema = [c for c in changes if c is not None]
    if not schema:
        return Foreseen()
    if any(c.verb == "truncate" for c in schema) and any(c.verb != "truncate" for c in schema):
        return Foreseen(irreversible="it clears tables and changes the schema in one text")
    if all(c.verb == "truncate" for c in schema):
        return Foreseen()
    missing = await preparing.missing(session)
    if missing is not None:
        return Foreseen(irreversible=missing)
    for change in schema:
        if change.verb == "drop":
            named = [n for n in change.named if n.verb == "drop"]
            found = await seeds(session, named)
            if not change.cascades and {n.kind for n in named} <= _WHOLE:
                oids = [seed.oid for seed in found]
                if not await session.rows(_HEIRS, oids, oids):
                    continue
            try:
                async with plain_names(session):
                    await planned(session, found, cascades=change.cascades)
            except NoWayBack as error:
                return Foreseen(irreversible=str(error))
    for change in schema:
        if "DropColumn" in change.alters and await _inner(session, change):
            return Foreseen(inexact="a dropped column comes back as the last one of its table")
    return Foreseen()


async def _inner(session: Session, change: Written) -> bool:
    """Whether a column among those named stands before one that stays."""
    altered = [n for n in change.named if n.verb == "alter"]
    for named in altered:
        for seed in await seeds(session, [named]):
            rows = await session.rows(_COLUMNS, seed.oid)
            going = [name in named.columns for (name,) in rows]
            if going != sorted(going):
                return True
    return False
