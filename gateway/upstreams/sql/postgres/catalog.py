"""What the catalog says about a table whose rows are captured or restored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import Identifier

from gateway.upstreams.sql.postgres.questions import Answer, Question, answers, as_one
from gateway.upstreams.sql.postgres.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    number: int
    name: str
    type: str  # as the server writes it, with its modifier: numeric(10,2)
    type_oid: int
    not_null: bool
    generated: bool
    identity: str  # "a" always, "d" by default, "" none
    collation: int
    reg: str  # "oid" or "oid[]" where the text form would depend on the search path, else ""
    binary: bool  # whether the type has a binary form, throughout

    @property
    def quoted(self) -> str:
        return Identifier(self.name).as_string()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Columns that name one row: primary key, or a unique index over columns that cannot be
    NULL. ``operators`` are the index's own equalities, schema-qualified."""

    columns: tuple[str, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``stored``: the columns that images hold, generated ones left out. ``unique``: columns whose
    change may meet a unique or exclusion constraint; all where an index is partial or computed.
    ``deferrable``: unique constraints that a trigger checks, so that nothing does while triggers
    are off.
    ``ancestors``: itself and the partitioned tables above it, nearest first."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: Key | None
    unique: frozenset[str]
    deferrable: tuple[Key, ...]
    ancestors: tuple[int, ...]

    @property
    def resource(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return Identifier(self.schema, self.name).as_string()

    @property
    def stored(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if not c.generated)

    @property
    def binary(self) -> bool:
        """Whether rows have a binary form that reads back as it was written."""
        return all(c.binary for c in self.stored)

    @property
    def fingerprint(self) -> str:
        """Changes whenever images of one table state could be misread in another."""
        return self._digest([[c.number, *_facts(c)] for c in self.columns])

    @property
    def likeness(self) -> str:
        """``fingerprint``, whatever the numbers and the order of columns."""
        return self._digest([_facts(c) for c in sorted(self.columns, key=lambda c: c.name)])

    def _digest(self, facts: list[list[object]]) -> str:
        key = [list(self.key.columns), list(self.key.operators)] if self.key else None
        text = json.dumps([self.oid, self.schema, self.name, facts, key])
        return hashlib.sha256(text.encode()).hexdigest()


def _facts(c: Column) -> list[object]:
    return [c.name, c.type, c.type_oid, c.not_null, c.generated, c.identity, c.collation]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """``operators``: referenced column = referencing column; ``collations``: what stands behind
    the latter, which the server compares as the former."""

    name: str
    child: int
    child_name: str  # quoted, with ONLY where rows of heirs do not count
    child_columns: tuple[str, ...]
    parent: int
    parent_name: str
    parent_columns: tuple[str, ...]
    operators: tuple[str, ...]
    collations: tuple[str, ...]
    acts: bool  # deletes or updates of the parent change the child
    temporal: bool
    valid: bool = True  # False: NOT VALID, so that rows may refer to nothing


_TABLES = """
SELECT c.oid::int8, n.nspname, c.relname,
       COALESCE((SELECT array_agg(p.relid::oid::int8 ORDER BY p.i)
                 FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY AS p(relid, i)),
                ARRAY[c.oid::int8])
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(oids)s::int8[]::oid[]) AND c.relkind = 'r'"""

# Read back from its binary form, a tsquery is another value to ``*=``.
_COLUMNS = """
SELECT a.attrelid::int8, a.attnum::int4, a.attname,
       pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid::int8, a.attnotnull,
       a.attgenerated <> '', a.attidentity::text, a.attcollation::int8,
       CASE WHEN t.typnamespace <> 'pg_catalog'::regnamespace THEN ''
            WHEN t.typname LIKE 'reg%%' THEN 'oid' WHEN t.typname LIKE '\\_reg%%' THEN 'oid[]'
            ELSE '' END,
       CASE WHEN t.typtype = 'b' AND t.typelem = 0
         THEN t.typsend <> 0 AND t.typreceive <> 0
              AND t.oid <> 'pg_catalog.tsquery'::pg_catalog.regtype
         ELSE NOT EXISTS (
         WITH RECURSIVE part(oid) AS (
           SELECT t.oid
           UNION
           SELECT n.oid FROM part JOIN pg_catalog.pg_type p ON p.oid = part.oid
           CROSS JOIN LATERAL (
             SELECT p.typelem AS oid WHERE p.typelem <> 0
             UNION ALL SELECT p.typbasetype WHERE p.typbasetype <> 0
             UNION ALL SELECT f.atttypid FROM pg_catalog.pg_attribute f
               WHERE p.typrelid <> 0 AND f.attrelid = p.typrelid AND f.attnum > 0
                 AND NOT f.attisdropped
             UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = p.oid
             UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = p.oid
           ) n)
         SELECT FROM part JOIN pg_catalog.pg_type p ON p.oid = part.oid
         WHERE p.typsend = 0 OR p.typreceive = 0
            OR p.oid = 'pg_catalog.tsquery'::pg_catalog.regtype) END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = ANY(%(oids)s::int8[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum"""

# usable: a key that names every row, whose equality is the type's default and its own collation.
# OFFSET 0: by index; a catalog without statistics would be read whole to find a few rows.
_INDEXES = """
SELECT i.indrelid::int8, i.indisprimary,
       i.indpred IS NOT NULL OR i.indexprs IS NOT NULL OR i.indisexclusion AS opaque,
       array_agg(a.attname::text ORDER BY k.ord),
       array_agg(pg_catalog.format('OPERATOR(%%I.%%s)', n.nspname, o.oprname) ORDER BY k.ord),
       bool_and(a.attnotnull AND a.attgenerated = '' AND oc.opcdefault AND o.oid IS NOT NULL
                AND i.indcollation[k.ord - 1] = a.attcollation)
         AND i.indisvalid AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL,
       i.indimmediate
FROM pg_catalog.pg_index i
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
LEFT JOIN LATERAL (SELECT * FROM pg_catalog.pg_attribute f
  WHERE f.attrelid = i.indrelid AND f.attnum = k.attnum OFFSET 0) AS a ON true
LEFT JOIN LATERAL (SELECT * FROM pg_catalog.pg_opclass f
  WHERE f.oid = i.indclass[k.ord - 1] OFFSET 0) AS oc ON true
LEFT JOIN LATERAL (SELECT amopopr FROM pg_catalog.pg_amop f
  WHERE f.amopfamily = oc.opcfamily AND f.amopstrategy = 3
    AND f.amoplefttype = oc.opcintype AND f.amoprighttype = oc.opcintype OFFSET 0) AS am ON true
LEFT JOIN LATERAL (SELECT oid, oprname, oprnamespace FROM pg_catalog.pg_operator f
  WHERE f.oid = am.amopopr OFFSET 0) AS o ON true
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE i.indrelid = ANY(%(oids)s::int8[]::oid[]) AND (i.indisunique OR i.indisexclusion)
  AND k.ord <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indisvalid, i.indisexclusion,
         i.indimmediate, i.indpred IS NULL, i.indexprs IS NULL, i.indpred IS NOT NULL,
         i.indexprs IS NOT NULL
ORDER BY i.indrelid, i.indisprimary DESC, count(*), i.indexrelid"""

_FOREIGN_KEYS = """
WITH family(oid) AS (
  SELECT o::oid FROM pg_catalog.unnest(%(oids)s::int8[]) AS o
  UNION
  SELECT p.relid::oid FROM pg_catalog.unnest(%(oids)s::int8[]) AS o
  CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(o::oid::regclass) AS p(relid))
SELECT k.conname, k.conrelid::int8, k.confrelid::int8,
       CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END
         || pg_catalog.format('%%I.%%I', cn.nspname, c.relname),
       CASE WHEN p.relkind = 'p' THEN '' ELSE 'ONLY ' END
         || pg_catalog.format('%%I.%%I', pn.nspname, p.relname),
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY x(n, i)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.n
             ORDER BY x.i),
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY x(n, i)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.n
             ORDER BY x.i),
       ARRAY(SELECT pg_catalog.format('OPERATOR(%%I.%%s)', n.nspname, o.oprname)
             FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY x(op, i)
             JOIN pg_catalog.pg_operator o ON o.oid = x.op
             JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace ORDER BY x.i),
       ARRAY(SELECT CASE WHEN f.attcollation <> r.attcollation AND f.attcollation <> 0
                    THEN pg_catalog.format(' COLLATE %%I.%%I', n.nspname, o.collname) ELSE '' END
             FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey))
                  WITH ORDINALITY x(child, parent, i)
             JOIN pg_catalog.pg_attribute r ON r.attrelid = k.conrelid AND r.attnum = x.child
             JOIN pg_catalog.pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = x.parent
             LEFT JOIN pg_catalog.pg_collation o ON o.oid = f.attcollation
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace ORDER BY x.i),
       k.confupdtype NOT IN ('a', 'r') OR k.confdeltype NOT IN ('a', 'r'),
       COALESCE((pg_catalog.to_jsonb(k) ->> 'conperiod')::bool, false), k.convalidated
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
  AND (k.conrelid IN (SELECT oid FROM family) OR k.confrelid IN (SELECT oid FROM family))
ORDER BY k.oid"""


OF_TABLES = (
    Question(text=_COLUMNS, width=11),
    Question(text=_INDEXES, width=7),
    Question(text=_TABLES, width=4),
)
OF_KEYS = Question(text=_FOREIGN_KEYS, width=12)


async def tables(session: Session, oids: Sequence[int]) -> dict[int, Table]:
    """Those of ``oids`` that are ordinary tables now."""
    return tables_of(answers(await session.one(as_one(OF_TABLES), oids=list(oids))))


def tables_of(found: Sequence[Answer]) -> dict[int, Table]:
    """``found``: the answers to ``OF_TABLES``."""
    all_columns, all_indexes, all_tables = found
    columns: dict[int, list[Column]] = {}
    for oid, *rest in all_columns:
        columns.setdefault(oid, []).append(_column(rest))
    indexes: dict[int, list[tuple[Any, ...]]] = {}
    for oid, *rest in all_indexes:
        indexes.setdefault(oid, []).append(tuple(rest))
    made: dict[int, Table] = {}
    for oid, schema, name, ancestors in all_tables:
        own = tuple(columns.get(oid, ()))
        own_indexes = indexes.get(oid, [])
        key, unique = _keys(own_indexes, own)
        made[oid] = Table(
            oid=oid,
            schema=schema,
            name=name,
            columns=own,
            key=key,
            unique=unique,
            deferrable=tuple(
                Key(columns=tuple(names), operators=tuple(operators))
                for _, _, names, operators, _, immediate in own_indexes
                if not immediate
            ),
            ancestors=tuple(ancestors),
        )
    return made


def _column(row: Sequence[Any]) -> Column:
    number, name, type_, type_oid, not_null, generated, identity, collation, reg, binary = row
    return Column(
        number=number,
        name=name,
        type=type_,
        type_oid=type_oid,
        not_null=not_null,
        generated=generated,
        identity=identity,
        collation=collation,
        reg=reg,
        binary=binary,
    )


def _keys(
    indexes: Sequence[tuple[Any, ...]], columns: Sequence[Column]
) -> tuple[Key | None, frozenset[str]]:
    key: Key | None = None
    unique: set[str] = set()
    for _primary, opaque, names, operators, usable, _immediate in indexes:
        if opaque:
            unique.update(c.name for c in columns)
        unique.update(name for name in names if name is not None)
        if usable and key is None:
            key = Key(columns=tuple(names), operators=tuple(operators))
    return key, frozenset(unique)


async def foreign_keys(session: Session, found: Sequence[Table]) -> tuple[ForeignKey, ...]:
    """Every foreign key from or to one of the tables, or a partitioned table above it."""
    row = await session.one(as_one([OF_KEYS]), oids=[table.oid for table in found])
    return foreign_keys_of(answers(row)[0])


def foreign_keys_of(rows: Answer) -> tuple[ForeignKey, ...]:
    """``rows``: the answer to ``OF_KEYS``."""
    return tuple(
        ForeignKey(
            name=name,
            child=child,
            parent=parent,
            child_name=child_name,
            parent_name=parent_name,
            child_columns=tuple(child_columns),
            parent_columns=tuple(parent_columns),
            operators=tuple(operators),
            collations=tuple(collations),
            acts=acts,
            temporal=temporal,
            valid=valid,
        )
        for (
            name,
            child,
            parent,
            child_name,
            parent_name,
            child_columns,
            parent_columns,
            operators,
            collations,
            acts,
            temporal,
            valid,
        ) in rows
    )
