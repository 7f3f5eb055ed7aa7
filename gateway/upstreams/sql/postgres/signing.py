"""Rows of the agents' own transaction, read with the gateway's rights.

Nobody outside of an open transaction sees the rows that it made, and inside of it the agents' role
sees only what row security and grants leave it. So ``holdfast_rows.signed`` runs there with the
rights of the gateway's role. It takes a query only with a signature that holds for this query, this
transaction and this session, made with a key that agents cannot read: with EXECUTE alone nothing
can be read through it, and what was signed once is worthless to the next statement of an agent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from gateway.upstreams.sql.postgres.catalog import Column
from gateway.upstreams.sql.postgres.session import Session

HOME = "holdfast_rows"
FUNCTION = f"{HOME}.signed"
SIGNATURE = f"{FUNCTION}(text, bytea)"
_KEYS = f"{HOME}.keys"

# STABLE: it cannot write. The hash of both sides is compared, so that the time it takes tells
# nothing of either. IS NOT TRUE: a transaction without an id, or a NULL, must not pass.
_BODY = f"""
DECLARE
  holdfast_key bytea;
  holdfast_said bytea := pg_catalog.convert_to(
    pg_catalog.pg_backend_pid() || ':' || pg_catalog.pg_current_xact_id_if_assigned()::text
    || ':' || $1, 'UTF8');
BEGIN
  SELECT k.key INTO STRICT holdfast_key FROM {_KEYS} k;
  IF (pg_catalog.sha256($2) = pg_catalog.sha256(pg_catalog.sha256(
       holdfast_key || pg_catalog.sha256(holdfast_key || holdfast_said)))) IS NOT TRUE THEN
    RAISE EXCEPTION 'this query is not signed' USING ERRCODE = '42501';
  END IF;
  RETURN QUERY EXECUTE $1;
END """


def preparations(*, agents: str, capture: str) -> list[Composable]:
    """The statements in order; each may be run again."""
    names = {
        "home": Identifier(HOME),
        "keys": Identifier(HOME, "keys"),
        "function": SQL(FUNCTION + "(text, bytea)"),
        "agents": Identifier(agents),
        "capture": Identifier(capture),
        "owner": Literal(capture),
        "name": Literal(HOME),
    }
    texts = (
        "CREATE SCHEMA IF NOT EXISTS {home} AUTHORIZATION {capture}",
        # What somebody else has put there could tell what it is given.
        "DO $holdfast$ BEGIN IF (SELECT n.nspowner::pg_catalog.regrole <> "
        "pg_catalog.quote_ident({owner})::pg_catalog.regrole FROM pg_catalog.pg_namespace n "
        "WHERE n.nspname = {name}) THEN RAISE EXCEPTION 'the schema % belongs to another role', "
        "{name}; END IF; END $holdfast$",
        "CREATE TABLE IF NOT EXISTS {keys} (one bool PRIMARY KEY DEFAULT true CHECK (one), "
        "key bytea NOT NULL)",
        "ALTER TABLE {keys} OWNER TO {capture}",
        # Not even a role that may read all tables reads this one.
        "ALTER TABLE {keys} ENABLE ROW LEVEL SECURITY",
        "INSERT INTO {keys} (key) SELECT pg_catalog.decode(pg_catalog.replace("
        "pg_catalog.gen_random_uuid()::text || pg_catalog.gen_random_uuid()::text, '-', ''), 'hex')"
        " WHERE NOT EXISTS (SELECT FROM {keys})",
        "CREATE OR REPLACE FUNCTION {function} RETURNS SETOF record LANGUAGE plpgsql STABLE "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off "
        "AS $holdfast$" + _BODY + "$holdfast$",
        "ALTER FUNCTION {function} OWNER TO {capture}",
        "REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
        "GRANT USAGE ON SCHEMA {home} TO {agents}",
        "GRANT EXECUTE ON FUNCTION {function} TO {agents}",
    )
    return [SQL(text).format(**names) for text in texts]


# Everything there has to be the capture role's own, as it was made above. %(...)s: role names.
_READY = """
SELECT f.oid IS NOT NULL AND p.prosecdef AND p.prosrc = {body} AND p.proowner = k.oid
   AND n.nspowner = k.oid AND t.relowner = k.oid AND t.relrowsecurity
   AND pg_catalog.has_function_privilege(a.oid, f.oid, 'EXECUTE')
   AND pg_catalog.has_schema_privilege(a.oid, n.oid, 'USAGE')
  FROM pg_catalog.pg_roles a, pg_catalog.pg_roles k,
       pg_catalog.to_regprocedure({signature}) AS f(oid)
  JOIN pg_catalog.pg_proc p ON p.oid = f.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid AND t.relname = 'keys'
 WHERE a.rolname = %(agents)s AND k.rolname = %(capture)s"""
READY = _READY.format(body=Literal(_BODY).as_string(), signature=Literal(SIGNATURE).as_string())
_NOT_READY = "run `holdfast source prepare` with a capture_url of the gateway's own"


class NotPrepared(Exception):
    """A sentence that says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs queries of one open transaction."""

    pid: int
    xid: str
    key: bytes

    def __repr__(self) -> str:
        return f"Signer({self.pid}, {self.xid!r})"

    def rows(self, query: str, columns: Sequence[tuple[str, str]]) -> str:
        """A FROM item with the rows of ``query``; ``columns``: their names, quoted, and types."""
        said = hashlib.sha256(self.key + f"{self.pid}:{self.xid}:{query}".encode()).digest()
        signature = hashlib.sha256(self.key + said).hexdigest()
        named = ", ".join(f"{name} {type_}" for name, type_ in columns)
        text = Literal(query).as_string()
        return f"{FUNCTION}({text}, '\\x{signature}'::pg_catalog.bytea) AS x({named})"


async def ready(own: Session, peer: Session) -> bool:
    """Whether ``peer``'s role can sign what ``own``'s runs."""
    (agents,) = await own.one("SELECT session_user::text")
    (capture,) = await peer.one("SELECT session_user::text")
    if agents == capture:
        return False
    found = await peer.connection.execute(READY.encode(), {"agents": agents, "capture": capture})
    row = await found.fetchone()
    return row is not None and bool(row[0])


async def signer(own: Session, peer: Session, xid: str) -> Signer:
    """Raises ``NotPrepared``."""
    if not await ready(own, peer):
        raise NotPrepared(_NOT_READY)
    keys = await peer.rows(f"SELECT k.key FROM {_KEYS} k")
    if len(keys) != 1:
        raise NotPrepared(_NOT_READY)
    return Signer(pid=own.pid, xid=xid, key=bytes(keys[0][0]))


def places(columns: Sequence[Column]) -> tuple[str, list[tuple[str, str]]]:
    """What a query has to select so that rows of a table ``x`` look as they do there, system
    columns included; and how these are called."""
    system = [("ctid", "tid"), ("xmin", "xid"), ("xmax", "xid")]
    names = [name for name, _ in system] + [c.quoted for c in columns]
    typed = [(name, f"pg_catalog.{type_}") for name, type_ in system]
    typed += [(c.quoted, c.type) for c in columns]
    return ", ".join(f"x.{name}" for name in names), typed
