"""Asks the server what a statement means: it parses, analyses and rewrites it, and prints the
result as notices. Nothing is planned and nothing runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.errors import Diagnostic
from psycopg.pq import ExecStatus

from gateway.model import Deny
from gateway.upstreams.sql.postgres.lookup import Connection

_TITLE = "rewritten parse tree:"
_SETTINGS = ("debug_print_rewritten", "debug_pretty_print", "client_min_messages")
_ASKING = ("on", "off", "log")
_READ = "SELECT " + ", ".join(f"pg_catalog.current_setting('{s}')" for s in _SETTINGS)
_SET = (
    "SELECT "
    + ", ".join(f"pg_catalog.set_config('{s}', ${n}, true)" for n, s in enumerate(_SETTINGS, 1))
)
# The server also logs what it prints, unless it may be told not to.
_QUIET = (
    ", CASE WHEN pg_catalog.has_parameter_privilege('log_min_messages', 'SET') "
    "THEN pg_catalog.set_config('log_min_messages', 'fatal', true) END"
)
# Classes of SQLSTATE that speak about the statement, not about the server.
_ABOUT_THE_TEXT = re.compile(r"0A|21|22|2F|42|44|54")


async def printed(
    connection: Connection, sql: str, *, name: str = "", param_types: Sequence[int] = ()
) -> str | Deny:
    """The server's print of ``sql`` after analysis and rewriting. ``name``: the prepared statement
    that stays behind. Needs an open transaction; a ``Deny`` leaves it aborted."""
    trees: list[str] = []

    def listen(notice: Diagnostic) -> None:
        if notice.message_primary == _TITLE:
            trees.append(notice.message_detail or "")

    before = await (await connection.execute(_READ)).fetchone()
    assert before is not None
    ask = _SET + (_QUIET if connection.info.server_version >= 150000 else "")
    connection.add_notice_handler(listen)
    try:
        async with connection.lock:
            error = await _exchange(connection, ask, sql, name, param_types, before)
    finally:
        connection.remove_notice_handler(listen)
    if error is not None:
        if _ABOUT_THE_TEXT.match(error.sqlstate or ""):
            detail = f"PostgreSQL says: {error.diag.message_primary}."
            return Deny(reason="sql.unparsable", detail=detail)
        raise error
    # Ours, and that of the statement that sets the settings back. More means that analysing ours
    # has run further queries.
    if len(trees) != 2:
        return Deny(
            reason="action.unsupported",
            detail="Reading the statement runs code that cannot be judged.",
        )
    return trees[0]


async def _exchange(
    connection: Connection,
    ask: str,
    sql: str,
    name: str,
    param_types: Sequence[int],
    before: Sequence[Any],
) -> psycopg.Error | None:
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    try:
        pgconn.send_query_params(ask.encode(), [v.encode() for v in _ASKING])
        pgconn.send_prepare(name.encode(), sql.encode(), param_types=list(param_types))
        pgconn.send_query_params(_SET.encode(), [str(v).encode() for v in before])
        pgconn.pipeline_sync()
        error: psycopg.Error | None = None
        synced = False
        while not synced:
            await connection.wait(generators.send(pgconn))
            result = await connection.wait(generators.fetch(pgconn))
            if result is None:
                continue
            synced = result.status == ExecStatus.PIPELINE_SYNC
            if result.status == ExecStatus.FATAL_ERROR and error is None:
                error = _error(result, pgconn)
    finally:
        if pgconn.status == pq.ConnStatus.OK:
            pgconn.exit_pipeline_mode()
    return error


def _error(result: pq.abc.PGresult, pgconn: pq.abc.PGconn) -> psycopg.Error:
    return psycopg.errors.error_from_result(result, pgconn.info.encoding)  # type: ignore[attr-defined]
