"""What the agents' role may do beyond what statements are judged by: walls that are missing."""

from __future__ import annotations

from gateway.model import Finding
from gateway.upstreams.sql.postgres.lookup import Connection

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
        "SELECT pg_catalog.string_agg(r.rolname, ', ') FROM pg_catalog.pg_roles r "
        "WHERE r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', "
        "'pg_write_server_files', 'pg_signal_backend', 'pg_write_all_data', "
        "'pg_create_subscription', 'pg_maintain') "
        "AND pg_catalog.pg_has_role(current_user, r.oid, 'USAGE') "
        "AND NOT (SELECT s.rolsuper FROM pg_catalog.pg_roles s WHERE s.rolname = current_user) "
        "HAVING count(*) > 0",
        "is a member of {found}: programs, files, sessions or all data of the server are within "
        "its reach",
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
    checks = (*_CHECKS, *((_PARAMETER,) if parameters else ()), logged)
    role = connection.info.user
    findings: list[Finding] = []
    for query, sentence in checks:
        row = await (await connection.execute(query)).fetchone()
        if row is not None:
            text = f"The role {role!r} {sentence.format(found=row[0])}."
            findings.append(Finding(level="warning", about=role, message=text))
    return findings
