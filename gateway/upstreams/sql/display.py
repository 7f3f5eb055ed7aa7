"""SQL as it is shown to policy and people: statements, tables, columns, functions, read by
sqlglot. A second opinion: engines and their own grammars decide what a statement does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from gateway.model import Deny
from gateway.upstreams.sql.worker import SMALL_TEXT, ParseWorker

# It logs what it cannot parse; agents' SQL does not belong into logs.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

_VERBS: tuple[tuple[type[exp.Expr], str], ...] = (
    (exp.Insert, "insert"),
    (exp.Update, "update"),
    (exp.Delete, "delete"),
    (exp.Merge, "merge"),
    (exp.TruncateTable, "truncate"),
    (exp.Create, "create"),
    (exp.Alter, "alter"),
    (exp.Drop, "drop"),
)
_READS = (exp.Query, exp.Values, exp.Describe, exp.Show)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStatement:
    """``verb``: of the statement itself, ``select`` for every read. ``verbs``: also of the writes
    inside of it. ``tables`` and the keys of ``columns``: as written, ``schema.table`` where a
    schema is written. Columns that are not qualified stand under ``""``, ``*`` for all.
    ``bounded``: not an UPDATE, DELETE or MERGE without a condition on a column."""

    verb: str
    verbs: tuple[str, ...]
    tables: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    bounded: bool = True
    has_where: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    statements: tuple[ShownStatement, ...]


def shown(sql: str, dialect: str) -> Shown | None:
    """``None`` when sqlglot does not understand all of ``sql``. ``dialect``: ``postgres``,
    ``sqlite``. Takes its time on long texts: see ``shown_aside``."""
    try:
        trees = sqlglot.parse(sql, dialect=dialect)
        statements = tuple(_statement(tree) for tree in trees if tree is not None)
    except Exception:  # noqa: BLE001 - on odd text it raises any type; None says "not understood"
        return None
    if not statements or any(not s.verb for s in statements):
        return None
    return Shown(statements=statements)


async def shown_aside(
    worker: ParseWorker, sql: str, dialect: str, *, timeout_s: float
) -> Shown | None:
    """``shown``, with long texts read by ``worker``; ``None`` also when that took too long."""
    if len(sql) <= SMALL_TEXT:
        return shown(sql, dialect)
    answer = await worker.run(shown, sql, dialect, timeout_s=timeout_s)
    return None if isinstance(answer, Deny) else answer


def _statement(tree: exp.Expr) -> ShownStatement:
    verb = _verb(tree)
    if tree.find(exp.Command) is not None:
        verb = ""
    verbs = dict.fromkeys(filter(None, (verb, *map(_verb, _writes(tree)))))
    changes = [n for n in tree.walk() if isinstance(n, exp.Update | exp.Delete | exp.Merge)]
    return ShownStatement(
        verb=verb,
        verbs=tuple(verbs),
        tables=tuple(dict.fromkeys(_tables(tree))),
        columns=_columns(tree),
        functions=tuple(sorted({_function(f) for f in tree.find_all(exp.Func)})),
        bounded=all(map(_bounded, changes)),
        has_where=tree.args.get("where") is not None,
    )


def _verb(node: exp.Expr) -> str:
    for kind, verb in _VERBS:
        if isinstance(node, kind):
            return verb
    if isinstance(node, exp.Select) and node.args.get("into") is not None:
        return "create"
    return "select" if isinstance(node, _READS) else ""


def _writes(tree: exp.Expr) -> Iterator[exp.Expr]:
    kinds = tuple(kind for kind, _ in _VERBS)
    for node in tree.walk():
        if isinstance(node, kinds) or (isinstance(node, exp.Select) and node.args.get("into")):
            yield node


def _tables(tree: exp.Expr) -> Iterator[str]:
    named = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if table.name and (table.db or table.name not in named):
            yield _dotted(table)


def _dotted(table: exp.Table) -> str:
    return ".".join(part for part in (table.catalog, table.db, table.name) if part)


def _columns(tree: exp.Expr) -> dict[str, tuple[str, ...]]:
    aliases = {t.alias: _dotted(t) for t in tree.find_all(exp.Table) if t.alias}
    found: dict[str, dict[str, None]] = {}
    for column in tree.find_all(exp.Column):
        table = aliases.get(column.table, column.table)
        found.setdefault(table, {})[column.name] = None
    if any(isinstance(star.parent, exp.Select) for star in tree.find_all(exp.Star)):
        found.setdefault("", {})["*"] = None
    return {table: tuple(names) for table, names in found.items()}


def _function(node: exp.Func) -> str:
    name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
    return str(name).lower()


def _bounded(change: exp.Expr) -> bool:
    if isinstance(change, exp.Merge):
        if "by source" in change.sql().lower():
            return False
        condition = change.args.get("on")
    else:
        where = change.args.get("where")
        condition = where.this if isinstance(where, exp.Where) else None
    return isinstance(condition, exp.Expr) and _restricts(condition)


def _restricts(condition: exp.Expr) -> bool:
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return _restricts(condition.left) or _restricts(condition.right)
    if isinstance(condition, exp.Or):
        return _restricts(condition.left) and _restricts(condition.right)
    if isinstance(condition, exp.Binary) and condition.left == condition.right:
        return False
    return any(_outer(column, condition) for column in condition.find_all(exp.Column))


def _outer(column: exp.Column, condition: exp.Expr) -> bool:
    # A column of a subquery bounds nothing unless a column stands outside of it too.
    node: exp.Expr | None = column
    while node is not None and node is not condition:
        if isinstance(node, exp.Query):
            return False
        node = node.parent
    return not isinstance(condition, exp.Query)
