"""Statements that change the schema, of which each commits by itself: those whose way back is
exact. What is dropped or truncated is moved aside and never destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from gateway.model import Deny
from gateway.upstreams.sql.mysql.functions import KEYWORDS, NATIVE
from gateway.upstreams.sql.mysql.lexing import Text, Token

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
    """``verb``: drop, truncate, create, alter (a rename). ``target`` and ``to``: schema, if it is
    written, and name. ``lenient``: IF EXISTS or IF NOT EXISTS."""

    verb: str
    target: tuple[str | None, str]
    to: tuple[str | None, str] | None = None
    lenient: bool = False


def read(text: Text) -> Definition | Deny | None:
    """``None`` for a statement that is none of these."""
    if text.first not in _HEADS or text.tokens[0].kind != "word":
        return None
    words = _Words(text.tokens)
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
    if found is None or not words.ended:
        return Deny(
            reason="sql.unsupported",
            detail="Of the statements that change the schema, those with an exact way back are "
            "accepted: DROP TABLE, TRUNCATE, RENAME TABLE and CREATE TABLE, one table each.",
        )
    return found


def _created(text: Text, words: _Words) -> Definition | Deny:
    lenient = words.take("if", "not", "exists")
    name = words.name()
    refusal = _odd(text)
    if name is None or refusal is not None:
        return refusal or _unsupported("The CREATE TABLE is not understood.")
    return Definition("create", name, lenient=lenient)


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


class _Words:
    """Takes a statement apart from the left."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._tokens)

    def take(self, *words: str) -> bool:
        """The next tokens, if they are these keywords."""
        part = self._tokens[self._at : self._at + len(words)]
        if [t.text.lower() if t.kind == "word" else "" for t in part] != list(words):
            return False
        self._at += len(words)
        return True

    def name(self) -> tuple[str | None, str] | None:
        """The next tokens as the name of a table."""
        first = self._word()
        if first is None:
            return None
        if self._at < len(self._tokens) and self._tokens[self._at].text == ".":
            self._at += 1
            second = self._word()
            return None if second is None else (first, second)
        return None, first

    def _word(self) -> str | None:
        if self._at >= len(self._tokens) or self._tokens[self._at].kind not in ("word", "quoted"):
            return None
        self._at += 1
        return self._tokens[self._at - 1].text


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)
