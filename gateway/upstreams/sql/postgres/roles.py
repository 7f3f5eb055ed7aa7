"""What the agents' role may do beyond what statements are judged by: walls that are missing."""

from __future__ import annotations

from gateway.model import Finding
from gateway.upstreams.sql.postgres.lookup import Connection

_NOT_SUPER = "NOT (SELECT s.rolsuper FROM pg_catalog.pg_roles s WHERE s.rolname = current_user)"
# What membership in one of the server's own roles endangers.
_MEMBERSHIPS = {
    "pg_execute_server_program": "it can run programs on the server's machine, whose effects no "
    "rollback takes back",
    "pg_read_server_files": "it can read files of the server, other databases and keys included",
    "pg_write_server_files": "it can write files on the server, which no rollback takes back",
    "pg_signal_backend": "it can end sessions of others, and with them what they were doing",
    "pg_write_all_data": "it can write to every table, whatever was granted",
    "pg_create_subscription": "it can have the server connect elsewhere and take in changes",
    "pg_maintain": "it can lock any table for as long as it takes to rewrite it",
}
# Each gives a row with one text (what was found) when the wall is missing.
_CHECKS: tuple[tuple[str, str], ...] = (
    (
        "SELECT NULL WHERE (SELECT r.rolsuper FROM pg_catalog.pg_roles r "
        "WHERE r.rolname = current_user)",
        "is a superuser: nothing in the database stops what a judgement has missed, files and "
        "programs of the server included",
    ),
    (
        "SELECT NULL WHERE (SELECT r.rolbypassrls AND NOT r.rolsuper FROM pg_catalog.pg_roles r "
        "WHERE r.rolname = current_user)",
        "has BYPASSRLS: row security does not hide rows from agents",
    ),
    (
        "SELECT NULL WHERE (SELECT r.rolcreaterole AND NOT r.rolsuper FROM pg_catalog.pg_roles r "
        "WHERE r.rolname = current_user)",
        "has CREATEROLE: it can give itself rights that it does not have",
    ),
    (
        "SELECT NULL WHERE (SELECT r.rolreplication AND NOT r.rolsuper FROM pg_catalog.pg_roles r "
        "WHERE r.rolname = current_user)",
        "has REPLICATION: it can read all data and hold back the server's log",
    ),
    (
        "SELECT pg_catalog.string_agg(c.oid::pg_catalog.regclass::text, ', ') FROM "
        "(SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') "
        "AND pg_catalog.pg_get_userbyid(c.relowner) = current_user LIMIT 5) c HAVING count(*) > 0",
        "owns tables ({found}): grants do not bind an owner, who may drop, alter and trigger",
    ),
    (
        "SELECT pg_catalog.string_agg(DISTINCT p.proname, ', ') FROM pg_catalog.pg_proc p "
        "WHERE p.proname ~ '^dblink' AND p.oid >= 16384 "
        "AND pg_catalog.has_function_privilege(current_user, p.oid, 'EXECUTE') "
        "HAVING count(*) > 0",
        "may call dblink ({found}): it writes through a connection of its own, which no "
        "transaction of ours holds back",
    ),
    (
        "SELECT pg_catalog.string_agg(n.nspname, ', ') FROM pg_catalog.pg_namespace n "
        "WHERE n.nspname !~ '^pg_' "
        "AND pg_catalog.has_schema_privilege(current_user, n.oid, 'CREATE') HAVING count(*) > 0",
        "may create objects in {found}: what it makes there can stand in the way of other names",
    ),
    (
        "SELECT pg_catalog.current_database()::text WHERE pg_catalog.has_database_privilege("
        f"current_user, pg_catalog.current_database(), 'CREATE') AND {_NOT_SUPER}",
        "has CREATE on database {found}: it can make schemas, publications and trusted extensions, "
        "which work beyond rows",
    ),
    (
        "SELECT pg_catalog.string_agg(f.srvname, ', ') FROM pg_catalog.pg_foreign_server f "
        "WHERE pg_catalog.has_server_privilege(current_user, f.oid, 'USAGE') "
        f"AND {_NOT_SUPER} HAVING count(*) > 0",
        "has USAGE on foreign servers ({found}): what is written there is not in our transaction's "
        "undo",
    ),
    (
        "SELECT pg_catalog.string_agg(c.name, ', ') FROM (SELECT c.oid::pg_catalog.regclass::text "
        "AS name FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_class c ON c.oid = f.ftrelid"
        " WHERE pg_catalog.has_table_privilege(current_user, c.oid, 'INSERT, UPDATE, DELETE') "
        f"AND {_NOT_SUPER} LIMIT 5) c HAVING count(*) > 0",
        "may write to foreign tables ({found}): their rows live elsewhere; no undo reaches them",
    ),
    (
        "SELECT pg_catalog.string_agg(q.name, ', ') FROM (SELECT q.seqrelid::pg_catalog.regclass"
        "::text AS name FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_class c "
        "ON c.oid = q.seqrelid WHERE c.relpersistence <> 't' "
        "AND pg_catalog.has_table_privilege(current_user, q.seqrelid, 'UPDATE') "
        f"AND {_NOT_SUPER} LIMIT 5) q HAVING count(*) > 0",
        "has UPDATE on sequences ({found}): setval can set them back, and no rollback undoes it; "
        "USAGE is enough to draw from them",
    ),
    (
        "SELECT NULL WHERE pg_catalog.current_setting('lo_compat_privileges') = 'on' "
        f"AND {_NOT_SUPER}",
        "meets lo_compat_privileges: it can read, write and drop everybody's large objects",
    ),
    (
        "SELECT pg_catalog.count(*)::text FROM pg_catalog.pg_largeobject_metadata m "
        "WHERE (pg_catalog.pg_has_role(current_user, m.lomowner, 'USAGE') OR EXISTS (SELECT "
        "FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'UPDATE' "
        "AND (a.grantee = 0 OR pg_catalog.pg_has_role(current_user, a.grantee, 'USAGE')))) "
        f"AND {_NOT_SUPER} HAVING count(*) > 0",
        "may write to {found} large objects: no image is taken of them",
    ),
    (
        "SELECT pg_catalog.string_agg(f.name, ', ') FROM (SELECT p.oid::pg_catalog.regprocedure"
        "::text AS name FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n "
        "ON n.oid = p.pronamespace WHERE p.prosecdef AND p.oid >= 16384 "
        "AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype "
        "AND pg_catalog.has_function_privilege(current_user, p.oid, 'EXECUTE') "
        "AND pg_catalog.has_schema_privilege(current_user, n.oid, 'USAGE') LIMIT 5) f "
        "HAVING count(*) > 0",
        "may call functions that run with their owner's rights ({found}): no right of its own is "
        "needed for what they do",
    ),
)
_PARAMETER = (
    "SELECT NULL WHERE pg_catalog.has_parameter_privilege('session_replication_role', 'SET') "
    "AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)",
    "may set session_replication_role: triggers and foreign keys can be switched off",
)
_LOGGED = (
    "SELECT NULL WHERE pg_catalog.current_setting('log_min_messages') NOT IN ('fatal', 'panic') "
    "AND NOT {quiet}",
    "cannot keep the server from logging each judgement, with the literals of the statement: set "
    "log_min_messages to fatal for this role, or grant SET ON PARAMETER log_min_messages",
)


async def role_findings(connection: Connection) -> list[Finding]:
    """Warnings about the role of ``connection``, one sentence for each wall that is missing."""
    parameters = connection.info.server_version >= 150000
    quiet = "pg_catalog.has_parameter_privilege('log_min_messages', 'SET')"
    logged = (_LOGGED[0].format(quiet=quiet if parameters else "false"), _LOGGED[1])
    checks = (*_CHECKS, *_memberships(), *((_PARAMETER,) if parameters else ()), logged)
    role = connection.info.user
    findings: list[Finding] = []
    for query, sentence in checks:
        row = await (await connection.execute(query)).fetchone()
        if row is not None:
            text = f"The role {role!r} {sentence.format(found=row[0])}."
            findings.append(Finding(level="warning", about=role, message=text))
    return findings


def _memberships() -> list[tuple[str, str]]:
    return [
        (
            "SELECT r.rolname::text FROM pg_catalog.pg_roles r "
            f"WHERE r.rolname = '{name}' AND {_NOT_SUPER} "
            "AND pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')",
            f"is a member of {name}: {danger}",
        )
        for name, danger in _MEMBERSHIPS.items()
    ]
