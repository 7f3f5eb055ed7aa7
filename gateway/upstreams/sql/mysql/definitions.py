"""Statements that change the schema, of which each commits by itself: those whose way back is
exact. What is dropped or truncated is moved aside and never destroyed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from gateway.model import Deny
from gateway.upstreams.sql.mysql import clauses
from gateway.upstreams.sql.mysql.clauses import Key
from gateway.upstreams.sql.mysql.functions import KEYWORDS, NATIVE
from gateway.upstreams.sql.mysql.lexing import Text
from gateway.upstreams.sql.mysql.words import Words

ACCEPTED = (
    "Of the statements that change the schema, those with an exact way back are accepted: DROP, "
    "TRUNCATE, RENAME, CREATE and ALTER of one table, its indexes, and CREATE and DROP VIEW."
)
_HEADS = frozenset({"drop", "truncate", "rename", "create", "alter"})
_CREATED: tuple[type[exp.Expr], ...] = (
    exp.Create, exp.Schema, exp.Table, exp.Identifier, exp.ColumnDef, exp.ColumnConstraint,
    exp.ColumnConstraintKind, exp.DataType, exp.DataTypeParam, exp.PrimaryKey, exp.ForeignKey,
    exp.Reference, exp.Constraint, exp.Properties, exp.EngineProperty, exp.CharacterSetProperty,
    exp.CollateProperty, exp.AutoIncrementProperty, exp.SchemaCommentProperty, exp.LikeProperty,
    exp.Literal, exp.Var, exp.Boolean, exp.Null, exp.Neg, exp.Paren, exp.Column, exp.Ordered,
    exp.CurrentTimestamp, exp.Binary, exp.And, exp.Or, exp.Not, exp.Between, exp.In, exp.Tuple,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Definition:
    """``verb``: drop, truncate, create, alter (``to``: a rename). ``target`` and ``to``: schema, if
    it is written, and name. ``lenient``: IF EXISTS or IF NOT EXISTS. ``view``: the target is one.
    ``place``: where the target stands in the text of an ``alter`` that is no rename. ``query``:
    where the text of a view or of rows to begin with starts. ``renamed``: columns, new name to old.
    ``key``: the foreign key that an ``alter`` is about.
    """

    verb: str
    target: tuple[str | None, str]
    to: tuple[str | None, str] | None = None
    lenient: bool = False
    view: bool = False
    place: tuple[int, int] | None = None
    query: int | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    key: Key | None = None


def read(text: Text) -> Definition | Deny | None:
    """``None`` for a statement that is none of these."""
    if text.first not in _HEADS or text.tokens[0].kind != "word":
        return None
    words = Words(text.tokens)
    found: Definition | None = None
    if words.take("drop", "table"):
        lenient = words.take("if", "exists")
        name = words.name()
        if name is not None and (words.take("restrict") or words.take("cascade") or True):
            found = Definition("drop", name, lenient=lenient)
    elif words.take("truncate"):
        words.take("table")
        name = words.name()
        found = None if name is None else Definition("truncate", name)
    elif words.take("rename", "table") or words.take("rename", "tables"):
        name = words.name()
        to = words.name() if words.take("to") else None
        found = None if name is None or to is None else Definition("alter", name, to)
    elif words.take("create", "table"):
        return _created(text, words)
    elif words.take("create", "view"):
        return _viewed(words)
    elif words.take("drop", "view"):
        lenient = words.take("if", "exists")
        name = words.name()
        found = None if name is None else Definition("drop", name, lenient=lenient, view=True)
    elif text.first in ("alter", "create", "drop"):
        return _altered(text, words)
    if found is None or not words.ended:
        return Deny(
            reason="sql.unsupported",
            detail=ACCEPTED,
        )
    return found


def _viewed(words: Words) -> Definition | Deny:
    lenient = words.take("if", "not", "exists")
    name = words.name()
    if name is None or not words.take("as") or words.ended:
        return _unsupported("A view is accepted as CREATE VIEW name AS SELECT ...")
    return Definition("create", name, lenient=lenient, view=True, query=words.start)


def _altered(text: Text, words: Words) -> Definition | Deny:
    found = clauses.read(text, words)
    if isinstance(found, Deny):
        return found
    if found is None:
        return _unsupported(ACCEPTED)
    if found.to is not None:
        return Definition("alter", found.target, found.to)
    return Definition("alter", found.target, place=found.place, renamed=found.renamed,
                      key=found.key)  # fmt: skip


def _created(text: Text, words: Words) -> Definition | Deny:
    lenient = words.take("if", "not", "exists")
    name = words.name()
    if name is None:
        return _unsupported("The CREATE TABLE is not understood.")
    query = _query(words)
    if query is not None and words.at_query:
        return Definition("create", name, lenient=lenient, query=query)
    refusal = _odd(text)
    if refusal is not None:
        return refusal
    return Definition("create", name, lenient=lenient)


def _query(words: Words) -> int | None:
    """Where the SELECT of a CREATE TABLE name [AS] SELECT starts."""
    words.take("as")
    return None if words.ended else words.start


def _odd(text: Text) -> Deny | None:
    """The refusal of a CREATE TABLE with something in it that is not listed here."""
    try:
        trees = sqlglot.parse(text.shown, dialect="mysql")
        nodes = list(trees[0].walk()) if len(trees) == 1 and trees[0] is not None else []
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        nodes = []
    root = nodes[0] if nodes else None
    if not isinstance(root, exp.Create) or root.args.get("expression") is not None:
        return _unsupported("The CREATE TABLE is not understood.")
    if root.args.get("replace") or str(root.args.get("kind")).upper() != "TABLE":
        return _unsupported("CREATE OR REPLACE is not accepted here.")
    for node in nodes:
        if not isinstance(node, _CREATED):
            return _unsupported(f"{type(node).__name__.upper()} is not accepted here.")
        if isinstance(node, exp.EngineProperty) and node.name.lower() != "innodb":
            return _unsupported("Only InnoDB tables are accepted here.")
    names = {n.name.lower() for n in nodes if isinstance(n, exp.Identifier)}
    for token, after in zip(text.tokens, text.tokens[1:], strict=False):
        word = token.text.lower()
        called = token.kind == "word" and after.kind == "other" and after.text == "("
        if called and word not in names | NATIVE | KEYWORDS | {"int", "json", "uuid"}:
            return _unsupported(f"{token.text} is not accepted here.")
    return None


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)
