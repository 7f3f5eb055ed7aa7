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
    extra = words(error)
    state, message = str(extra["sqlstate"]), extra["message"]
    if state in _TIMEOUTS:
        return UpstreamError(_TIMEOUTS[state], reason="upstream.timeout", **extra)
    return UpstreamError(f"PostgreSQL answered: {message} (SQLSTATE {state}).", **extra)


def words(error: psycopg.Error) -> dict[str, Json]:
    """What the server said, part by part."""
    diag = error.diag
    message = diag.message_primary or type(error).__name__
    found: dict[str, Json] = {"sqlstate": diag.sqlstate or "XX000", "message": message}
    if diag.message_detail:
        found["server_detail"] = diag.message_detail
    if diag.message_hint:
        found["hint"] = diag.message_hint
    if diag.statement_position:
        found["position"] = int(diag.statement_position)
    return found


def unreachable(source: str) -> UpstreamError:
    return UpstreamError(
        f"The database of source {source!r} cannot be reached.", reason="upstream.unreachable"
    )
