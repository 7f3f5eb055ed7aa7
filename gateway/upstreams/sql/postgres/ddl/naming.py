"""Which objects a schema statement names, at the server, in the agent's own search path."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.upstreams.sql.postgres.ddl.closure import Seed
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.written import Named

_RELATION = """
SELECT c.oid::int8, c.relkind::text, n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(
  CASE WHEN %s::text IS NULL THEN '' ELSE pg_catalog.quote_ident(%s) || '.' END
  || pg_catalog.quote_ident(%s))"""


async def seeds(session: Session, named: Sequence[Named]) -> list[Seed]:
    """Those of ``named`` that exist."""
    found: list[Seed] = []
    for one in named:
        if one.kind == "schema":
            rows = await session.rows(
                "SELECT n.oid::int8 FROM pg_catalog.pg_namespace n WHERE n.nspname = %s", one.name
            )
            found += [Seed(catalog="pg_namespace", oid=oid) for (oid,) in rows]
        else:
            rows = await session.rows(_RELATION, one.schema, one.schema, one.name)
            found += [Seed(catalog="pg_class", oid=oid) for oid, *_ in rows]
    return found
