"""What a text says by itself, before any server is asked. Plain values: they travel between
processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.upstreams.sql.postgres.nearby import Near


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a schema statement names: a relation, schema, function or type. ``schema`` is ``None``
    where none is written; ``name`` is ``*`` for everything of that kind in a schema. ``fresh``:
    made by the statement, so that it need not exist. ``only``: ONLY stands before it. ``part``: a
    trigger, rule or policy of the relation that is named. ``arguments``: the types of a function's
    parameters, ``None`` where none are written."""

    verb: str
    kind: str
    schema: str | None
    name: str
    columns: tuple[str, ...] = ()
    bounded: bool = True
    fresh: bool = False
    only: bool = False
    part: str = ""
    arguments: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One INSERT, UPDATE, DELETE or MERGE in the text, at any depth."""

    verb: str
    bounded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One statement.

    ``sql``: its own part of the text. ``asks``: the query that the server is asked about, the
    statement itself or the one that EXPLAIN, CREATE TABLE AS or CREATE VIEW holds; ``None`` where
    there is none. ``changes``: writes in the text. ``named``: what a schema statement names.
    ``functions``, ``types``, ``relations``: bare names that the text spells, well-known types
    left out.
    ``param_types``: for each ``$n`` up to the highest used one, 0 where the server infers the
    type, or that of text where the statement does not use it. ``near``: where the rows that it
    changes should be. ``restarts``: sets sequences anew. ``alters``: the kinds of change
    that an ALTER TABLE makes, in the grammar's words. ``code``: the text of a DO; ``calls``: the
    procedure of a CALL. ``cursor``: what a cursor of the same text reads, and may lock meanwhile.
    ``loads``: the table that a COPY fills, with the columns that it names.
    """

    sql: str
    verb: str
    asks: str | None
    explains: bool = False
    locks: bool = False
    changes: tuple[Change, ...] = ()
    named: tuple[Named, ...] = ()
    cascades: bool = False
    restarts: bool = False
    alters: tuple[str, ...] = ()
    functions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    relations: frozenset[str] = frozenset()
    param_types: tuple[int, ...] = ()
    near: Near | None = None
    code: str | None = None
    calls: Named | None = None
    cursor: bool = False
    loads: Named | None = None

    @property
    def schema_change(self) -> bool:
        return bool(self.named) and self.verb != "truncate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """A text that the grammar takes. ``parameters``: how many ``$n`` it has."""

    text: str
    statements: tuple[Written, ...]
    parameters: int = 0
    warnings: tuple[str, ...] = field(default=())
