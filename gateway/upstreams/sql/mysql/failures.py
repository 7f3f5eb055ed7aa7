"""What MariaDB's errors mean to a caller."""

from __future__ import annotations

import struct

import pymysql

from gateway.errors import UpstreamError
from gateway.model import Json

# Everything that a broken connection or an answer cut off in the middle raises in the driver.
FAILURES = (pymysql.Error, OSError, RuntimeError, struct.error, IndexError)

_TIMEOUTS = {
    1205: "A lock that the statement needs was held by others for too long.",
    1213: "The statement and another one waited for each other; the server ended this one.",
    1969: "The statement took longer than this source allows and was ended.",
    3024: "The statement took longer than this source allows and was ended.",
    1317: "The statement was interrupted by the server.",
}
_GONE = frozenset({1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1927, 4031})
_NOT_LET_IN = frozenset({1044, 1045, 1049, 1129, 1130, 1203, 1226, 1698})


def code_of(error: BaseException) -> int | None:
    """The server's error number, or the driver's own (2000 and more)."""
    if isinstance(error, pymysql.Error) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return None


def lost(error: BaseException) -> bool:
    """Whether the error tells of the connection, not of the statement."""
    code = code_of(error)
    if code is None or isinstance(error, pymysql.InterfaceError):
        return True
    return code in _GONE or 2000 <= code < 3000 or code == 0


def upstream_error(error: BaseException, source: str) -> UpstreamError:
    """The server's own answer (``code``, ``message``, ``sqlstate`` in ``extra``), or
    ``upstream.unreachable``, which names nothing of the connection string."""
    code = code_of(error)
    if code is None or lost(error) or code in _NOT_LET_IN:
        return unreachable(source)
    message = _text(error.args[1]) if len(error.args) > 1 else type(error).__name__
    extra: dict[str, Json] = {"code": code, "message": message}
    state = getattr(error, "sqlstate", None)
    if state is not None:
        extra["sqlstate"] = state
    if code in _TIMEOUTS:
        return UpstreamError(_TIMEOUTS[code], reason="upstream.timeout", **extra)
    return UpstreamError(f"The server answered: {message} (error {code}).", **extra)


def unreachable(source: str) -> UpstreamError:
    return UpstreamError(
        f"The database of source {source!r} cannot be reached.", reason="upstream.unreachable"
    )


def _text(message: object) -> str:
    return message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
