"""What PostgreSQL's errors mean to a caller."""

from __future__ import annotations

import psycopg

from gateway.errors import UpstreamError
from gateway.model import Json

_TIMEOUTS = {
    "57014": "The statement took longer than this source allows and was cancelled.",
    "55P03": "A lock that the statement needs was held by others for too long.",
    "25P03": "The transaction waited too long and was ended by the server.",
    "25P04": "The transaction took too long and was ended by the server.",
}
_GONE = ("08", "57P01", "57P02", "57P03", "57P05")


def lost(error: psycopg.Error) -> bool:
    """Whether the error tells of the connection, not of the statement."""
    state = error.diag.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state.startswith(_GONE)


def upstream_error(error: psycopg.Error, source: str) -> UpstreamError:
    """The server's own answer (``sqlstate``, ``message``, ``hint``, ``position`` in ``extra``), or
    ``upstream.unreachable``, which names nothing of the connection string."""
    if lost(error):
        return unreachable(source)
    diag = error.diag
    state = diag.sqlstate or "XX000"
    message = diag.message_primary or type(error).__name__
    extra: dict[str, Json] = {"sqlstate": state, "message": message}
    if diag.message_detail:
        extra["server_detail"] = diag.message_detail
    if diag.message_hint:
        extra["hint"] = diag.message_hint
    if diag.statement_position:
        extra["position"] = int(diag.statement_position)
    if state in _TIMEOUTS:
        return UpstreamError(_TIMEOUTS[state], reason="upstream.timeout", **extra)
    return UpstreamError(f"PostgreSQL answered: {message} (SQLSTATE {state}).", **extra)


def unreachable(source: str) -> UpstreamError:
    return UpstreamError(
        f"The database of source {source!r} cannot be reached.", reason="upstream.unreachable"
    )
