"""Whether an UPDATE or DELETE is bounded by its text: it has a WHERE that looks at a column. A
cheap static rule; the extent that counts is measured when the statement runs."""

from __future__ import annotations

import logging

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from gateway.upstreams.sql.sqlite.catalog import folded
from gateway.upstreams.sql.sqlite.tokens import unnumbered

# It logs what it cannot parse; agents' SQL does not belong into logs.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

# The tree is for show; longer texts are not worth the time and count as unbounded.
_MAX_CHARS = 20_000


def bounded(sql: str, columns: frozenset[str]) -> bool:
    """False where it is not plainly bounded, or not plainly readable. ``columns``: folded names
    of those that the engine saw read; a quoted name that is none of them is a string."""
    if len(sql) > _MAX_CHARS:
        return False
    try:
        tree = sqlglot.parse_one(unnumbered(sql), dialect="sqlite")
    except (SqlglotError, RecursionError):
        return False
    if not isinstance(tree, exp.Update | exp.Delete):
        return False
    where = tree.args.get("where")
    return isinstance(where, exp.Where) and _restricts(where.this, columns)


def _restricts(condition: exp.Expr, columns: frozenset[str]) -> bool:
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return _restricts(condition.left, columns) or _restricts(condition.right, columns)
    if isinstance(condition, exp.Or):
        return _restricts(condition.left, columns) and _restricts(condition.right, columns)
    if isinstance(condition, exp.Binary) and condition.left == condition.right:
        return False
    return any(_outer(column, condition, columns) for column in condition.find_all(exp.Column))


def _outer(column: exp.Column, condition: exp.Expr, columns: frozenset[str]) -> bool:
    # A column of a subquery bounds nothing unless a column stands outside of it too.
    if column.this.args.get("quoted") and folded(column.name) not in columns:
        return False
    node: exp.Expr | None = column
    while node is not None and node is not condition:
        if isinstance(node, exp.Select):
            return False
        node = node.parent
    return not isinstance(condition, exp.Select)
