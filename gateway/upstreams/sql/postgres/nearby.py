"""Where the rows of an UPDATE or DELETE should be: its own condition, as far as it is plain.

Only a hint for whoever looks for the rows afterwards, so parts that are not understood may be left
out of a conjunction; what is kept compares columns of the target with constants, by operators of
the server alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import Identifier, Literal

from gateway.upstreams.sql.postgres.libpg import pg
from gateway.upstreams.sql.postgres.walk import name_of, unwrap

_OPERATORS = frozenset({"=", "<>", "!=", "<", ">", "<=", ">="})
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A condition on rows ``x`` of ``table`` (a bare name), in pieces: SQL, and numbers of the
    parameters between."""

    table: str
    pieces: tuple[str | int, ...]

    def condition(self, params: Sequence[bytes | None]) -> str:
        """``params``: as text, like those that the statement runs with."""
        return "".join(
            piece if isinstance(piece, str) else _literal(params[piece - 1])
            for piece in self.pieces
        )


class _NotPlain(Exception):
    """This part says nothing that may be used."""


def near(node: Any) -> Near | None:
    """Of one statement; ``None`` where it says nothing plain about its target's rows."""
    statement = unwrap(node)
    if name_of(statement) not in ("UpdateStmt", "DeleteStmt"):
        return None
    others = statement.from_clause if name_of(statement) == "UpdateStmt" else (
        statement.using_clause
    )  # fmt: skip
    if others or statement.HasField("with_clause") or not statement.HasField("where_clause"):
        return None
    try:
        pieces = _pieces(statement.where_clause)
    except _NotPlain:
        return None
    if len(pieces) > _MOST_PARTS:
        return None
    return Near(table=statement.relation.relname, pieces=tuple(pieces))


def _pieces(node: Any) -> list[str | int]:
    inner = unwrap(node)
    render = _RENDER.get(name_of(inner)) if inner is not None else None
    if render is None:
        raise _NotPlain
    return render(inner)


def _column(ref: Any) -> list[str | int]:
    name = unwrap(ref.fields[-1])
    if name_of(name) != "String":
        raise _NotPlain
    return [f"x.{Identifier(name.sval).as_string()}"]


def _constant(const: Any) -> list[str | int]:
    if const.isnull:
        return ["NULL"]
    kind = const.WhichOneof("val")
    if kind == "ival":
        return [str(const.ival.ival)]
    if kind == "fval" and _NUMBER.fullmatch(const.fval.fval):
        return [const.fval.fval]
    if kind == "boolval":
        return ["true" if const.boolval.boolval else "false"]
    if kind == "sval":
        return [_literal(const.sval.sval.encode())]
    raise _NotPlain


def _param(ref: Any) -> list[str | int]:
    return [int(ref.number)]


def _comparison(expr: Any) -> list[str | int]:
    names = [unwrap(n).sval for n in expr.name]
    if len(names) != 1:
        raise _NotPlain
    left = _pieces(expr.lexpr)
    if expr.kind == pg.AEXPR_OP and names[0] in _OPERATORS:
        return ["(", *left, f" {names[0]} ", *_pieces(expr.rexpr), ")"]
    if expr.kind == pg.AEXPR_IN and names[0] in ("=", "<>"):
        items = [_pieces(item) for item in expr.rexpr.list.items]
        listed = [piece for item in items for piece in (", ", *item)][1:]
        return ["(", *left, " IN (" if names[0] == "=" else " NOT IN (", *listed, "))"]
    if expr.kind == pg.AEXPR_BETWEEN:
        low, high = expr.rexpr.list.items
        return ["(", *left, " BETWEEN ", *_pieces(low), " AND ", *_pieces(high), ")"]
    raise _NotPlain


def _boolean(expr: Any) -> list[str | int]:
    if expr.boolop == pg.NOT_EXPR:
        return ["(NOT ", *_exactly(expr.args[0]), ")"]
    parts: list[list[str | int]] = []
    for arg in expr.args:
        try:
            parts.append(_pieces(arg))
        except _NotPlain:
            if expr.boolop != pg.AND_EXPR:
                raise
    if not parts:
        raise _NotPlain
    word = " AND " if expr.boolop == pg.AND_EXPR else " OR "
    joined = [piece for part in parts for piece in (word, *part)][1:]
    return ["(", *joined, ")"]


def _exactly(node: Any) -> list[str | int]:
    """What stands under NOT must not be wider than it is."""
    inner = unwrap(node)
    if inner is None or name_of(inner) == "BoolExpr":
        raise _NotPlain
    return _pieces(node)


def _null_test(test: Any) -> list[str | int]:
    word = "IS NULL" if test.nulltesttype == pg.IS_NULL else "IS NOT NULL"
    return ["(", *_pieces(test.arg), f" {word})"]


_RENDER = {
    "ColumnRef": _column,
    "A_Const": _constant,
    "ParamRef": _param,
    "A_Expr": _comparison,
    "BoolExpr": _boolean,
    "NullTest": _null_test,
}


def _literal(value: bytes | None) -> str:
    return "NULL" if value is None else Literal(value.decode()).as_string()
