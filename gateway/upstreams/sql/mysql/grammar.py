"""What one statement is, read by sqlglot against an allow-list of nodes. What sqlglot does not
understand, or understands as something that is not listed here, is refused."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import sqlglot
from sqlglot import exp

from gateway.model import Deny
from gateway.upstreams.sql.mysql import definitions, lexing
from gateway.upstreams.sql.mysql.bodies import bare_only, odd_call
from gateway.upstreams.sql.mysql.definitions import Definition
from gateway.upstreams.sql.mysql.functions import NATIVE, SHADOWED
from gateway.upstreams.sql.mysql.lexing import Text, Token

DIALECT = "mysql"

_EXPRESSIONS: tuple[type[exp.Expr], ...] = (
    exp.Alias, exp.All, exp.And, exp.Any, exp.Between, exp.Binary, exp.BitString, exp.Boolean,
    exp.Bracket, exp.Case, exp.CharacterSet, exp.Collate, exp.Column, exp.DataType,
    exp.DataTypeParam, exp.Distinct, exp.Escape, exp.Exists, exp.Func, exp.HexString,
    exp.Identifier, exp.If, exp.In, exp.Interval, exp.IntervalSpan, exp.Introducer, exp.Is,
    exp.JSONPath, exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSubscript, exp.JSONPathWildcard,
    exp.Literal, exp.National, exp.Neg, exp.Not, exp.Null, exp.Or, exp.Order, exp.Ordered,
    exp.Paren, exp.SessionParameter, exp.Star, exp.Tuple, exp.Unary, exp.Var, exp.Window,
    exp.WindowSpec, exp.Xor,
)  # fmt: skip
_QUERIES: tuple[type[exp.Expr], ...] = (
    exp.CTE, exp.From, exp.Group, exp.Having, exp.IndexTableHint, exp.Join, exp.Limit, exp.Offset,
    exp.Partition, exp.Select, exp.SetOperation, exp.Subquery, exp.Table, exp.TableAlias,
    exp.Values, exp.Where, exp.With,
)  # fmt: skip
_CHANGES: tuple[type[exp.Expr], ...] = (
    exp.Delete, exp.Insert, exp.OnConflict, exp.Schema, exp.Update, exp.Returning,
)  # fmt: skip
# Looks like an operator and is none that only computes.
_NEVER: tuple[type[exp.Expr], ...] = (
    exp.Command, exp.Into, exp.Lock, exp.Parameter, exp.Placeholder, exp.PropertyEQ, exp.Hint,
    exp.Aliases, exp.JSONTable,
)  # fmt: skip
_SHOWN = frozenset(
    """TABLES|FULL TABLES|COLUMNS|FULL COLUMNS|INDEX|CREATE TABLE|CREATE VIEW|DATABASES|VARIABLES
    |STATUS|WARNINGS|ERRORS|TABLE STATUS|CHARACTER SET|COLLATION|ENGINES|TRIGGERS|CREATE DATABASE
    |CREATE TRIGGER|PLUGINS|PRIVILEGES""".replace("\n    ", "").split("|")
)
_NO_TABLE = "dual"
_MODIFIERS = frozenset({"low_priority", "quick", "ignore"})


@dataclass(frozen=True, slots=True)
class Ref:
    """A table as it is written."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """A change of one table whose rows a query can name: ``target`` with its alias, and the
    condition as the server gets it (``None`` for all rows). ``columns`` and
    ``rows``: what an INSERT ... VALUES spells out, as it is sent."""

    target: Ref
    alias: str | None
    condition: str | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One statement. ``verb``: select, show, explain, insert, update, delete, or that of a
    ``definition``. ``refs``: every table that it names, those of its own WITH in ``local`` among
    them. ``changed``: those that it writes to. ``verbs``: what it may do to them. ``known``: names
    that stand before brackets and must not be those of stored routines."""

    text: Text
    verb: str
    refs: tuple[Ref, ...]
    local: frozenset[str] = frozenset()
    changed: tuple[Ref, ...] = ()
    verbs: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    single: Single | None = None
    definition: Definition | None = None


def read(text: Text) -> Written | Deny:
    """Executes and asks nothing."""
    definition = definitions.read(text)
    if isinstance(definition, Deny):
        return definition
    if definition is not None:
        return _defining(text, definition)
    tree = _parsed(text)
    if isinstance(tree, Deny):
        return tree
    refusal = _forbidden(tree)
    if refusal is not None:
        return refusal
    known = _known(tree)
    refusal = _called(text, known)
    if refusal is not None:
        return refusal
    return _written(text, tree, known | _shadowed(text))


def _defining(text: Text, definition: Definition) -> Written | Deny:
    refs = tuple(Ref(*name) for name in (definition.target, definition.to) if name is not None)
    query = None if definition.query is None else _queried(text, definition.query)
    if isinstance(query, Deny):
        return query
    return Written(
        text=text,
        verb=definition.verb,
        refs=refs if query is None else (*refs, *query.refs),
        local=frozenset() if query is None else query.local,
        changed=refs,
        verbs=(definition.verb,),
        known=frozenset() if query is None else query.known,
        definition=definition,
    )


def _queried(text: Text, start: int) -> Written | Deny:
    """The query of a view or of a table that begins with rows, judged as a read of its own."""
    texts = lexing.read(text.sent[start:], ())
    if isinstance(texts, Deny):
        return texts
    found = read(texts[0]) if len(texts) == 1 else _unparsable("The query is not understood.")
    if isinstance(found, Deny) or found.verb == "select":
        return found
    return _unsupported("Only a SELECT can stand here.")


def readable(text: Text) -> str:
    """The text for sqlglot, which does not know REPLACE and some modifiers: REPLACE is read as the
    INSERT that it is."""
    if text.first == "replace":
        return "INSERT" + text.shown[len("replace") :]
    shown = text.shown
    if text.first in ("update", "delete"):
        for token in text.tokens[1:]:
            if token.kind != "word" or token.text.lower() not in _MODIFIERS:
                break
            # Up to here no string stands before, so that both texts agree in their places.
            end = token.at + len(token.text)
            shown = shown[: token.at] + " " * len(token.text) + shown[end:]
    return shown


def _parsed(text: Text) -> exp.Expr | Deny:
    try:
        trees = sqlglot.parse(readable(text), dialect=DIALECT)
    except Exception:  # noqa: BLE001 - on odd text it raises any type; all mean "not understood"
        return _unparsable("The statement is not understood.")
    found = [tree for tree in trees if tree is not None]
    if len(found) != 1 or len(trees) != 1:
        return _unparsable("The statement is not understood as one.")
    return found[0]


def _forbidden(tree: exp.Expr) -> Deny | None:
    try:
        nodes = list(tree.walk())
    except RecursionError:
        return Deny(reason="too_large", detail="The statement is nested too deeply.")
    for node in nodes:
        if isinstance(node, exp.Lock):
            return _unsupported(
                "FOR UPDATE and LOCK IN SHARE MODE lock rows for a transaction that ends with the "
                "call; leave them out."
            )
        if isinstance(node, exp.Show | exp.Describe) and node is tree:
            continue
        listed = isinstance(node, (*_EXPRESSIONS, *_QUERIES, *_CHANGES))
        if (
            isinstance(node, _NEVER)
            or not listed
            or (isinstance(node, _CHANGES) and not _top(node))
        ):
            return _unsupported(f"{_named(node)} is not accepted here.")
        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc) and (
            node.name.lower() not in NATIVE
        ):
            return _unjudged(f"the function {node.name}")
        if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
            return _unsupported("Only tables and queries can stand after FROM.")
        if isinstance(node, exp.Table) and node.catalog:
            return _unsupported("A name has more parts than schema and table.")
    return None


def _top(node: exp.Expr) -> bool:
    if isinstance(node, exp.Schema | exp.OnConflict | exp.Returning):
        return isinstance(node.parent, _CHANGES)
    return node.parent is None


def _named(node: exp.Expr) -> str:
    if isinstance(node, exp.Command):
        return str(node.this).upper()
    return type(node).__name__.upper()


def _known(tree: exp.Expr) -> frozenset[str]:
    """Names that may stand before a bracket: an INSERT's table, a WITH's queries."""
    names = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    names |= {s.this.name.lower() for s in tree.find_all(exp.Schema) if s.this is not None}
    return frozenset(names)


def _shadowed(text: Text) -> frozenset[str]:
    """Functions that are called here and that a stored one could stand for."""
    return frozenset(
        token.text.lower()
        for token, after in pairwise(text.tokens)
        if after.text == "(" and token.text.lower() in SHADOWED
    )


def _called(text: Text, known: frozenset[str]) -> Deny | None:
    told = odd_call(text.tokens, known) or bare_only(text.tokens)
    return _unjudged(told) if told is not None else None


def _written(text: Text, tree: exp.Expr, known: frozenset[str]) -> Written | Deny:
    refs = tuple(dict.fromkeys(_refs(tree)))
    local = frozenset(cte.alias for cte in tree.find_all(exp.CTE))
    if isinstance(tree, exp.Show):
        if str(tree.this).upper() not in _SHOWN:
            return _unsupported(f"SHOW {tree.this} is not accepted here.")
        return Written(text=text, verb="show", refs=refs, known=known)
    if isinstance(tree, exp.Describe):
        if not isinstance(tree.this, exp.Query | exp.Table):
            return _unsupported("Only reads can be explained here.")
        return Written(text=text, verb="explain", refs=refs, local=local, known=known)
    if isinstance(tree, exp.Query):
        if any(t.kind == "word" and t.text.lower() == "into" for t in text.tokens):
            return _unsupported("SELECT ... INTO is not accepted here.")
        return Written(text=text, verb="select", refs=refs, local=local, known=known)
    if isinstance(tree, exp.Insert):
        return _insert(text, tree, refs, local, known)
    if isinstance(tree, exp.Update | exp.Delete):
        return _change(text, tree, refs, local, known)
    return _unsupported(f"{_named(tree)} is not accepted here.")


def _refs(tree: exp.Expr) -> list[Ref]:
    found = [
        Ref(table.db or None, table.name)
        for table in tree.find_all(exp.Table)
        if table.name.lower() != _NO_TABLE or table.db or table.this.quoted
    ]
    if isinstance(tree, exp.Show) and isinstance(tree.args.get("target"), exp.Identifier):
        found.append(Ref(None, tree.args["target"].name))
    return found


def _insert(
    text: Text,
    tree: exp.Insert,
    refs: tuple[Ref, ...],
    local: frozenset[str],
    known: frozenset[str],
) -> Written | Deny:
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table):
        return _unsupported("INSERT into something that is no table is not accepted.")
    ref = Ref(target.db or None, target.name)
    verbs: tuple[str, ...] = ("insert",)
    if text.first == "replace":
        verbs = ("insert", "delete", "update")
    elif tree.args.get("conflict") is not None:
        verbs = ("insert", "update")
    return Written(
        text=text,
        verb="insert",
        refs=refs,
        local=local,
        changed=(ref,),
        verbs=verbs,
        known=known,
        single=_inserted(text, tree, ref),
    )


def _inserted(text: Text, tree: exp.Insert, ref: Ref) -> Single:
    columns: tuple[str, ...] = ()
    if isinstance(tree.this, exp.Schema):
        columns = tuple(c.name for c in tree.this.expressions)
    spelled = any(t.kind == "word" and t.text.lower() in ("values", "value") for t in text.tokens)
    if not isinstance(tree.expression, exp.Values) or not spelled:
        return Single(target=ref, alias=None, columns=columns)
    return Single(target=ref, alias=None, columns=columns, rows=_rows(text))


def _rows(text: Text) -> tuple[tuple[str, ...], ...]:
    """The cells of VALUES as they are sent; none where they are not understood."""
    rows: list[tuple[str, ...]] = []
    cells: list[str] = []
    depth, start, seen = 0, 0, False
    for token in text.tokens:
        word = token.text.lower() if token.kind == "word" else ""
        step = _depth(token)
        if not seen:
            depth += step
            seen = depth == 0 and word in ("values", "value")
            continue
        if depth == 0 and (word or (not step and token.text != ",")):
            break  # ON DUPLICATE KEY, RETURNING
        if step > 0 and depth == 0:
            cells, start = [], token.at + 1
        elif depth == 1 and (step < 0 or (token.kind == "other" and token.text == ",")):
            cells.append(text.sent[start : token.at].strip())
            start = token.at + 1
        depth += step
        if step < 0 and depth == 0:
            rows.append(tuple(cells))
    return tuple(rows)


def _change(
    text: Text,
    tree: exp.Update | exp.Delete,
    refs: tuple[Ref, ...],
    local: frozenset[str],
    known: frozenset[str],
) -> Written | Deny:
    verb = "update" if isinstance(tree, exp.Update) else "delete"
    target = tree.this
    if not isinstance(target, exp.Table):
        return _unsupported(f"{verb.upper()} of something that is no table is not accepted.")
    alone = not (
        target.args.get("joins")
        or tree.args.get("tables")
        or tree.args.get("using")
        or tree.args.get("from_")
        or tree.args.get("with_")
    )
    if not alone:
        # Which of the tables are written to is the server's business: any of them may be.
        return Written(
            text=text, verb=verb, refs=refs, local=local, changed=refs, verbs=(verb,), known=known
        )
    ref = Ref(target.db or None, target.name)
    condition = _condition(text)
    single = Single(target=ref, alias=target.alias or None, condition=condition)
    if (condition is None) != (tree.args.get("where") is None):
        return _unparsable("The statement's WHERE is not where it was expected.")
    return Written(
        text=text,
        verb=verb,
        refs=refs,
        local=local,
        changed=(ref,),
        verbs=(verb,),
        known=known,
        single=single,
    )


def _condition(text: Text) -> str | None:
    """The condition of an UPDATE or DELETE of one table, as it is sent."""
    depth, start = 0, -1
    for token in text.tokens:
        depth += _depth(token)
        word = token.text.lower() if token.kind == "word" and depth == 0 else ""
        if word == "where" and start < 0:
            start = token.at + len(token.text)
        elif start >= 0 and word in ("order", "limit", "returning"):
            return text.sent[start : token.at].strip()
    return text.sent[start:].strip() if start >= 0 else None


def _depth(token: Token) -> int:
    return {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "other" else 0


def _unparsable(detail: str) -> Deny:
    return Deny(reason="sql.unparsable", detail=detail)


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)


def _unjudged(what: str) -> Deny:
    return Deny(
        reason="action.unsupported",
        detail=f"{what[0].upper()}{what[1:]} may have effects that cannot be judged.",
    )
