"""SELECT setval(...) as a statement: a sequence that is set to a value, by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.upstreams.sql.postgres.libpg import Unparsable, parse, pg
from gateway.upstreams.sql.postgres.walk import messages, name_of, texts, unwrap
from gateway.upstreams.sql.postgres.written import Named

SETVAL = "setval"


@dataclass(frozen=True, slots=True)
class Placed:
    """``rest``: the statement without the call, with the value (and flag) that it sets instead."""

    sequence: Named
    rest: Any


def setval_of(node: Any) -> Placed | None:
    """``None`` for every other statement, and where the sequence is not named by a constant."""
    select = node.select_stmt
    calls = [m for m in messages(node) if name_of(m) == "FuncCall" and _is_setval(m)]
    if len(calls) != 1 or len(select.target_list) != 1:
        return None
    call = unwrap(select.target_list[0].res_target.val)
    if call is None or name_of(call) != "FuncCall" or not _is_setval(call):
        return None
    if len(call.args) not in (2, 3) or not _plain(call):
        return None
    sequence = _sequence(call.args[0])
    if sequence is None:
        return None
    rest = pg.Node()
    rest.CopyFrom(node)
    del rest.select_stmt.target_list[:]
    for value in call.args[1:]:
        target = pg.Node()
        target.res_target.val.CopyFrom(value)
        rest.select_stmt.target_list.append(target)
    return Placed(sequence, rest)


def _is_setval(call: Any) -> bool:
    return texts(call.funcname) in ((SETVAL,), ("pg_catalog", SETVAL))


def _plain(call: Any) -> bool:
    odd = call.agg_order or call.HasField("agg_filter") or call.HasField("over")
    flags = call.agg_star or call.agg_distinct or call.func_variadic or call.agg_within_group
    named = any(name_of(m) == "NamedArgExpr" for m in messages(call))
    return not (odd or flags or named)


def _sequence(node: Any) -> Named | None:
    value = unwrap(node)
    if value is not None and name_of(value) == "FuncCall":
        return _serial(value)
    text = _constant(node, cast="regclass")
    path = _path(text) if text is not None else None
    if path is None:
        return None
    return Named(verb="alter", kind="sequence", schema=path[0], name=path[1])


def _serial(call: Any) -> Named | None:
    """pg_get_serial_sequence(table, column)."""
    known = ("pg_get_serial_sequence",), ("pg_catalog", "pg_get_serial_sequence")
    if texts(call.funcname) not in known or len(call.args) != 2 or not _plain(call):
        return None
    table, column = (_constant(arg, cast="text") for arg in call.args)
    path = _path(table) if table is not None else None
    if path is None or not column:
        return None
    return Named(verb="alter", kind="sequence", schema=path[0], name=path[1], part=column)


def _constant(node: Any, *, cast: str) -> str | None:
    value = unwrap(node)
    if value is not None and name_of(value) == "TypeCast":
        if texts(value.type_name.names)[-1:] != (cast,) or value.type_name.array_bounds:
            return None
        value = unwrap(value.arg)
    if value is None or name_of(value) != "A_Const" or value.WhichOneof("val") != "sval":
        return None
    return str(value.sval.sval)


def _path(text: str) -> tuple[str | None, str] | None:
    """A name as the server reads it from text: folded, with or without a schema."""
    try:
        found = parse(f"DROP SEQUENCE {text}").stmts
    except Unparsable:
        return None
    if len(found) != 1 or name_of(unwrap(found[0].stmt)) != "DropStmt":
        return None
    drop = unwrap(found[0].stmt)
    if len(drop.objects) != 1 or drop.behavior != pg.DROP_RESTRICT or drop.missing_ok:
        return None
    path = texts(drop.objects[0].list.items)
    return (None, path[0]) if len(path) == 1 else (path[0], path[1]) if len(path) == 2 else None
