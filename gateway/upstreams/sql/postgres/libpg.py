"""PostgreSQL's own grammar, by libpg_query. Loaded untyped: the stubs that come with the package
name a field ``None`` and so are no valid Python."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from google.protobuf.message import DecodeError

from gateway.model import Json

_postgast: Any = import_module("postgast")
pg: Any = import_module("postgast.pg_query_pb2")

# Protobuf gives up at 100 levels, which fifty additions in a row make. Stays at that where the
# runtime has no such switch: deeper texts are then refused.
_runtime: Any = import_module("google.protobuf.internal.api_implementation")
_message: Any = getattr(_runtime, "_c_module", None)
if _message is not None and hasattr(_message, "SetAllowOversizeProtos"):
    _message.SetAllowOversizeProtos(True)


class Unparsable(Exception):
    """The grammar does not take the text; the message says why. ``words``: as a server would."""

    def __init__(self, message: str, words: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.words = dict(words or {})


def parse(sql: str) -> Any:
    """The ``ParseResult`` of ``sql``. Raises ``Unparsable``."""
    try:
        return _postgast.parse(sql)
    except _postgast.PgQueryError as error:
        raise Unparsable(error.message, _words(error)) from error
    except DecodeError as error:
        raise Unparsable("the statement is nested too deeply") from error


def deparse(statement: Any) -> str:
    """Text of one statement's node. Raises ``Unparsable``."""
    result = pg.ParseResult(stmts=[pg.RawStmt(stmt=statement)])
    try:
        return str(_postgast.deparse(result))
    except _postgast.PgQueryError as error:
        raise Unparsable(error.message) from error


def _words(error: Any) -> dict[str, Json]:
    if error.funcname != "scanner_yyerror":  # the others do not tell their code
        return {"message": error.message}
    return {"sqlstate": "42601", "message": error.message, "position": error.cursorpos}
