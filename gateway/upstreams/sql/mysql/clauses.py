"""What an ALTER TABLE asks for, clause by clause, against a list of what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.model import Deny
from gateway.upstreams.sql.mysql.functions import KEYWORDS, NATIVE
from gateway.upstreams.sql.mysql.lexing import Text, Token
from gateway.upstreams.sql.mysql.words import Words

_HEADS = frozenset(
    """
    add drop modify change alter rename comment convert default character collate
    """.split()  # noqa: SIM905
)
# What reaches beyond the definition and the rows of this table, wherever it stands.
_NEVER = frozenset(
    """
    partition partitions tablespace directory union connection engine select system versioning
    period system_time import discard order force enable disable exchange truncate coalesce
    reorganize analyze password encrypted nextval lastval setval next previous algorithm
    lock wait nowait online ignore insert_method with without application
    """.split()  # noqa: SIM905
)
# What may stand before a bracket beside native functions and words of the grammar.
_OPEN = frozenset(
    """
    integer tinytext mediumtext longtext tinyblob mediumblob longblob date json uuid inet4 inet6
    geometry index unique as default btree hash column always
    """.split()  # noqa: SIM905
)
# Behind these stands the name of an index or a table, which a bracket may follow.
_NAMING = frozenset({"key", "index", "references", "on", "unique", "fulltext", "exists"})


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key that is added or ``dropped``."""

    name: str
    columns: tuple[str, ...] = ()
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Altered:
    """``place``: where the table's name stands in the text that is sent. ``renamed``: columns, the
    new name and the old. ``to``: the new name where the table gets one and nothing else. ``key``:
    the one foreign key that changes, and nothing else."""

    target: tuple[str | None, str]
    place: tuple[int, int]
    renamed: tuple[tuple[str, str], ...] = ()
    to: tuple[str | None, str] | None = None
    key: Key | None = None


def read(text: Text, words: Words) -> Altered | Deny | None:
    """An ALTER TABLE, CREATE INDEX or DROP INDEX; ``None`` for what is none of these."""
    if not words.take("alter", "table"):
        return _index(text, words)
    words.take("if", "exists")
    named = _named(words)
    if named is None:
        return None
    target, place = named
    if words.take("rename") and not any(map(words.take, ("column", "index", "key"))):
        _ = words.take("to") or words.take("as")
        to = words.name()
        return Altered(target, place, to=to) if to is not None and words.ended else None
    clauses = _split(_after(text, place))
    renamed: list[tuple[str, str]] = []
    for clause in clauses:
        refusal = _clause(clause, renamed)
        if refusal is not None:
            return refusal
    refusal = _called(text.tokens)
    key = _key(clauses)
    if isinstance(key, Deny):
        return key
    return refusal or Altered(target, place, tuple(renamed), key=key)


def _index(text: Text, words: Words) -> Altered | Deny | None:
    creating = words.take("create")
    if not creating and not words.take("drop"):
        return None
    _ = creating and (words.take("unique") or words.take("fulltext") or words.take("spatial"))
    if not words.take("index"):
        return None
    _ = words.take("if", "not", "exists") or words.take("if", "exists")
    if words.column() is None or not words.take("on"):
        return None
    named = _named(words)
    if named is None:
        return None
    refusal = _forbidden(words.rest()) or _called(text.tokens)
    return refusal or Altered(*named)


def _named(words: Words) -> tuple[tuple[str | None, str], tuple[int, int]] | None:
    if words.ended:
        return None
    start = words.start
    name = words.name()
    return None if name is None else (name, (start, words.end))


def _after(text: Text, place: tuple[int, int]) -> Sequence[Token]:
    return [token for token in text.tokens if token.at >= place[1]]


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    clauses: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "other":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == "," and depth == 0:
                clauses.append([])
                continue
        clauses[-1].append(token)
    return clauses


def _clause(tokens: Sequence[Token], renamed: list[tuple[str, str]]) -> Deny | None:
    words = [t.text.lower() if t.kind == "word" else "" for t in tokens]
    if not words or words[0] not in _HEADS:
        shown = tokens[0].text.upper() if tokens else "Nothing"
        return _unsupported(f"{shown} is not accepted in ALTER TABLE.")
    if words[:2] == ["rename", "to"] or words[:2] == ["rename", "as"]:
        return _unsupported("A new name for the table has to be the only clause.")
    names = [t.text for t in tokens if t.kind in ("word", "quoted")]
    if words[:2] == ["rename", "column"] and len(names) == 5:
        renamed.append((names[4], names[2]))
    if words[0] == "change":
        at = 1 + (words[1:2] == ["column"])
        at += 2 * (words[at : at + 2] == ["if", "exists"])
        if len(tokens) > at + 1 and tokens[at].text != tokens[at + 1].text:
            renamed.append((tokens[at + 1].text, tokens[at].text))
    return _forbidden(tokens)


def _key(clauses: Sequence[Sequence[Token]]) -> Key | Deny | None:
    """The foreign key that an ALTER TABLE of one clause adds or drops."""
    every = [[t.text.lower() if t.kind == "word" else "" for t in c] for c in clauses]
    if not any("foreign" in words or "references" in words for words in every):
        return None
    tokens, words = clauses[0], every[0]
    if len(clauses) == 1:
        if words[:3] == ["drop", "foreign", "key"] and len(tokens) == 4:
            return Key(tokens[3].text, dropped=True)
        if words[:2] == ["add", "constraint"] and words[3:5] == ["foreign", "key"]:
            close = next((i for i, t in enumerate(tokens) if t.text == ")"), 0)
            inside = tokens[6:close]
            if tokens[5].text == "(" and all(t.text != "(" for t in inside):
                named = [t.text for t in inside if t.kind in ("word", "quoted")]
                return Key(tokens[2].text, tuple(named))
    return _unsupported(
        "A foreign key is added with a name (ADD CONSTRAINT name FOREIGN KEY (columns) REFERENCES "
        "...) or dropped, one to a statement and nothing beside it."
    )


def _forbidden(tokens: Sequence[Token]) -> Deny | None:
    for token in tokens:
        if token.kind == "word" and (token.text.lower() in _NEVER or token.text.startswith("@")):
            return _unsupported(f"{token.text.upper()} is not accepted in ALTER TABLE.")
    return None


def _called(tokens: Sequence[Token]) -> Deny | None:
    """Everything before a bracket is a native function, a type, or a word of the grammar."""
    for before, (token, after) in zip([None, *tokens], pairwise(tokens), strict=False):
        if after.text != "(" or after.kind != "other":
            continue
        dotted = before is not None and before.text == "."
        name = token.text.lower()
        index = (
            before is not None
            and before.kind in ("word", "quoted")
            and (
                before.text.lower()
                in ("key", "index", "references", "on", "unique", "fulltext", "exists")
            )
        )
        if index or (dotted and _referencing(tokens, token)):
            continue
        if token.kind == "quoted" or dotted or name not in NATIVE | KEYWORDS | _OPEN:
            return _unsupported(f"{token.text} is not accepted in ALTER TABLE.")
    return None


def _referencing(tokens: Sequence[Token], token: Token) -> bool:
    """Whether ``schema.table (`` stands after REFERENCES or ON."""
    at = list(tokens).index(token)
    return at >= 3 and tokens[at - 3].text.lower() in ("references", "on")


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)
