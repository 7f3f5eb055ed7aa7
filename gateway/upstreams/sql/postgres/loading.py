"""``COPY ... FROM STDIN``: judged as the INSERT that would fill the same columns, run verbatim with
the rows that came beside the text (``stdin`` of the call)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.model import Deny, Effect
from gateway.upstreams.sql.postgres.libpg import deparse, parse, pg
from gateway.upstreams.sql.postgres.lookup import Connection, relations_named
from gateway.upstreams.sql.postgres.walk import (
    QUERY_NODES,
    messages,
    name_of,
    texts,
    types_in,
    unlisted,
)
from gateway.upstreams.sql.postgres.written import Change, Named, Written

# How rows are written as text. The others change who reads them (binary, encoding), when they can
# be seen (freeze), or what becomes of bad ones.
_OPTIONS = frozenset(
    {"format", "delimiter", "null", "header", "quote", "escape", "force_not_null", "force_null"}
)
_FORMATS = frozenset({"text", "csv"})
_NODES = QUERY_NODES | {"CopyStmt", "DefElem"}

_COLUMNS = """
SELECT a.attname::text FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = pg_catalog.to_regclass(
         CASE WHEN %(schema)s::text IS NULL THEN pg_catalog.quote_ident(%(name)s::text)
              ELSE pg_catalog.quote_ident(%(schema)s) || '.' || pg_catalog.quote_ident(%(name)s)
         END)
   AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attnum
"""


def loaded(text: str, statement: Any) -> Written | Deny:
    """A COPY, or why it is refused."""
    if not statement.is_from or statement.is_program or statement.filename:
        return _unsupported(
            "COPY is accepted FROM STDIN only, its rows beside the text. Send a SELECT to read."
        )
    nodes = list(messages(statement))
    if any(name_of(node) == "ParamRef" for node in nodes):
        return _unsupported("COPY takes no parameters.")
    strange = unlisted(statement, _NODES)
    if strange is not None:
        return _unsupported(f"{strange} is not accepted in a COPY here.")
    refusal = _options(option.def_elem for option in statement.options)
    if refusal is not None:
        return refusal
    relation, columns = statement.relation, texts(statement.attlist)
    where = statement.where_clause if statement.HasField("where_clause") else None
    if where is not None and not columns:
        return _unsupported("A COPY with a condition names its columns: COPY t (a, b) FROM STDIN.")
    return Written(
        sql=text,
        verb="insert",
        asks=_insert(relation, columns, where),
        changes=(Change(verb="insert", bounded=True),),
        functions=frozenset(texts(m.funcname)[-1] for m in nodes if name_of(m) == "FuncCall"),
        types=types_in(nodes),
        relations=frozenset({relation.relname}),
        loads=Named(
            verb="insert",
            kind="table",
            schema=relation.schemaname or None,
            name=relation.relname,
            columns=columns,
        ),
    )


def _options(options: Any) -> Deny | None:
    for option in options:
        name = option.defname
        if name not in _OPTIONS:
            return _unsupported(f"COPY with {name} is not accepted.")
        if name == "format" and option.arg.string.sval not in _FORMATS:
            return _unsupported("COPY is accepted in the formats text and csv.")
    return None


def _insert(relation: Any, columns: Sequence[str], where: Any) -> str:
    """An INSERT that evaluates what the COPY does: input of the columns' types, defaults of the
    others, the condition. The server plans it; nobody runs it."""
    listed = ", ".join(["NULL"] * len(columns))
    values = f"OVERRIDING SYSTEM VALUE VALUES ({listed})" if columns else "DEFAULT VALUES"
    condition = "" if where is None else "WITH loaded AS (SELECT FROM t WHERE true) "
    query = pg.Node()
    query.CopyFrom(parse(f"{condition}INSERT INTO t {values}").stmts[0].stmt)
    insert = query.insert_stmt
    insert.relation.CopyFrom(relation)
    for column in columns:
        insert.cols.add().res_target.name = column
    if where is not None:
        select = insert.with_clause.ctes[0].common_table_expr.ctequery.select_stmt
        select.from_clause[0].range_var.CopyFrom(relation)
        select.where_clause.CopyFrom(where)
    return deparse(query)


# They turn an INSERT into something else, but no COPY: what the INSERT shows would not be it.
_RULES = """
SELECT r.rulename::text FROM pg_catalog.pg_rewrite r
 WHERE r.ev_class = pg_catalog.to_regclass(
         CASE WHEN %(schema)s::text IS NULL THEN pg_catalog.quote_ident(%(name)s::text)
              ELSE pg_catalog.quote_ident(%(schema)s) || '.' || pg_catalog.quote_ident(%(name)s)
         END)
   AND r.ev_type = '3'
 LIMIT 1
"""


async def filled(connection: Connection, written: Written) -> tuple[Written, Effect] | Deny:
    """What a COPY does to its own table, and the COPY asking about the columns that it fills: all
    that are not generated, where it names none."""
    loads = written.loads
    assert loads is not None
    [(name, kind)] = await relations_named(connection, [loads])
    if kind == "f":
        return Deny(reason="action.unsupported", detail=f"{name} lives on another server.")
    rule = await (await connection.execute(_RULES, _place(loads))).fetchone()
    if rule is not None:
        return _unsupported(f"COPY passes by the rule {rule[0]} of {name}; use INSERT.")
    columns = loads.columns or await _columns(connection, loads)
    if not loads.columns:
        relation = pg.RangeVar(relname=loads.name, inh=True, relpersistence="p")
        relation.schemaname = loads.schema or ""
        written = replace(written, asks=_insert(relation, columns, None))
    what = "view" if kind == "v" else "table"
    return written, Effect(verb="insert", kind=what, name=name, columns=tuple(sorted(columns)))


async def refilled(connection: Connection, loads: Named, filled: Effect) -> Deny | None:
    """Once the server was asked, and so holds the table: whether the columns are still those."""
    if loads.columns or filled.columns == tuple(sorted(await _columns(connection, loads))):
        return None
    return Deny(
        reason="action.unsupported",
        detail=f"{filled.name} was altered while this was judged. Send it again.",
    )


async def _columns(connection: Connection, loads: Named) -> tuple[str, ...]:
    found = await (await connection.execute(_COLUMNS, _place(loads))).fetchall()
    return tuple(str(column) for (column,) in found)


def _place(loads: Named) -> dict[str, str | None]:
    return {"schema": loads.schema, "name": loads.name}


def counted(loads: int, given: int) -> Deny | None:
    """The refusal where the texts that came are not one for each COPY."""
    if loads == given:
        return None
    return Deny(
        reason="malformed",
        detail=f"The SQL has {loads} COPY FROM STDIN; 'stdin' has rows for {given}.",
    )


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)
