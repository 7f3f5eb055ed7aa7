"""What the start-up check has to say about the roles of one source, beside the judge's part."""

from __future__ import annotations

import psycopg

from gateway.model import Finding
from gateway.upstreams.sql.postgres import imageplace, signing
from gateway.upstreams.sql.postgres.grants import Logins
from gateway.upstreams.sql.postgres.session import Session

OLDEST = 130000


async def switches_triggers_off(session: Session) -> bool:
    """As ``may_switch_triggers_off``, inside an open transaction, which stays as it is."""
    await session.run("SAVEPOINT switch")
    try:
        await session.run("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    finally:
        await session.run("ROLLBACK TO SAVEPOINT switch")
        await session.run("RELEASE SAVEPOINT switch")
    return True


async def may_switch_triggers_off(session: Session) -> bool:
    """Whether the role may set ``session_replication_role``, tried in a transaction of its own."""
    await session.run("BEGIN")
    try:
        await session.run("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    finally:
        await session.run("ROLLBACK")
    return True


async def capture_findings(session: Session, about: str) -> list[Finding]:
    """What the capture role lacks for exact images and reverts, in sentences."""
    findings: list[Finding] = []

    def say(level: str, message: str) -> None:
        findings.append(Finding(level=level, about=about, message=message))

    user, superuser, bypass, reads, temporary, encoding, counted = await session.one(
        "SELECT r.rolname, r.rolsuper, r.rolbypassrls, "
        "pg_catalog.pg_has_role(r.oid, 'pg_read_all_data', 'USAGE'), "
        "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'), "
        "pg_catalog.current_setting('server_encoding'), pg_catalog.current_setting('track_counts') "
        "FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
        if session.version >= 140000
        else "SELECT r.rolname, r.rolsuper, r.rolbypassrls, false, "
        "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'), "
        "pg_catalog.current_setting('server_encoding'), pg_catalog.current_setting('track_counts') "
        "FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
    )
    if session.version < OLDEST:
        say("error", "PostgreSQL before version 13 is not supported.")
    if encoding == "SQL_ASCII":
        say("error", "The database's encoding is SQL_ASCII; text cannot be captured exactly.")
    if counted != "on":
        say("error", "track_counts is off: what a call changes cannot be counted.")
    if not temporary:
        say("warning", f"The capture role {user!r} lacks TEMPORARY on the database: no reverts.")
    if not superuser and not bypass:
        say(
            "warning",
            f"The capture role {user!r} has no BYPASSRLS: writes to tables with row-level security "
            "are refused.",
        )
    if not superuser and not reads:
        say(
            "info",
            f"The capture role {user!r} is no member of pg_read_all_data: writes to tables that it "
            "may not read are refused.",
        )
    if not await may_switch_triggers_off(session):
        say(
            "warning",
            f"The capture role {user!r} may not set session_replication_role: writes to tables "
            "with triggers or acting foreign keys are refused, as their revert would fire them. "
            "GRANT SET ON PARAMETER session_replication_role to it (PostgreSQL 15 and later).",
        )
    return findings


_HIDDEN = """
SELECT pg_catalog.string_agg(h.name, ', ') FROM (
  SELECT c.oid::pg_catalog.regclass::text AS name FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|holdfast_)'
    AND n.nspname <> 'information_schema' AND pg_catalog.row_security_active(c.oid)
    AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')
  ORDER BY 1 LIMIT 5) h"""


async def hidden_findings(agents: Session, capture: Session, about: str) -> list[Finding]:
    """Tables whose rows agents may write and do not all see, where nobody shows them to us."""
    (hidden,) = await agents.one(_HIDDEN)
    if hidden is None or await signing.ready(agents, capture):
        return []
    message = (
        f"Row security hides rows from the agents' role ({hidden}) and nothing shows the gateway "
        "what a call left there: writes to these tables are refused. The piece own-rows is missing."
    )
    return [Finding(level="warning", about=about, message=message)]


async def images_findings(capture: Session, about: str, logins: Logins) -> list[Finding]:
    """What stands against keeping images in the database itself, where that is configured."""
    schema = logins.images_schema
    why = None if schema is None else await imageplace.unfit(capture, schema, logins.agents)
    if why is None:
        return []
    message = f"The schema {schema} cannot hold images: {why}. Writes with large images fail."
    return [Finding(level="warning", about=about, message=message)]
