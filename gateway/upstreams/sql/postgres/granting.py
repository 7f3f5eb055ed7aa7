"""Looks for what exact images and reverts need of a database, and gives what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from gateway.interfaces import Piece
from gateway.upstreams.sql.postgres.failures import upstream_error
from gateway.upstreams.sql.postgres.grants import OWN_ROLE, Logins, Wanted, wanted_of


async def prepared(
    url: str, logins: Logins, *, apply: bool, include: frozenset[str], source: str
) -> list[Piece]:
    """``url``: whose rights are used."""
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            wanted = await wanted_of(connection, logins)
            names = {"agents": logins.agents, "capture": logins.capture or OWN_ROLE}
            pieces = [await _piece(connection, w, names) for w in wanted]
            if not apply:
                return pieces
            return [
                await _applied(connection, w, piece, names, logins)
                if w.unasked or w.id in include
                else piece
                for w, piece in zip(wanted, pieces, strict=True)
            ]
    except psycopg.Error as error:
        raise upstream_error(error, source) from error


async def _piece(
    connection: psycopg.AsyncConnection, wanted: Wanted, names: Mapping[str, str]
) -> Piece:
    return Piece(
        id=wanted.id,
        gives=wanted.gives,
        statements=tuple(statement.as_string(connection) for statement in wanted.statements),
        without=wanted.without,
        state="there" if await _there(connection, wanted, names) else "missing",
        unasked=wanted.unasked,
    )


async def _there(
    connection: psycopg.AsyncConnection, wanted: Wanted, names: Mapping[str, str]
) -> bool:
    row = await (await connection.execute(wanted.there.encode(), names)).fetchone()
    return row is not None and bool(row[0])


async def _applied(
    connection: psycopg.AsyncConnection,
    wanted: Wanted,
    piece: Piece,
    names: Mapping[str, str],
    logins: Logins,
) -> Piece:
    if await _there(connection, wanted, names):  # an earlier piece may have given it
        return replace(piece, state="there")
    if wanted.login is not None and logins.capture is None and wanted.login == names["capture"]:
        return replace(piece, detail="Configure capture_url with this role first.")
    try:
        async with connection.transaction():
            for statement in wanted.statements:
                await connection.execute(statement.as_bytes(connection))
            if wanted.login is not None:
                await _set_password(connection, wanted.login, logins)
    except psycopg.Error as error:
        return replace(piece, state="failed", detail=error.diag.message_primary or str(error))
    return replace(piece, state="applied")


async def _set_password(connection: psycopg.AsyncConnection, login: str, logins: Logins) -> None:
    own = login == logins.capture
    password = logins.capture_password if own else logins.agents_password
    if password is None:
        return
    # As its hash, so that no log of the server shows it.
    hashed = connection.pgconn.encrypt_password(
        password.encode(), login.encode(), b"scram-sha-256"
    ).decode()
    await connection.execute(
        SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(login), Literal(hashed))
    )
