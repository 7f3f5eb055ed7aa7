"""What an account may see of the catalog. The server hides triggers and foreign keys of others
without a word, so that an empty answer means something only where the right to it is held."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pymysql

from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.session import Session

_DENIED = frozenset({1227, 1142, 1044})
_GRANT = re.compile(r"GRANT (.+?) ON (`(?:[^`]|``)+`|\*)\.(`(?:[^`]|``)+`|\*) TO .*", re.DOTALL)


def hidden(session: Session, names: Iterable[Name]) -> list[Name]:
    """Those of ``names`` whose triggers ``session`` would not be shown, or without their bodies."""
    places = [(schema, table) for rights, schema, table in _granted(session) if _triggers(rights)]
    return [name for name in names if not any(_covers(place, name) for place in places)]


def keys_hidden(session: Session) -> bool:
    """Whether foreign keys of tables that ``session`` is not shown could be kept from it too."""
    try:
        # With LIMIT 0 the server would not look, and not ask for the right either.
        session.rows(f"SELECT 1 FROM {session.variety.keys} LIMIT 1")
    except pymysql.Error as error:
        if code_of(error) not in _DENIED:
            raise
    else:
        return False
    granted = _granted(session)
    return not any((schema, table) == ("*", "*") and _reads(r) for r, schema, table in granted)


def _granted(session: Session) -> list[tuple[str, str, str]]:
    """Rights, schema and table of each grant. Where MySQL takes single schemas out of a grant on
    everything, a grant says little, and none is counted."""
    lines = [line or "" for (line,) in session.texts("SHOW GRANTS")]
    if any(line.startswith("REVOKE ") for line in lines):
        return []
    found = [match.groups() for match in map(_GRANT.fullmatch, lines) if match is not None]
    return [(rights, schema, table) for rights, schema, table in found]


def _reads(rights: str) -> bool:
    return rights == "ALL PRIVILEGES" or "SELECT" in rights.split(", ")


def _triggers(rights: str) -> bool:
    return rights == "ALL PRIVILEGES" or "TRIGGER" in rights.split(", ")


def _covers(place: tuple[str, str], name: Name) -> bool:
    schema, table = place
    if table != "*":
        return (_plain(schema), _plain(table)) == name
    return schema == "*" or re.fullmatch(_pattern(_plain(schema)), name[0], re.DOTALL) is not None


def _plain(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`")


def _pattern(text: str) -> str:
    """Names of schemas in grants are patterns of LIKE."""
    parts = re.findall(r"\\[_%\\]|.", text, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
