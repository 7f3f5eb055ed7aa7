"""The accounts, grants and objects that exact images and reverts need: whether each is there, and
the statements that give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pymysql

from gateway.errors import UpstreamError
from gateway.interfaces import Piece
from gateway.upstreams.sql.mysql import receipts
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA
from gateway.upstreams.sql.mysql.failures import FAILURES, upstream_error
from gateway.upstreams.sql.mysql.literals import quoted, text_literal
from gateway.upstreams.sql.mysql.session import Address, Door, Session, Timeouts, address

_OWN_ACCOUNT = "holdfast"  # the name that is proposed where no capture_url is configured
_ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_DEFINITIONS = ("CREATE", "DROP", "ALTER", "INDEX", "REFERENCES", "TRIGGER", "CREATE VIEW",
                "LOCK TABLES")  # fmt: skip
_TIMEOUTS = Timeouts(statement=20, lock=2, idle=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    user: str
    password: str
    hosts: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [f"{_text(self.user)}@{_text(host)}" for host in self.hosts or ("%",)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """``secret``: the password that stands for the mark in the statements when they are run."""

    id: str
    gives: str
    there: Callable[[Session], bool]
    statements: Sequence[str]
    without: str
    secret: str | None = None
    proposed: bool = False  # an account that the configuration does not name yet


_MARK = "'the password in the URL'"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def prepared(
    url: str, capture_url: str | None, *, admin_url: str | None, apply: bool, source: str
) -> list[Piece]:
    """Blocks. Raises ``UpstreamError``."""
    session = Door(source, admin_url or capture_url or url, _TIMEOUTS).connect()
    try:
        agents = address(url)
        own = None if capture_url is None else address(capture_url)
        return [
            _applied(session, wanted) if apply else _piece(session, wanted)
            for wanted in _all(session, agents, own)
        ]
    except FAILURES as error:
        raise upstream_error(error, source) from error
    finally:
        session.close()


def _piece(session: Session, wanted: _Wanted) -> Piece:
    return Piece(
        id=wanted.id,
        gives=wanted.gives,
        statements=tuple(wanted.statements),
        without=wanted.without,
        state="there" if wanted.there(session) else "missing",
    )


def _applied(session: Session, wanted: _Wanted) -> Piece:
    piece = _piece(session, wanted)
    if piece.state == "there":
        return piece
    if wanted.proposed:
        return replace(piece, detail="Configure capture_url with this account first.")
    try:
        for statement in wanted.statements:
            secret = "" if wanted.secret is None else _text(wanted.secret)
            session.run(statement.replace(_MARK, secret) if wanted.secret else statement)
    except pymysql.Error as error:
        told = error.args[1] if len(error.args) > 1 else error
        shown = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        return replace(piece, state="failed", detail=shown)
    return replace(piece, state="applied")


def _all(session: Session, agents_at: Address, own_at: Address | None) -> list[_Wanted]:
    agents = _account(session, agents_at.user, agents_at.password)
    capture = (
        _account(session, _OWN_ACCOUNT, "")
        if own_at is None
        else _account(session, own_at.user, own_at.password)
    )
    database = agents_at.database
    proposed = own_at is None
    return [
        _login("agents-account", "agents' statements run as it", agents, "Nothing runs."),
        replace(
            _login(
                "capture-account",
                "the gateway's own account, which reads images and takes calls back",
                capture,
                "Images are read and reverts run with the agents' rights. Name it in capture_url.",
            ),
            proposed=proposed,
        ),
        *_rows(agents, capture, database, proposed),
        *_own_schema(agents, capture, proposed, session.variety.replays),
    ]


def _account(session: Session, user: str, password: str) -> _Account:
    try:
        found = session.texts(
            f"SELECT host FROM mysql.user WHERE user = {text_literal(user.encode())} ORDER BY host"
        )
    except pymysql.Error as error:
        raise UpstreamError(
            "This account may not look at the server's accounts: name the variable with an "
            "administrator's URL by --as."
        ) from error
    return _Account(user=user, password=password, hosts=tuple(str(host) for (host,) in found))


def _login(id: str, gives: str, account: _Account, without: str) -> _Wanted:
    return _Wanted(
        id=id,
        gives=gives,
        there=lambda _: bool(account.hosts),
        statements=[f"CREATE USER IF NOT EXISTS {account.names[0]} IDENTIFIED BY {_MARK}"],
        without=without,
        secret=account.password,
    )


def _rows(agents: _Account, capture: _Account, database: str, proposed: bool) -> list[_Wanted]:
    return [
        _Wanted(
            id="agents-tables",
            gives="agents may read and write rows; policy decides which. Grant less where you can",
            # Somebody has granted something already: then that is what was meant.
            there=lambda s: any(_held(s, name, database) for name in agents.names),
            statements=_grants(_ROWS, f"{quoted(database)}.*", agents),
            without="Agents reach nothing.",
        ),
        _grant(
            "capture-tables",
            "every table can be read and restored, and its triggers are shown",
            (*_ROWS, "TRIGGER"),
            capture,
            database,
            without="Every write is refused: it could not be taken back.",
            proposed=proposed,
        ),
        _grant(
            "capture-definitions",
            "tables that were dropped, emptied or made can be moved back",
            _DEFINITIONS,
            capture,
            database,
            without="Changes of the schema cannot be taken back.",
            proposed=proposed,
        ),
    ]


def _silence(capture: _Account, proposed: bool, right: str) -> _Wanted:
    return _Wanted(
        id="capture-silence",
        gives="rows are put back without firing triggers",
        there=lambda s: all(right in _held(s, name, "") for name in capture.names),
        statements=_grants((right,), "*.*", capture),
        without="A call whose way back would fire triggers is refused.",
        proposed=proposed,
    )


def _own_schema(agents: _Account, capture: _Account, proposed: bool, replays: str) -> list[_Wanted]:
    return [
        replace(
            _grant(
                "capture-schema",
                f"the gateway keeps receipts, and tables that were set aside, in {OWN_SCHEMA}",
                (*_ROWS, *_DEFINITIONS),
                capture,
                OWN_SCHEMA,
                without="Every write is refused: what became of it could not be told after a "
                "crash.",
                proposed=proposed,
            ),
            statements=[
                f"CREATE DATABASE IF NOT EXISTS {quoted(OWN_SCHEMA)}",
                receipts.CREATE,
                *_grants(("ALL PRIVILEGES",), f"{quoted(OWN_SCHEMA)}.*", capture),
            ],
        ),
        _Wanted(
            id="agents-receipts",
            gives="a call writes its receipt in its own transaction",
            there=lambda s: all(
                "INSERT" in _held(s, name, OWN_SCHEMA, "receipts") for name in agents.names
            ),
            statements=_grants(("INSERT",), receipts.TABLE, agents),
            without="Every write is refused: what became of it could not be told after a crash.",
        ),
        _silence(capture, proposed, replays),
        _Wanted(
            id="capture-counts",
            gives="foreign keys of tables that the account may not see are found, and the server's "
            "own count of changed rows is a second proof",
            there=lambda s: all("PROCESS" in _held(s, name, "") for name in capture.names),
            statements=_grants(("PROCESS",), "*.*", capture),
            without="Every UPDATE and DELETE is refused: foreign keys could change rows of tables "
            "that the account may not see.",
            proposed=proposed,
        ),
    ]


def _grant(
    id: str,
    gives: str,
    rights: Sequence[str],
    account: _Account,
    schema: str,
    *,
    without: str,
    proposed: bool,
) -> _Wanted:
    return _Wanted(
        id=id,
        gives=gives,
        there=lambda s: all(set(rights) <= _held(s, name, schema) for name in account.names),
        statements=_grants(rights, f"{quoted(schema)}.*", account),
        without=without,
        proposed=proposed,
    )


def _grants(rights: Sequence[str], on: str, account: _Account) -> list[str]:
    return [f"GRANT {', '.join(rights)} ON {on} TO {name}" for name in account.names]


def _held(session: Session, name: str, schema: str, table: str | None = None) -> set[str]:
    """The rights of an account on a whole schema, or on one table; without a table also those on
    some table of it count as something, as ``SOME``."""
    grantee, within = text_literal(name.encode()), text_literal(schema.encode())
    # The names of schemas are patterns in grants.
    there = f"REPLACE(table_schema, '\\\\', '') = {within}"
    found = session.texts(
        f"SELECT privilege_type FROM information_schema.user_privileges WHERE grantee = {grantee} "
        f"UNION SELECT privilege_type FROM information_schema.schema_privileges "
        f"WHERE grantee = {grantee} AND {there}"
    )
    held = {str(right) for (right,) in found} - {"USAGE"}
    some = session.texts(
        "SELECT privilege_type, table_name FROM information_schema.table_privileges "
        f"WHERE grantee = {grantee} AND {there}"
    )
    if table is None:
        return held | ({"SOME"} if some else set())
    return held | {str(right) for right, of in some if of == table}
