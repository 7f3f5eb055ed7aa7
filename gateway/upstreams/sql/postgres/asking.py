"""Asks the server what a statement means: it parses, analyses and rewrites it, and prints the
result as notices. Nothing is planned and nothing runs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg
from psycopg import generators
from psycopg.errors import Diagnostic
from psycopg.pq import ExecStatus

from gateway.model import Deny
from gateway.upstreams.sql.postgres.failures import words
from gateway.upstreams.sql.postgres.lookup import Connection

_TITLE = "rewritten parse tree:"
_ASKING = {"debug_print_rewritten": "on", "debug_pretty_print": "off", "client_min_messages": "log"}


def _set(name: str, value: str) -> str:
    return f"pg_catalog.set_config('{name}', {value}, true)"


def _kept(name: str) -> str:
    return f"pg_catalog.current_setting('{name}')"


# The server also logs what it prints, unless it may be told not to.
_MAY_BE_QUIET = "pg_catalog.has_parameter_privilege('log_min_messages', 'SET')"
_KEEP = [_set(f"holdfast.{name}", _kept(name)) for name in (*_ASKING, "log_min_messages")]
_START = "SELECT " + ", ".join(
    (*_KEEP, *(_set(name, f"'{value}'") for name, value in _ASKING.items()))
)
_END = "SELECT " + ", ".join(_set(name, _kept(f"holdfast.{name}")) for name in _ASKING)
_QUIET = f", CASE WHEN {_MAY_BE_QUIET} THEN {_set('log_min_messages', repr('fatal'))} END"
_LOUD = (
    f", CASE WHEN {_MAY_BE_QUIET} THEN "
    f"{_set('log_min_messages', _kept('holdfast.log_min_messages'))} END"
)
# Classes of SQLSTATE that speak about the statement, not about the server (42P05: the name of the
# prepared statement is in use, which is ours).
_ABOUT_THE_TEXT = re.compile(r"(?!42P05)(?:0A|21|22|23|2F|38|39|3F|42|44|54|P0)")


async def printed(
    connection: Connection, sql: str, *, name: str = "", param_types: Sequence[int] = ()
) -> str | Deny:
    """The server's print of ``sql`` after analysis and rewriting. ``name``: the prepared statement
    that stays behind. Needs an open transaction; a ``Deny`` leaves it aborted."""
    trees: list[str] = []

    def listen(notice: Diagnostic) -> None:
        if notice.message_primary == _TITLE:
            trees.append(notice.message_detail or "")

    connection.add_notice_handler(listen)
    try:
        async with connection.lock:
            error = await _exchange(connection, sql, name, param_types)
    finally:
        connection.remove_notice_handler(listen)
    if error is not None:
        return _refusal(error)
    # Ours, and that of the statement that sets the settings back. More means that analysing ours
    # has run further queries.
    return trees[0] if len(trees) == 2 else _runs_code()


def _refusal(error: psycopg.Error) -> Deny:
    """What an error says about the statement. Raises it when it speaks of something else."""
    said = error.diag.message_primary
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Deny(
            reason="upstream.failed", detail=f"PostgreSQL refuses: {said}.", extra=words(error)
        )
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return _runs_code()
    if _ABOUT_THE_TEXT.match(error.sqlstate or ""):
        return Deny(reason="sql.unparsable", detail=f"PostgreSQL says: {said}.", extra=words(error))
    raise error


def _runs_code() -> Deny:
    return Deny(
        reason="action.unsupported",
        detail="Reading the statement runs code that cannot be judged.",
    )


async def _exchange(
    connection: Connection, sql: str, name: str, param_types: Sequence[int]
) -> psycopg.Error | None:
    """One round trip; the first error, when there is one."""
    pgconn = connection.pgconn
    quiet = connection.info.server_version >= 150000
    error: psycopg.Error | None = None
    pgconn.enter_pipeline_mode()
    try:
        pgconn.send_query_params((_START + (_QUIET if quiet else "")).encode(), None)
        pgconn.send_prepare(name.encode(), sql.encode(), param_types=list(param_types))
        pgconn.send_query_params((_END + (_LOUD if quiet else "")).encode(), None)
        pgconn.pipeline_sync()
        await connection.wait(generators.send(pgconn))
        status = None
        while status != ExecStatus.PIPELINE_SYNC:
            result = await connection.wait(generators.fetch(pgconn))
            status = None if result is None else result.status
            if result is not None and status == ExecStatus.FATAL_ERROR:
                error = error or psycopg.errors.error_from_result(result)
        pgconn.exit_pipeline_mode()
    except BaseException:
        pgconn.finish()  # nobody can tell any more which answer belongs to what
        raise
    return error
