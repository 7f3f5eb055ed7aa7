"""The roles, grants and objects that exact images and reverts need: how each is recognised, and
the statements that give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composable, Identifier, Literal

from gateway.upstreams.sql.postgres import imageplace
from gateway.upstreams.sql.postgres.preparing import HOME, SIGNATURE, preparations
from gateway.upstreams.sql.postgres.signing import READY
from gateway.upstreams.sql.postgres.signing import preparations as signed_rows

OWN_ROLE = "holdfast"  # the name that is proposed where no capture_url is configured
_PARAMETERS = 150000  # the first version that grants single settings
_PREDEFINED = 140000  # the first version with pg_read_all_data

_USERS_TABLES = """
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^holdfast_'"""
_SCHEMAS = f"SELECT DISTINCT n.nspname::text {_USERS_TABLES} UNION SELECT 'public' ORDER BY 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """Who the configured URLs log in as. ``capture`` is ``None`` where there is no role of the
    gateway's own. Passwords are used and never shown."""

    agents: str
    agents_password: str | None
    capture: str | None
    capture_password: str | None
    images_schema: str | None = None

    @classmethod
    def of(cls, url: str, capture_url: str | None, images_schema: str | None = None) -> Logins:
        agents = conninfo_to_dict(url)
        own = {} if capture_url is None else conninfo_to_dict(capture_url)
        return cls(
            agents=str(agents.get("user") or "postgres"),
            agents_password=_text(agents.get("password")),
            capture=None if capture_url is None else str(own.get("user") or "postgres"),
            capture_password=_text(own.get("password")),
            images_schema=images_schema,
        )

    def __repr__(self) -> str:
        return f"Logins({self.agents!r}, {self.capture!r})"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``there`` is a query for one boolean; no row means no."""

    id: str
    gives: str
    there: str
    statements: Sequence[Composable]
    without: str
    unasked: bool = True
    login: str | None = None  # the role that the statement makes


async def wanted_of(connection: psycopg.AsyncConnection, logins: Logins) -> list[Wanted]:
    version = connection.info.server_version
    rows = await (await connection.execute(_SCHEMAS.encode())).fetchall()
    there = [str(schema) for (schema,) in rows]
    names = _Names(logins, connection.info.dbname, there)
    found = [*_logins(names), *_capture(names, version), *_schema_changes(names)]
    if logins.images_schema is not None:
        found.append(_images(names, logins.images_schema))
    return [*found, *_choices(names)]


class _Names:
    """Identifiers that the statements are made of."""

    def __init__(self, logins: Logins, database: str, schemas: Sequence[str]) -> None:
        self.agents = logins.agents
        self.capture = logins.capture or OWN_ROLE
        self.database = database
        self.schemas = schemas

    def one(self, text: LiteralString, **more: Composable) -> Composable:
        return SQL(text).format(
            agents=Identifier(self.agents),
            capture=Identifier(self.capture),
            database=Identifier(self.database),
            **more,
        )

    def each(self, *texts: LiteralString) -> list[Composable]:
        """``texts`` for every schema of the users'."""
        return [
            self.one(text, schema=Identifier(schema)) for schema in self.schemas for text in texts
        ]


def _logins(names: _Names) -> list[Wanted]:
    return [
        Wanted(
            id="agents-role",
            gives="the role that agents' statements run as, without any privilege of its own",
            there="SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = %(agents)s",
            statements=[names.one("CREATE ROLE {agents} LOGIN")],
            without="Nothing runs: the url of this source logs in as this role.",
            login=names.agents,
        ),
        Wanted(
            id="capture-role",
            gives="the gateway's own role, which reads images and takes calls back",
            there="SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = %(capture)s",
            statements=[names.one("CREATE ROLE {capture} LOGIN")],
            without="Images are read with the agents' rights: triggers, row security and tables "
            "that agents may not read stand in their way. Name it in capture_url.",
            login=names.capture,
        ),
        Wanted(
            id="connect",
            gives="both roles may connect",
            there="SELECT pg_catalog.bool_and(pg_catalog.has_database_privilege(r.oid, "
            "pg_catalog.current_database(), 'CONNECT')) FROM pg_catalog.pg_roles r "
            "WHERE r.rolname IN (%(agents)s, %(capture)s)",
            statements=[names.one("GRANT CONNECT ON DATABASE {database} TO {agents}, {capture}")],
            without="Nothing runs.",
        ),
        Wanted(
            id="agents-tables",
            gives="agents may read and write rows; policy decides which. Grant less where you can",
            # Somebody has granted something already: then that is what was meant.
            there="SELECT EXISTS (SELECT " + _USERS_TABLES + " AND EXISTS (SELECT FROM "
            "pg_catalog.pg_roles r WHERE r.rolname = %(agents)s AND pg_catalog.has_table_privilege("
            "r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE'))) "
            "OR NOT EXISTS (SELECT " + _USERS_TABLES + ")",
            statements=names.each(
                "GRANT USAGE ON SCHEMA {schema} TO {agents}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {agents}",
                "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {agents}",
            ),
            without="Agents reach only what every role may reach.",
        ),
    ]


def _capture(names: _Names, version: int) -> list[Wanted]:
    found = [
        _member("capture-reads", "pg_read_all_data", "every table can be read", names)
        if version >= _PREDEFINED
        else _read_each(names),
        _member("capture-writes", "pg_write_all_data", "every table can be restored", names)
        if version >= _PREDEFINED
        else _write_each(names),
        Wanted(
            id="capture-rls",
            gives="row security hides no row from images and reverts",
            there="SELECT rolbypassrls OR rolsuper FROM pg_catalog.pg_roles "
            "WHERE rolname = %(capture)s",
            statements=[names.one("ALTER ROLE {capture} BYPASSRLS")],
            without="Writes to tables with row-level security are refused.",
        ),
        Wanted(
            id="own-rows",
            gives="rows that a call left are captured also where row security or missing rights "
            "hide them from the agents' role, which sees none of them for it",
            there=READY,
            statements=signed_rows(agents=names.agents, capture=names.capture),
            without="Writes to tables that the agents' role does not see whole are refused.",
        ),
        Wanted(
            id="capture-temporary",
            gives="reverts may load images into temporary tables",
            there="SELECT pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), "
            "'TEMPORARY') FROM pg_catalog.pg_roles r WHERE r.rolname = %(capture)s",
            statements=[names.one("GRANT TEMPORARY ON DATABASE {database} TO {capture}")],
            without="Every write is refused: it could not be taken back.",
        ),
        *_settings(names),
    ]
    if version >= _PARAMETERS:
        found.append(_triggers(names))
    return found


def _settings(names: _Names) -> list[Wanted]:
    return [
        Wanted(
            id="capture-place",
            gives="the check can tell whether images lie on the server's own disk",
            there="SELECT pg_catalog.pg_has_role(r.oid, 'pg_read_all_settings', 'USAGE') "
            "FROM pg_catalog.pg_roles r WHERE r.rolname = %(capture)s",
            statements=[names.one("GRANT pg_read_all_settings TO {capture}")],
            without="A server on this machine is not compared with the place of the images.",
        ),
        Wanted(
            id="server-log",
            gives="the server does not write judgements, with their literals, to its log",
            there="SELECT pg_catalog.current_setting('log_min_messages') IN ('fatal', 'panic') "
            "OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r "
            "ON r.oid = s.setrole WHERE r.rolname = %(agents)s "
            "AND 'log_min_messages=fatal' = ANY (s.setconfig))",
            statements=[names.one("ALTER ROLE {agents} SET log_min_messages = 'fatal'")],
            without="Each statement of an agent stands in the server's log, values included.",
        ),
    ]


def _triggers(names: _Names) -> Wanted:
    return Wanted(
        id="capture-triggers",
        gives="reverts run without triggers and foreign keys acting on them",
        there="SELECT r.rolsuper OR pg_catalog.has_parameter_privilege(r.oid, "
        "'session_replication_role', 'SET') FROM pg_catalog.pg_roles r "
        "WHERE r.rolname = %(capture)s",
        statements=[names.one("GRANT SET ON PARAMETER session_replication_role TO {capture}")],
        without="Writes to tables with triggers, or whose foreign keys act, are refused.",
    )


def _member(id: str, role: LiteralString, gives: str, names: _Names) -> Wanted:
    return Wanted(
        id=id,
        gives=gives,
        there="SELECT r.rolsuper OR pg_catalog.pg_has_role(r.oid, '" + role + "', 'USAGE') "
        "FROM pg_catalog.pg_roles r WHERE r.rolname = %(capture)s",
        statements=[names.one("GRANT " + role + " TO {capture}")],
        without="Writes to tables that the gateway's role has no such right on are refused.",
    )


_ON_EACH = (
    "SELECT NOT EXISTS (SELECT " + _USERS_TABLES + " AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_roles r WHERE r.rolname = %(capture)s AND pg_catalog.has_table_privilege("
    "r.oid, c.oid, '{right}')))"
)


def _read_each(names: _Names) -> Wanted:
    return Wanted(
        id="capture-reads",
        gives="every table can be read",
        there=_ON_EACH.replace("{right}", "SELECT"),
        statements=names.each(
            "GRANT USAGE ON SCHEMA {schema} TO {capture}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {capture}",
        ),
        without="Writes to tables that the gateway's role may not read are refused.",
    )


def _write_each(names: _Names) -> Wanted:
    return Wanted(
        id="capture-writes",
        gives="every table can be restored",
        there=_ON_EACH.replace("{right}", "UPDATE"),
        statements=names.each(
            "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {capture}"
        ),
        without="Writes to tables that the gateway's role may not write are refused.",
    )


def _schema_changes(names: _Names) -> list[Wanted]:
    made = preparations(agents=names.agents, capture=names.capture, database=names.database)
    return [
        Wanted(
            id="quarantine",
            gives="what a DROP removes is moved aside instead, and can be moved back",
            there="SELECT p.proowner = k.oid "
            "AND pg_catalog.has_function_privilege(a.oid, p.oid, 'EXECUTE') "
            "AND pg_catalog.has_schema_privilege(a.oid, n.oid, 'USAGE') "
            "AND pg_catalog.has_database_privilege(k.oid, pg_catalog.current_database(), 'CREATE') "
            "AND pg_catalog.pg_has_role(k.oid, a.oid, 'MEMBER') "
            "FROM pg_catalog.pg_roles a, pg_catalog.pg_roles k, pg_catalog.pg_proc p "
            "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
            "WHERE a.rolname = %(agents)s AND k.rolname = %(capture)s "
            "AND n.nspname = '" + HOME + "' "
            "AND p.oid = pg_catalog.to_regprocedure('" + SIGNATURE + "')",
            statements=[SQL(one.statement) for one in made],
            without="DROP and CREATE are refused: there is no way back from them.",
        ),
        Wanted(
            id="capture-schemas",
            gives="what was moved aside can be put back into its schema",
            there="SELECT NOT EXISTS (SELECT " + _USERS_TABLES + " AND NOT EXISTS (SELECT FROM "
            "pg_catalog.pg_roles r WHERE r.rolname = %(capture)s "
            "AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')))",
            statements=names.each("GRANT USAGE, CREATE ON SCHEMA {schema} TO {capture}"),
            without="DROP is refused: nothing could be put back.",
        ),
    ]


def _images(names: _Names, schema: str) -> Wanted:
    # Agents' names are parameters there; the schema's is the operator's own, letters only.
    return Wanted(
        id="images-schema",
        gives="images lie in this database, out of reach of the agents' role",
        there=imageplace.THERE.replace("%(schema)s", Literal(schema).as_string()),
        statements=imageplace.preparations(schema=schema, capture=names.capture),
        without="Writes whose images are too large for the store fail.",
    )


def _choices(names: _Names) -> list[Wanted]:
    return [
        Wanted(
            id="functions-public",
            gives="functions that run with their owner's rights are no longer open to every role. "
            "This takes them from other roles too",
            there="SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_proc p "
            "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
            "WHERE p.prosecdef AND p.oid >= 16384 "
            "AND n.nspname !~ '^holdfast_' "
            "AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype AND EXISTS (SELECT FROM "
            "pg_catalog.pg_roles r WHERE r.rolname = %(agents)s AND "
            "pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')))",
            statements=names.each("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC"),
            without="What such functions do needs no right of the agents' role.",
            unasked=False,
        ),
    ]
