"""Whether the capture role could take a schema change back: asked before the change commits, as
that role, of what stood before."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.upstreams.sql.postgres.ddl.records import Part
from gateway.upstreams.sql.postgres.ddl.shape import Scope
from gateway.upstreams.sql.postgres.session import Session

_OWNERS = """
SELECT current_user::text, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)), o.what
FROM (SELECT c.relowner, c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c
       WHERE c.oid = ANY (%(relations)s::int8[]::oid[])
      UNION ALL SELECT p.proowner, p.oid::pg_catalog.regproc::text FROM pg_catalog.pg_proc p
       WHERE p.oid = ANY (%(functions)s::int8[]::oid[])
      UNION ALL SELECT t.typowner, t.oid::pg_catalog.regtype::text FROM pg_catalog.pg_type t
       WHERE t.oid = ANY (%(types)s::int8[]::oid[])
      UNION ALL SELECT n.nspowner, n.nspname::text FROM pg_catalog.pg_namespace n
       WHERE n.oid = ANY (%(schemas)s::int8[]::oid[])
      UNION ALL SELECT r.oid, 'the default privileges of ' || r.rolname FROM pg_catalog.pg_roles r
       WHERE r.oid = ANY (%(defaults)s::int8[]::oid[])) AS o(owner, what)
WHERE NOT pg_catalog.pg_has_role(o.owner, 'USAGE') LIMIT 1"""

_SCHEMAS = """
SELECT current_user::text, pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_namespace n
WHERE n.nspname = ANY (%s::text[]) AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
LIMIT 1"""

_DATABASE = """
SELECT current_user::text, pg_catalog.quote_ident(pg_catalog.current_database()::text)
WHERE NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"""


async def lacking(peer: Session, parts: Sequence[Part]) -> str | None:
    """A sentence that names the missing grant."""
    scope = Scope()
    for part in parts:
        scope |= part.scope
    cursor = await peer.connection.execute(_OWNERS, scope.as_json())
    for role, owner, what in await cursor.fetchall():
        return f"the capture role {role!r} could not put {what} back; GRANT {owner} TO {role}."
    schemas = sorted({m.schema for part in parts for m in part.moved if m.schema})
    for role, schema in await peer.rows(_SCHEMAS, schemas):
        return (
            f"the capture role {role!r} could not put anything back into {schema}; "
            f"GRANT CREATE ON SCHEMA {schema} TO {role}."
        )
    if any(m.kind == "schema" for part in parts for m in part.moved):
        for role, database in await peer.rows(_DATABASE):
            return (
                f"the capture role {role!r} could not rename a schema back; "
                f"GRANT CREATE ON DATABASE {database} TO {role}."
            )
    return None
