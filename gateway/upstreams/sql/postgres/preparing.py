"""What a database needs beside tables before schema changes in it can be undone.

Objects that a DROP would remove are moved into schemas of the gateway, one for each schema that
they come from. The agents' role owns those objects, so it moves them itself; all that it needs is
a place. ``holdfast_quarantine.make_room`` makes one, with the rights of the gateway's own role.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Identifier

from gateway.upstreams.sql.postgres.session import Session

HOME = "holdfast_quarantine"
PLACES = "holdfast_q"  # what the names of the places begin with
FUNCTION = f"{HOME}.make_room"
SIGNATURE = f"{FUNCTION}(text, text, boolean)"
REGISTER = f"{HOME}.places"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """One statement for an administrator or for the gateway's own role, and what does not work
    where it was not run."""

    statement: str
    without: str


def preparations(*, agents: str, capture: str, database: str) -> list[Preparation]:
    """The statements in order. ``agents`` and ``capture`` are role names; each statement may be
    run again."""
    names = {
        "home": Identifier(HOME),
        "agents": Identifier(agents),
        "capture": Identifier(capture),
        "database": Identifier(database),
        "function": Identifier(HOME, "make_room"),
        "places": Identifier(HOME, "places"),
    }
    no_drop = "DROP and CREATE are refused: there is no way back from them."
    no_revert = "Schema changes are refused: the capture role could not take them back."

    def one(text: str, without: str) -> Preparation:
        return Preparation(statement=SQL(text).format(**names).as_string(), without=without)

    found = [
        one("CREATE SCHEMA IF NOT EXISTS {home} AUTHORIZATION {capture}", no_drop),
        one(_PLACES, no_drop),
        one("ALTER TABLE {places} OWNER TO {capture}", no_drop),
        one(_MAKE_ROOM, no_drop),
        one("ALTER FUNCTION {function}(text, text, boolean) OWNER TO {capture}", no_drop),
        one(
            "REVOKE ALL ON FUNCTION {function}(text, text, boolean) FROM PUBLIC",
            "Every role may make places.",
        ),
        one("GRANT USAGE ON SCHEMA {home} TO {agents}", no_drop),
        one("GRANT EXECUTE ON FUNCTION {function}(text, text, boolean) TO {agents}", no_drop),
        one("GRANT CREATE ON DATABASE {database} TO {capture}", no_drop),
    ]
    if agents != capture:
        found.append(one("GRANT {agents} TO {capture}", no_revert))
    return found


_PLACES = """\
CREATE TABLE IF NOT EXISTS {places} (
  place text PRIMARY KEY, call text NOT NULL, at timestamptz NOT NULL DEFAULT now())"""

# ``make``: false where the place is a schema that is renamed.
_MAKE_ROOM = f"""\
CREATE OR REPLACE FUNCTION {{function}}(place text, call text, make boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $holdfast$
BEGIN
  IF place !~ '^{PLACES}[0-9a-f]{{{{12}}}}_[0-9]+$' THEN
    RAISE EXCEPTION 'not the name of a place' USING ERRCODE = '22023';
  END IF;
  INSERT INTO {{places}} (place, call) VALUES (place, call);
  IF make THEN
    EXECUTE pg_catalog.format('CREATE SCHEMA %I', place);
    EXECUTE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', place, session_user);
  END IF;
END $holdfast$"""

_NO_HOME = f"""
SELECT CASE
  WHEN pg_catalog.to_regnamespace('{HOME}') IS NULL THEN 'the schema {HOME} is not there'
  WHEN NOT pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('{HOME}'), 'USAGE')
    THEN 'the role ' || current_user || ' lacks USAGE on the schema {HOME}'
END"""
_NO_HELP = f"""
SELECT CASE
  WHEN p.oid IS NULL THEN 'the function {FUNCTION} is not there'
  WHEN NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
    THEN 'the role ' || current_user || ' lacks EXECUTE on {FUNCTION}'
  WHEN NOT pg_catalog.has_database_privilege(
         p.proowner, pg_catalog.current_database(), 'CREATE')
    THEN 'the owner of {FUNCTION} lacks CREATE on the database'
END
FROM pg_catalog.to_regprocedure('{SIGNATURE}') AS f(oid)
LEFT JOIN pg_catalog.pg_proc p ON p.oid = f.oid"""


async def missing(session: Session) -> str | None:
    """Which step of the preparation is missing, asked as the agents' role; ``None`` when there is
    a quarantine."""
    for query in (_NO_HOME, _NO_HELP):  # the second looks into the schema that the first finds
        (found,) = await session.one(query)
        if found is not None:
            return f"{found}; run `holdfast source prepare`"
    return None
