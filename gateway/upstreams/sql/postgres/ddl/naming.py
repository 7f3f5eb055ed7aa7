"""Which objects a schema statement names, at the server, in the agent's own search path."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.upstreams.sql.postgres.ddl.closure import Seed
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.written import Named

_NAME = """CASE WHEN %(schema)s::text IS NULL THEN '' ELSE pg_catalog.quote_ident(%(schema)s) || '.'
  END || pg_catalog.quote_ident(%(name)s)"""
_RELATION = f"""
SELECT 'pg_class', c.oid::int8 FROM pg_catalog.pg_class c
WHERE c.oid = pg_catalog.to_regclass({_NAME})"""
_SCHEMA = """
SELECT 'pg_namespace', n.oid::int8 FROM pg_catalog.pg_namespace n WHERE n.nspname = %(name)s"""
_ROUTINE = f"""
SELECT 'pg_proc', p.oid::int8 FROM pg_catalog.pg_proc p
WHERE p.oid = CASE WHEN %(arguments)s::text IS NULL THEN pg_catalog.to_regproc({_NAME})::oid
  ELSE pg_catalog.to_regprocedure({_NAME} || '(' || %(arguments)s || ')')::oid END"""
_TYPE = f"""
SELECT 'pg_type', t.oid::int8 FROM pg_catalog.pg_type t
WHERE t.oid = pg_catalog.to_regtype({_NAME})"""
_TRIGGER = f"""
SELECT 'pg_trigger', g.oid::int8 FROM pg_catalog.pg_trigger g
WHERE g.tgrelid = pg_catalog.to_regclass({_NAME}) AND g.tgname = %(part)s AND NOT g.tgisinternal"""
_RULE = f"""
SELECT 'pg_rewrite', w.oid::int8 FROM pg_catalog.pg_rewrite w
WHERE w.ev_class = pg_catalog.to_regclass({_NAME}) AND w.rulename = %(part)s"""
_POLICY = f"""
SELECT 'pg_policy', y.oid::int8 FROM pg_catalog.pg_policy y
WHERE y.polrelid = pg_catalog.to_regclass({_NAME}) AND y.polname = %(part)s"""
_ROLE = """
SELECT 'pg_authid', r.oid::int8 FROM pg_catalog.pg_roles r
WHERE r.rolname = COALESCE(NULLIF(%(name)s, ''), current_user)"""
_QUERIES = {
    "schema": _SCHEMA,
    "trigger": _TRIGGER,
    "rule": _RULE,
    "policy": _POLICY,
    "default privileges": _ROLE,
    **dict.fromkeys(("function", "procedure", "routine", "aggregate"), _ROUTINE),
    **dict.fromkeys(("type", "domain"), _TYPE),
}

_SERIAL = f"""
SELECT 'pg_class', c.oid::int8 FROM pg_catalog.pg_class c
WHERE c.oid = pg_catalog.to_regclass(CASE WHEN pg_catalog.to_regclass({_NAME}) IS NOT NULL
  THEN pg_catalog.pg_get_serial_sequence({_NAME}, %(part)s) END)"""
_ALL_RELATIONS = """
SELECT 'pg_class', c.oid::int8 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND (c.relkind = 'S') = (%(kind)s = 'sequence')
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"""
_ALL_ROUTINES = """
SELECT 'pg_proc', p.oid::int8 FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %(schema)s"""


async def seeds(session: Session, named: Sequence[Named]) -> list[Seed]:
    """Those of ``named`` that exist; of those that are to be made, where they are made: a name
    that stands alone may mean something else already, such as a catalog of the server's."""
    found: list[Seed] = []
    for one in named:
        schema = one.schema
        if one.fresh and schema is None:
            (schema,) = await session.one("SELECT pg_catalog.current_schema()")
        values = {
            "schema": schema,
            "name": one.name,
            "part": one.part,
            "arguments": one.arguments,
            "kind": one.kind,
        }
        cursor = await session.connection.execute(_query(one), values)
        found += [Seed(catalog=catalog, oid=oid) for catalog, oid in await cursor.fetchall()]
    return found


def _query(one: Named) -> str:
    if one.kind == "sequence" and one.part:
        return _SERIAL
    if one.name == "*":
        return _ALL_RELATIONS if one.kind in ("table", "sequence") else _ALL_ROUTINES
    return _QUERIES.get(one.kind, _RELATION)
