"""What lasts from one statement of a text to the next: PREPARE with its EXECUTE, cursors, and
savepoints. The session that runs a call keeps none beyond it, so they count only within one text.

EXECUTE is run as the statement that it stands for, with its constants in place: what is judged is
what runs, and the server reads a constant there as it would read the same text as a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.model import Deny
from gateway.upstreams.sql.postgres.libpg import deparse, pg
from gateway.upstreams.sql.postgres.walk import messages, name_of, texts, unwrap
from gateway.upstreams.sql.postgres.written import Written

_NOTHING = "SELECT WHERE false"  # answers as PREPARE does: no columns, no rows, nothing affected
_REFUSED_OPTIONS = {0x0001: "BINARY", 0x0020: "WITH HOLD"}  # CURSOR_OPT_BINARY, CURSOR_OPT_HOLD


@dataclass(frozen=True, slots=True)
class Expanded:
    """``query`` is to be judged; ``text`` is what runs. ``declares``: a cursor over the query."""

    text: str
    query: Any
    declares: bool = False


class Within:
    """Of one text, statement by statement. ``known``: bare names of types that need no catalog."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._prepared: dict[str, Any] = {}
        self._executed: set[str] = set()
        self._cursors: set[str] = set()
        self._savepoints: set[str] = set()

    def read(self, text: str, node: Any) -> Expanded | Written | Deny | None:
        """``None`` for every other statement."""
        statement = unwrap(node)
        kind = name_of(statement)
        if kind == "PrepareStmt":
            return self._prepare(statement)
        if kind == "ExecuteStmt":
            return self._execute(statement)
        if kind == "DeallocateStmt":
            return self._deallocate(statement)
        if kind == "DeclareCursorStmt":
            return self._declare(text, statement)
        if kind in ("FetchStmt", "ClosePortalStmt"):
            return self._fetch(text, statement, kind)
        if kind == "TransactionStmt":
            return self._savepoint(text, statement)
        return self._current(statement)

    def ended(self, statements: Sequence[Written]) -> Deny | None:
        """The refusal at the end of the text: of what has no use in it."""
        idle = sorted(set(self._prepared) - self._executed)
        if idle:
            return _unsupported(
                f"{idle[0]} is prepared and not executed. What is prepared lasts no longer than "
                "its call: execute it in the same text, or send the statement with parameters."
            )
        used = self._cursors or self._executed or self._savepoints
        if used and not any(written.changes for written in statements):
            return _unsupported(
                "PREPARE, cursors and savepoints are accepted where rows are changed; send a query "
                "by itself."
            )
        if self._savepoints and any(w.schema_change or w.verb == "truncate" for w in statements):
            return _unsupported("Savepoints are accepted beside changes of rows only.")
        return None

    def _prepare(self, statement: Any) -> Written | Deny:
        for given in (unwrap(one) for one in statement.argtypes):
            path = texts(given.names)
            builtin = len(path) == 1 or tuple(path[:-1]) == ("pg_catalog",)
            if not builtin or path[-1] not in self._known:
                return _unsupported("A parameter of PREPARE has a built-in type here, or none.")
        if statement.name in self._prepared:
            return _unsupported(f"{statement.name} is prepared twice.")
        self._prepared[statement.name] = statement
        return Written(sql=_NOTHING, verb="prepare", asks=None)

    def _execute(self, statement: Any) -> Expanded | Deny:
        prepared = self._prepared.get(statement.name)
        if prepared is None:
            return _unsupported(f"{statement.name} is not prepared in the same text.")
        self._executed.add(statement.name)
        types = [texts(unwrap(one).names)[-1] for one in prepared.argtypes]
        given = [
            _constant(one, types[number] if number < len(types) else None)
            for number, one in enumerate(statement.params)
        ]
        if None in given:
            return _unsupported(
                "EXECUTE is accepted with constants only, of the types that are declared."
            )
        query = pg.Node()
        query.CopyFrom(prepared.query)
        numbers = _bind(query, [one for one in given if one is not None], prepared.argtypes)
        if max(len(prepared.argtypes), *numbers, 0) != len(given):
            return Deny(
                reason="sql.unparsable",
                detail=f"{statement.name} takes another number of parameters.",
            )
        return Expanded(deparse(query), query)

    def _deallocate(self, statement: Any) -> Written | Deny:
        if statement.name not in self._executed:
            return _unsupported("What is prepared lasts no longer than its call anyway.")
        del self._prepared[statement.name]
        return Written(sql=_NOTHING, verb="prepare", asks=None)

    def _declare(self, text: str, statement: Any) -> Expanded | Deny:
        for option, words in _REFUSED_OPTIONS.items():
            if statement.options & option:
                return _unsupported(f"A cursor {words} is not accepted: none outlasts its call.")
        self._cursors.add(statement.portalname)
        return Expanded(text, statement.query, declares=True)

    def _savepoint(self, text: str, statement: Any) -> Written | Deny | None:
        """``None`` for what would end the transaction."""
        name = statement.savepoint_name
        if statement.kind == pg.TRANS_STMT_SAVEPOINT:
            self._savepoints.add(name)
        elif statement.kind not in (pg.TRANS_STMT_RELEASE, pg.TRANS_STMT_ROLLBACK_TO):
            return None
        elif name not in self._savepoints:
            return _unsupported(f"There is no savepoint {name} in this text.")
        return Written(sql=text, verb="savepoint", asks=None)

    def _current(self, statement: Any) -> Deny | None:
        for place in (m for m in messages(statement) if name_of(m) == "CurrentOfExpr"):
            if place.cursor_name not in self._cursors:
                return _unsupported(f"The cursor {place.cursor_name} is not declared in this text.")
        return None

    def _fetch(self, text: str, statement: Any, kind: str) -> Written | Deny:
        if statement.portalname not in self._cursors:
            return _unsupported(f"The cursor {statement.portalname} is not declared in this text.")
        return Written(sql=text, verb="fetch" if kind == "FetchStmt" else "close", asks=None)


# Declared types that the server lets a number or a truth value be assigned to as they are written.
_TEXTS = frozenset({"text", "varchar", "bpchar", "char", "name"})
_WHOLE = _TEXTS | {"int2", "int4", "int8", "numeric", "float4", "float8", "oid", "money"}
_TAKES = {
    "ival": _WHOLE,
    "fval": _TEXTS | {"numeric", "float4", "float8"},
    "boolval": _TEXTS | {"bool"},
}


def _constant(node: Any, declared: str | None) -> Any | None:
    """The constant as one whose type the server infers; ``None`` where it is none, or would not be
    read as the ``declared`` type in the same way."""
    value = unwrap(node)
    if name_of(value) != "A_Const":
        return None
    constant = pg.A_Const()
    kind = value.WhichOneof("val")
    if declared is not None and kind in _TAKES and declared not in _TAKES[kind]:
        return None
    if value.isnull:
        constant.isnull = True
    elif kind == "ival":
        constant.sval.sval = str(value.ival.ival)
    elif kind == "fval":
        constant.sval.sval = value.fval.fval
    elif kind == "boolval":
        constant.sval.sval = "true" if value.boolval.boolval else "false"
    elif kind == "sval":
        constant.sval.sval = value.sval.sval
    else:
        return None
    return constant


def _bind(query: Any, given: list[Any], types: Any) -> list[int]:
    """Puts constants where parameters stand in ``query``; the numbers that stood there."""
    numbers: list[int] = []
    places = [m for m in messages(query) if name_of(m) == "Node"]
    for place in (m for m in places if m.WhichOneof("node") == "param_ref"):
        number = place.param_ref.number
        numbers.append(number)
        if 0 < number <= len(given):
            _put(place, given[number - 1], types[number - 1] if number <= len(types) else None)
    return numbers


def _put(node: Any, constant: Any, of: Any | None) -> None:
    if of is None:
        node.a_const.CopyFrom(constant)
        return
    node.type_cast.arg.a_const.CopyFrom(constant)
    node.type_cast.type_name.CopyFrom(unwrap(of))


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)
