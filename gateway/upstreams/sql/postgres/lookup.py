"""What the catalog says about object ids and names that a statement uses. One query each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from gateway.upstreams.sql.postgres.functions import FIRST_USER_OID
from gateway.upstreams.sql.postgres.written import Named

Connection = psycopg.AsyncConnection[Any]

# Each part is asked for only where it is needed: planning them all costs more than running one.
_FUNCTIONS = """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
         p.oid::int8, n.nspname, p.proname, p.provolatile, p.pronargs, p.prokind, l.lanname))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid = ANY (%(functions)s::oid[])
"""
_OPERATORS = """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(o.oid::int8, n.nspname, p.proname))
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE o.oid = ANY (%(operators)s::oid[])
"""
_RELATIONS = """
WITH RECURSIVE below(root, relation) AS (
  SELECT o, o FROM pg_catalog.unnest(%(relations)s::oid[]) AS o
  UNION
  SELECT b.root, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.relation
)
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
         c.oid::int8, n.nspname, c.relname, c.relkind,
         (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attname)
                                     ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
         EXISTS (SELECT FROM below b JOIN pg_catalog.pg_class f ON f.oid = b.relation
                  WHERE b.root = c.oid AND f.relkind = 'f')))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(relations)s::oid[])
"""
_TYPES = """
WITH RECURSIVE inside(root, type) AS (
  SELECT o, o FROM pg_catalog.unnest(%(types)s::oid[]) AS o
  UNION
  SELECT i.root, part.type
    FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.type
   CROSS JOIN LATERAL (
     SELECT t.typelem AS type WHERE t.typelem <> 0
     UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
     UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
     UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
     UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
   ) part
)
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
         i.root::int8, t.oid::int8, n.nspname, t.typname, t.typtype, t.typinput::oid::int8,
         t.typoutput::oid::int8,
         (SELECT pg_catalog.json_agg(k.conbin::text) FROM pg_catalog.pg_constraint k
           WHERE k.contypid = t.oid AND k.conbin IS NOT NULL),
         COALESCE((SELECT r.rngcanonical::oid::int8 FROM pg_catalog.pg_range r
                    WHERE r.rngtypid = t.oid), 0)))
  FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.type
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
"""
_DEFAULTS = """
SELECT pg_catalog.json_agg(d.adbin::text) FROM pg_catalog.pg_attrdef d
 WHERE d.adrelid = ANY (%(targets)s::oid[])
"""
_PARTS = {
    "functions": _FUNCTIONS,
    "operators": _OPERATORS,
    "relations": _RELATIONS,
    "types": _TYPES,
    "targets": _DEFAULTS,
}

_TYPES_NAMED = """
SELECT t.oid::int8 FROM pg_catalog.pg_type t
 WHERE t.oid >= %s AND t.typname = ANY (%s::name[])
"""

_FUNCTIONS_NAMED = "SELECT p.oid::int8 FROM pg_catalog.pg_proc p WHERE p.proname = ANY (%s::name[])"

_RELATIONS_NAMED = """
SELECT COALESCE(n.nspname, w.schema, pg_catalog.current_schema()::text), c.relname, c.relkind
  FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]))
       WITH ORDINALITY AS w(schema, name, number)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(
         CASE WHEN w.schema IS NULL THEN pg_catalog.quote_ident(w.name)
              ELSE pg_catalog.quote_ident(w.schema) || '.' || pg_catalog.quote_ident(w.name) END)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY w.number
"""

# What TRUNCATE ... CASCADE clears beside the named tables.
_TRUNCATED_TOO = """
WITH RECURSIVE reached(relation) AS (
  SELECT pg_catalog.to_regclass(w)::oid FROM pg_catalog.unnest(%s::text[]) AS w
  UNION
  SELECT next.relation FROM reached r CROSS JOIN LATERAL (
    SELECT k.conrelid AS relation FROM pg_catalog.pg_constraint k
     WHERE k.contype = 'f' AND k.confrelid = r.relation
    UNION ALL
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.relation) next
)
SELECT n.nspname, c.relname FROM reached r JOIN pg_catalog.pg_class c ON c.oid = r.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2
"""


# Only one of the two is asked: no function and no type shadows one of the other kind.
_OTHERS_NAMED = """
SELECT COALESCE(w.schema, CASE WHEN w.kind IN ('type', 'domain')
         THEN (SELECT n.nspname FROM pg_catalog.pg_type t
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                WHERE t.oid = pg_catalog.to_regtype(pg_catalog.quote_ident(w.name)))
         ELSE (SELECT n.nspname FROM pg_catalog.pg_proc p
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                WHERE p.proname = w.name AND pg_catalog.pg_function_is_visible(p.oid) LIMIT 1) END,
       pg_catalog.current_schema()::text)
  FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]),
                  pg_catalog.unnest(%s::text[])) WITH ORDINALITY AS w(kind, schema, name, number)
 ORDER BY w.number
"""


@dataclass(frozen=True, slots=True)
class Function:
    schema: str
    name: str
    volatile: str
    arguments: int
    kind: str  # pg_proc.prokind
    language: str

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    name: str  # schema.table
    kind: str  # pg_class.relkind
    columns: dict[int, str]
    foreign: bool  # itself or a table below it lives elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """One type inside of another (or that other itself). ``checks``: printed expressions."""

    root: int
    oid: int
    name: str  # schema.type
    kind: str  # pg_type.typtype
    code: tuple[int, ...]  # its input, output and canonical functions
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    functions: dict[int, Function]
    operators: dict[int, str]  # qualified name of the function behind
    relations: dict[int, Relation]
    types: tuple[Type, ...]
    defaults: tuple[str, ...]  # printed expressions


async def by_oid(
    connection: Connection,
    *,
    functions: Iterable[int] = (),
    operators: Iterable[int] = (),
    relations: Iterable[int] = (),
    types: Iterable[int] = (),
    targets: Iterable[int] = (),
) -> Found:
    """Of operators and types, only those that users made need to be asked for. The plan stays
    with connections that keep any (see ``Pool``, ``agents``)."""
    wanted = {
        "functions": sorted(functions),
        "operators": sorted(operators),
        "relations": sorted(relations),
        "types": sorted(types),
        "targets": sorted(targets),
    }
    asked = [part for part, oids in wanted.items() if oids]
    row: tuple[Any, ...] = ()
    if asked:
        query = f"SELECT {', '.join(f'({_PARTS[part]})' for part in asked)}"
        values = {part: wanted[part] for part in asked}
        cursor = await connection.execute(query, values, prepare=True)
        row = await cursor.fetchone() or ()
    answers = {part: answer or [] for part, answer in zip(asked, row, strict=True)}
    return Found(
        functions={oid: Function(*facts) for oid, *facts in answers.get("functions", ())},
        operators={oid: f"{schema}.{name}" for oid, schema, name in answers.get("operators", ())},
        relations={
            oid: Relation(
                name=f"{schema}.{name}",
                kind=kind,
                columns={number: column for number, column in columns or ()},
                foreign=foreign,
            )
            for oid, schema, name, kind, columns, foreign in answers.get("relations", ())
        },
        types=tuple(_type(*t) for t in answers.get("types", ())),
        defaults=tuple(answers.get("targets", ())),
    )


def _type(
    root: int,
    oid: int,
    schema: str,
    name: str,
    kind: str,
    read: int,
    write: int,
    checks: list[str] | None,
    canonical: int,
) -> Type:
    return Type(
        root=root,
        oid=oid,
        name=f"{schema}.{name}",
        kind=kind,
        code=(read, write, canonical),
        checks=tuple(checks or ()),
    )


async def types_named(connection: Connection, names: Collection[str]) -> list[int]:
    """Types of these names that users made, in whatever schema."""
    if not names:
        return []
    cursor = await connection.execute(_TYPES_NAMED, (FIRST_USER_OID, sorted(names)))
    return [oid for (oid,) in await cursor.fetchall()]


async def functions_named(connection: Connection, names: Collection[str]) -> list[int]:
    """Every function of these names, in whatever schema."""
    if not names:
        return []
    cursor = await connection.execute(_FUNCTIONS_NAMED, (sorted(names),))
    return [oid for (oid,) in await cursor.fetchall()]


async def relations_named(
    connection: Connection, named: Collection[Named]
) -> list[tuple[str, str | None]]:
    """For each, ``schema.name`` and ``relkind``, ``None`` where there is no such relation (the
    name is then where one would be made)."""
    if not named:
        return []
    cursor = await connection.execute(
        _RELATIONS_NAMED, ([n.schema for n in named], [n.name for n in named])
    )
    rows = await cursor.fetchall()
    return [(f"{row[0]}.{n.name}", row[2]) for row, n in zip(rows, named, strict=True)]


async def others_named(connection: Connection, named: Collection[Named]) -> list[str]:
    """For each routine or type, ``schema.name``."""
    if not named:
        return []
    cursor = await connection.execute(
        _OTHERS_NAMED,
        ([n.kind for n in named], [n.schema for n in named], [n.name for n in named]),
    )
    rows = await cursor.fetchall()
    return [f"{row[0]}.{n.name}" for row, n in zip(rows, named, strict=True)]


async def truncated_too(connection: Connection, tables: Collection[str]) -> list[str]:
    """All tables that a TRUNCATE ... CASCADE of ``tables`` (quoted names) clears."""
    cursor = await connection.execute(_TRUNCATED_TOO, (list(tables),))
    return [f"{schema}.{name}" for schema, name in await cursor.fetchall()]
