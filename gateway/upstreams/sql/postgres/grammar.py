"""Reads a text with PostgreSQL's own grammar: which statements it holds, what each of them may be
by its form. Whatever is not on a list is refused by name. No server is asked."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from gateway.model import EXECUTE, Deny
from gateway.upstreams.sql.gate import check_text
from gateway.upstreams.sql.postgres import executing, loading
from gateway.upstreams.sql.postgres import schema_statements as schema
from gateway.upstreams.sql.postgres.functions import refused_by_name
from gateway.upstreams.sql.postgres.libpg import Unparsable, deparse, parse, pg
from gateway.upstreams.sql.postgres.listed import EXPLAIN_OPTIONS, KNOWN_TYPES, SHOWN
from gateway.upstreams.sql.postgres.nearby import near
from gateway.upstreams.sql.postgres.setting import SETVAL, Placed, setval_of
from gateway.upstreams.sql.postgres.walk import (
    QUERY_NODES,
    SCHEMA_NODES,
    bare,
    boolean_of,
    messages,
    name_of,
    restricts,
    texts,
    types_in,
    unlisted,
    unwrap,
)
from gateway.upstreams.sql.postgres.within import Expanded, Within
from gateway.upstreams.sql.postgres.written import Change, Grammar, Named, Written

_MAX_STATEMENTS = 1000
_MAX_PARAMETERS = 65535
_TEXT_OID = 25
_QUERIES = {
    "SelectStmt": "select",
    "InsertStmt": "insert",
    "UpdateStmt": "update",
    "DeleteStmt": "delete",
    "MergeStmt": "merge",
}


def read(sql: str, max_bytes: int) -> Grammar | Deny:
    """The statements of ``sql``, or the refusal of the first that is refused. Takes its time on
    long texts, and libpg_query may crash on monstrous ones: see ``judge.Judge.text``."""
    refusal = check_text(sql, max_bytes=max_bytes, dialect="postgres")
    if refusal is not None:
        return refusal
    try:
        found = parse(sql).stmts
        return _statements(sql, found)
    except Unparsable as error:
        detail = f"PostgreSQL's grammar says: {error}."
        return Deny(reason="sql.unparsable", detail=detail, extra=error.words)


def _statements(sql: str, found: Any) -> Grammar | Deny:
    if not found:
        return Deny(reason="sql.unparsable", detail="The text holds no statement.")
    if len(found) > _MAX_STATEMENTS:
        return schema.unsupported(f"The text holds more than {_MAX_STATEMENTS} statements.")
    raw = sql.encode()
    statements: list[Written] = []
    used: set[int] = set()
    within = Within(KNOWN_TYPES)
    for one in found:
        end = one.stmt_location + one.stmt_len if one.stmt_len else len(raw)
        text = raw[one.stmt_location : end].decode().strip(" \t\n\r\f;")
        numbers = {m.number for m in messages(one.stmt) if name_of(m) == "ParamRef"}
        lasting = within.read(text, one.stmt)
        if lasting is None:
            written = _written(text, one.stmt, numbers)
            used |= numbers
        else:
            written = _expanded(lasting) if isinstance(lasting, Expanded) else lasting
        if isinstance(written, Deny):
            return written
        statements.append(written)
    refusal = within.ended(statements) or _parameters(used) or _order(statements)
    if refusal is not None:
        return refusal
    return Grammar(text=sql, statements=tuple(statements), parameters=len(used))


def _parameters(used: set[int]) -> Deny | None:
    if used and (min(used) < 1 or max(used) > _MAX_PARAMETERS or max(used) != len(used)):
        return Deny(
            reason="malformed",
            detail="Parameters are numbered $1, $2, ... without gaps; "
            f"the SQL uses {', '.join(f'${n}' for n in sorted(used)[:10])}.",
        )
    return None


def _order(statements: list[Written]) -> Deny | None:
    """Names in a text are judged as they stand before it runs, so nothing may come after a schema
    change that a changed name could mean something else in."""
    changed: set[str] = set()
    made = False
    for written in statements:
        names = {n.name for n in written.named}
        if (made or changed) and (
            not written.schema_change or written.asks is not None or names & changed
        ):
            return schema.unsupported(
                "What comes after a schema change in the same text cannot be judged before it; "
                "send it in a call of its own."
            )
        if written.verb == "create":
            made = True
        elif written.schema_change:
            changed |= names
    return None


def _written(text: str, node: Any, numbers: set[int]) -> Written | Deny:
    statement = unwrap(node)
    kind = name_of(statement)
    alone = _alone(text, statement, kind, numbers)
    if alone is not None:
        return alone
    if kind in _QUERIES:
        allowed = QUERY_NODES | {"IntoClause"}
    elif kind in SCHEMA_NODES:
        allowed = SCHEMA_NODES
    else:
        return schema.unsupported(f"{_words(kind)} is not a kind of statement accepted here.")
    placed = setval_of(node) if kind == "SelectStmt" else None
    if placed is not None:
        return _setval(text, placed, numbers)
    strange = unlisted(statement, allowed)
    if strange is not None:
        return schema.unsupported(f"{_words(strange)} is not accepted in a statement here.")
    refusal = _refused_parts(statement)
    if refusal is not None:
        return refusal
    into = [m for m in messages(statement) if name_of(m) == "IntoClause"]
    if kind in _QUERIES and not into:
        return _query(text, node, _QUERIES[kind], numbers, text)
    if kind in ("CreateTableAsStmt", "ViewStmt") or kind in _QUERIES:
        return _query_made(text, node, into, numbers)
    return _schema_change(text, statement, numbers)


def _alone(text: str, statement: Any, kind: str, numbers: set[int]) -> Written | Deny | None:
    """Statements of kinds that have rules of their own."""
    if kind == "VariableShowStmt":
        return _show(text, statement)
    if kind == "ExplainStmt":
        return _explain(text, statement, numbers)
    if kind == "DoStmt":
        return executing.block_of(text, statement)
    if kind == "CallStmt":
        return _call(text, statement, numbers)
    if kind == "CopyStmt":
        return _refused_parts(statement) or loading.loaded(text, statement)
    return None


def _expanded(found: Expanded) -> Written | Deny:
    """An EXECUTE as the statement that it stands for, or the query of a cursor."""
    if name_of(unwrap(found.query)) not in _QUERIES:
        return schema.unsupported("Only SELECT, INSERT, UPDATE, DELETE and MERGE are prepared.")
    if any(name_of(m) in ("ParamRef", "IntoClause") for m in messages(found.query)):
        return schema.unsupported("This is accepted without parameters and INTO only.")
    asks = _proven(found.query)
    if isinstance(asks, Deny):
        return asks
    written = _written(asks, found.query, set())
    if isinstance(written, Deny) or not found.declares:
        return written
    return replace(written, sql=found.text, near=None, cursor=True)


def _show(text: str, statement: Any) -> Written | Deny:
    if statement.name.lower() not in SHOWN:
        return schema.unsupported(f"SHOW {statement.name} is not accepted.")
    return Written(sql=text, verb="show", asks=None)


def _explain(text: str, statement: Any, numbers: set[int]) -> Written | Deny:
    analyze = False
    for option in (o.def_elem for o in statement.options):
        if option.defname not in EXPLAIN_OPTIONS:
            return schema.unsupported(f"EXPLAIN with {option.defname} is not accepted.")
        if option.defname == "analyze":  # the last one counts
            value = boolean_of(option)
            if value is None:
                return schema.unsupported("EXPLAIN with this value of ANALYZE is not accepted.")
            analyze = value
    kind = name_of(unwrap(statement.query))
    into = any(name_of(m) == "IntoClause" for m in messages(statement.query))
    if kind not in _QUERIES or into:
        return schema.unsupported("Only SELECT, INSERT, UPDATE, DELETE and MERGE are explained.")
    asks = _proven(statement.query)
    if isinstance(asks, Deny):
        return asks
    inner = _written(asks, statement.query, numbers)
    if isinstance(inner, Deny):
        return inner
    return Written(
        sql=text,
        verb=inner.verb if analyze else "explain",
        asks=asks,
        explains=not analyze,
        locks=inner.locks,
        changes=inner.changes if analyze else (),
        functions=inner.functions,
        types=inner.types,
        relations=inner.relations,
        param_types=inner.param_types,
    )


def _query(text: str, node: Any, verb: str, numbers: set[int], asks: str) -> Written:
    nodes = list(messages(node))
    return Written(
        sql=text,
        verb=verb,
        asks=asks,
        locks=any(name_of(m) == "LockingClause" for m in nodes),
        changes=tuple(c for m in nodes for c in _changes(m)),
        functions=frozenset(texts(m.funcname)[-1] for m in nodes if name_of(m) == "FuncCall"),
        types=types_in(nodes),
        relations=frozenset(m.relname for m in nodes if name_of(m) == "RangeVar"),
        param_types=_param_types(numbers),
        near=near(node),
    )


def _query_made(text: str, node: Any, into: list[Any], numbers: set[int]) -> Written | Deny:
    """CREATE TABLE AS, SELECT INTO, CREATE VIEW: a relation made of a query."""
    statement = unwrap(node)
    kind = name_of(statement)
    if kind == "ViewStmt":
        query, made = statement.query, schema.fresh(statement.view, "view")
    elif kind == "CreateTableAsStmt":
        shape = "materialized view" if statement.objtype == pg.OBJECT_MATVIEW else "table"
        query, made = statement.query, schema.fresh(statement.into.rel, shape)
    else:
        made = schema.fresh(into[0].rel, "table")
        query = pg.Node()
        query.CopyFrom(node)
        for message in messages(query):
            if name_of(message) == "SelectStmt":
                message.ClearField("into_clause")
    if name_of(unwrap(query)) != "SelectStmt" or len(into) > 1:
        return schema.unsupported("This is accepted of a SELECT only.")
    asks = _proven(query)
    if isinstance(asks, Deny):
        return asks
    inner = _query(text, query, "create", numbers, asks)
    if inner.changes or inner.locks:
        return schema.unsupported("A relation can be made of a plain SELECT only.")
    return Written(
        sql=text,
        verb="create",
        asks=asks,
        named=(made,),
        functions=inner.functions,
        types=inner.types,
        relations=inner.relations,
        param_types=inner.param_types,
    )


def _call(text: str, statement: Any, numbers: set[int]) -> Written | Deny:
    """CALL: its arguments are judged as a query of their own."""
    called = executing.procedure_of(statement)
    query = executing.arguments_of(statement)
    if isinstance(called, Deny):
        return called
    if query is None:
        return Written(sql=text, verb=EXECUTE, asks=None, calls=called)
    strange = unlisted(query, QUERY_NODES)
    if strange is not None:
        return schema.unsupported(f"{_words(strange)} is not accepted in a statement here.")
    asks = _refused_parts(query) or _proven(query)
    if isinstance(asks, Deny):
        return asks
    return replace(_query(text, query, EXECUTE, numbers, asks), calls=called, near=None)


def _setval(text: str, placed: Placed, numbers: set[int]) -> Written | Deny:
    """SELECT setval(...): what else stands in it is judged as a query of its own."""
    strange = unlisted(placed.rest, QUERY_NODES)
    if strange is not None:
        return schema.unsupported(f"{_words(strange)} is not accepted in a statement here.")
    refusal = _refused_parts(placed.rest)
    if refusal is not None:
        return refusal
    asks = _proven(placed.rest)
    if isinstance(asks, Deny):
        return asks
    inner = _query(text, placed.rest, "alter", numbers, asks)
    if inner.changes or inner.locks:
        return schema.unsupported("A sequence can be set from a plain SELECT only.")
    return replace(inner, named=(placed.sequence,), restarts=True, alters=(SETVAL,), near=None)


def _schema_change(text: str, statement: Any, numbers: set[int]) -> Written | Deny:
    found = schema.named(statement)
    if found is None:
        return schema.unsupported(
            f"{_words(name_of(statement))} is not a kind of statement accepted here."
        )
    if isinstance(found, Deny):
        return found
    verb, named, cascades = found
    if numbers:
        return schema.unsupported("Schema statements take no parameters.")
    nodes = list(messages(statement))
    if any(name_of(m) in _QUERIES for m in nodes):
        return schema.unsupported("A query inside of this schema statement cannot be judged.")
    referenced = tuple(
        Named(verb="select", kind="table", schema=r.schemaname or None, name=r.relname)
        for r in (c.pktable for c in nodes if name_of(c) == "Constraint" and c.HasField("pktable"))
    )
    copied = tuple(
        Named(
            verb="select",
            kind="table",
            schema=c.relation.schemaname or None,
            name=c.relation.relname,
        )
        for c in nodes
        if name_of(c) == "TableLikeClause"
    )
    return Written(
        sql=text,
        verb=verb,
        asks=None,
        named=(*named, *referenced, *copied),
        cascades=cascades,
        restarts=schema.restarts(statement, nodes),
        alters=schema.alters(statement),
        functions=frozenset(texts(m.funcname)[-1] for m in nodes if name_of(m) == "FuncCall"),
        types=types_in(nodes),
        relations=frozenset(m.relname for m in nodes if name_of(m) == "RangeVar"),
    )


def _proven(query: Any) -> str | Deny:
    """The text of a query inside of a statement, proven to be read as that very query."""
    asks = deparse(query)
    again = parse(asks).stmts
    if len(again) != 1 or bare(again[0].stmt) != bare(query):
        return schema.unsupported("The query inside of this statement cannot be told for sure.")
    return asks


def _refused_parts(statement: Any) -> Deny | None:
    for message in messages(statement):
        kind = name_of(message)
        if kind == "FuncCall":
            name = texts(message.funcname)[-1]
            if refused_by_name(name, len(message.args)):
                return Deny(
                    reason="action.unsupported",
                    detail=f"The function {name} has effects that cannot be judged.",
                    extra={"function": name},
                )
        elif kind == "RangeVar" and (
            message.relpersistence == "t" or message.schemaname.startswith("pg_temp")
        ):
            return schema.unsupported("Temporary tables end with the call; use a common table.")
    return None


def _changes(node: Any) -> tuple[Change, ...]:
    kind = name_of(node)
    if kind == "InsertStmt":
        inserted = Change(verb="insert", bounded=True)
        updates = node.on_conflict_clause.action == pg.ONCONFLICT_UPDATE
        # What it updates is bounded by what it would have inserted.
        return (inserted, Change(verb="update", bounded=True)) if updates else (inserted,)
    if kind == "MergeStmt":
        by_source = any(
            w.merge_when_clause.match_kind == pg.MERGE_WHEN_NOT_MATCHED_BY_SOURCE
            for w in node.merge_when_clauses
        )
        return (Change(verb="merge", bounded=not by_source and restricts(node.join_condition)),)
    if kind in ("UpdateStmt", "DeleteStmt"):
        bounded = node.HasField("where_clause") and restricts(node.where_clause)
        return (Change(verb=_QUERIES[kind], bounded=bounded),)
    return ()


def _param_types(numbers: set[int]) -> tuple[int, ...]:
    return tuple(0 if n in numbers else _TEXT_OID for n in range(1, max(numbers, default=0) + 1))


def _words(node: str) -> str:
    """``AlterSystemStmt`` as people write it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", node.removesuffix("Stmt")).upper()
