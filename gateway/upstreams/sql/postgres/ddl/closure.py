"""What a DROP removes, told by the catalog's own dependencies, with everything that putting it
back needs. Asked with an empty search path, so that definitions name schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.upstreams.sql.postgres.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A named object: ``catalog`` is the name of its system catalog."""

    catalog: str
    oid: int
    sub: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """One object that the DROP removes. ``kind``: relkind, or the like of other catalogs;
    ``owner``: the relation that it is part of, 0 where it stands alone; ``other``: the relation at
    the far end (of a foreign key); ``definition``: what makes it again; ``extra``: the kind's own,
    in words of the catalog; ``comment`` is empty where there is none."""

    catalog: str
    oid: int
    sub: int
    kind: str
    schema: str
    name: str
    identity: str
    owner: int
    other: int
    definition: str
    extra: str
    comment: str


# The rules are those of the server's own deletion: dependents go, and so does the whole that an
# internal part of it belongs to.
_CLOSURE = """
WITH RECURSIVE seeds AS (
  SELECT s.catalog::pg_catalog.regclass::oid AS classid, s.oid::oid AS objid, s.sub::int4 AS sub
  FROM ROWS FROM (unnest(%s::text[]), unnest(%s::int8[]), unnest(%s::int4[]))
       AS s(catalog, oid, sub)
), gone AS (
  SELECT classid, objid, sub FROM seeds
  UNION
  SELECT n.classid, n.objid, n.sub FROM gone g CROSS JOIN LATERAL (
    SELECT d.classid, d.objid, d.objsubid AS sub FROM pg_catalog.pg_depend d
     WHERE d.refclassid = g.classid AND d.refobjid = g.objid
       AND (g.sub = 0 OR d.refobjsubid = g.sub)
       AND (d.deptype IN ('a', 'i', 'P', 'S', 'x') OR d.deptype = 'n' AND %s)
    UNION ALL
    SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
     WHERE d.classid = g.classid AND d.objid = g.objid AND d.deptype = 'i' AND %s
  ) AS n
)
SELECT DISTINCT g.classid::pg_catalog.regclass::text, g.objid::int8, g.sub
FROM gone g
WHERE NOT (g.sub <> 0 AND EXISTS (SELECT FROM gone w WHERE w.classid = g.classid
                                   AND w.objid = g.objid AND w.sub = 0))"""

# One query for each catalog that something of is among what goes: there is more to plan in these
# than to run. ``g``: the object; ``i``: how the server names it.
_GIVEN = """
SELECT g.catalog, g.oid::int8, g.sub, {kind}, COALESCE({schema}, i.schema, '')::text,
  COALESCE({name}, i.name, '')::text, i.identity, COALESCE({owner}, 0)::int8,
  COALESCE({other}, 0)::int8, COALESCE({definition}, ''), COALESCE({extra}, ''),
  COALESCE(pg_catalog.obj_description(g.oid::oid, g.catalog::name), '')
FROM ROWS FROM (unnest(%s::text[]), unnest(%s::int8[]), unnest(%s::int4[])) AS g(catalog, oid, sub)
CROSS JOIN LATERAL pg_catalog.pg_identify_object(g.catalog::pg_catalog.regclass, g.oid::oid, g.sub)
  AS i
{joins}"""
_NOTHING = {
    "kind": "''",
    "schema": "NULL",
    "name": "NULL",
    "owner": "NULL",
    "other": "NULL",
    "definition": "NULL",
    "extra": "NULL",
    "joins": "",
}
_DESCRIBED = {
    "pg_class": {
        "kind": "COALESCE(c.relkind::text, '')",
        "schema": "n.nspname",
        "name": "c.relname",
        "owner": "ix.indrelid, owned.refobjid, toasted.oid",
        "definition": """
    CASE WHEN ix.indexrelid IS NOT NULL THEN pg_catalog.pg_get_indexdef(ix.indexrelid) END""",
        "extra": """
    CASE WHEN owned.refobjid IS NOT NULL THEN (SELECT b.attname::text
         FROM pg_catalog.pg_attribute b
         WHERE b.attrelid = owned.refobjid AND b.attnum = owned.refobjsubid) END,
    CASE WHEN ix.indexrelid IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_constraint b
              WHERE b.conindid = ix.indexrelid AND b.contype IN ('p', 'u', 'x')
                AND b.conrelid = ix.indrelid) THEN 'constraint'
         WHEN ix.indisclustered OR ix.indisreplident OR NOT ix.indisvalid THEN 'marked' END""",
        "joins": """
LEFT JOIN pg_catalog.pg_class c ON c.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index ix ON ix.indexrelid = c.oid
LEFT JOIN pg_catalog.pg_class toasted ON c.relkind = 't' AND toasted.reltoastrelid = c.oid
LEFT JOIN pg_catalog.pg_depend owned ON c.relkind = 'S' AND owned.classid = c.tableoid
  AND owned.objid = c.oid AND owned.refclassid = c.tableoid AND owned.refobjsubid > 0
  AND owned.deptype IN ('a', 'i')""",
    },
    "pg_proc": {
        "kind": "COALESCE(p.prokind::text, '')",
        "schema": "n.nspname",
        "name": "p.proname",
        "joins": """
LEFT JOIN pg_catalog.pg_proc p ON p.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace""",
    },
    "pg_type": {
        "kind": "COALESCE(t.typtype::text, '')",
        "schema": "n.nspname",
        "name": "t.typname",
        "owner": "CASE WHEN whole.relkind <> 'c' THEN whole.oid END, elements.typrelid",
        "joins": """
LEFT JOIN pg_catalog.pg_type t ON t.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class whole ON whole.oid = t.typrelid
LEFT JOIN pg_catalog.pg_type elements ON t.typelem <> 0 AND t.typcategory = 'A'
  AND elements.oid = t.typelem AND elements.typarray = t.oid""",
    },
    "pg_constraint": {
        "kind": "COALESCE(k.contype::text, '')",
        "schema": "n.nspname",
        "name": "k.conname",
        "owner": "k.conrelid",
        "other": "NULLIF(k.confrelid, 0), k.contypid",
        "definition": "CASE WHEN k.oid IS NOT NULL THEN pg_catalog.pg_get_constraintdef(k.oid) END",
        "extra": """
    CASE WHEN k.conparentid <> 0 THEN 'inherited' ELSE '' END
      || CASE WHEN NOT k.convalidated THEN ' unchecked' ELSE '' END""",
        "joins": """
LEFT JOIN pg_catalog.pg_constraint k ON k.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace""",
    },
    "pg_trigger": {
        "name": "g2.tgname",
        "owner": "g2.tgrelid",
        "definition": "CASE WHEN g2.oid IS NOT NULL THEN pg_catalog.pg_get_triggerdef(g2.oid) END",
        "extra": """
    CASE WHEN g2.tgisinternal THEN 'internal' WHEN g2.tgparentid <> 0 THEN 'inherited'
         ELSE g2.tgenabled::text END""",
        "joins": "LEFT JOIN pg_catalog.pg_trigger g2 ON g2.oid = g.oid::oid",
    },
    "pg_rewrite": {
        "name": "r.rulename",
        "owner": "r.ev_class",
        "definition": "CASE WHEN r.oid IS NOT NULL THEN pg_catalog.pg_get_ruledef(r.oid) END",
        "extra": "CASE WHEN r.rulename = '_RETURN' THEN 'internal' ELSE r.ev_enabled::text END",
        "joins": "LEFT JOIN pg_catalog.pg_rewrite r ON r.oid = g.oid::oid",
    },
    "pg_policy": {
        "name": "y.polname",
        "owner": "y.polrelid",
        "definition": """pg_catalog.format('AS %%s FOR %%s TO %%s',
         CASE WHEN y.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
         CASE y.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
              WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
         (SELECT string_agg(CASE WHEN o = 0 THEN 'PUBLIC'
                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o)) END, ', ' ORDER BY n)
            FROM unnest(y.polroles) WITH ORDINALITY AS roles(o, n)))
         || COALESCE(' USING (' || pg_catalog.pg_get_expr(y.polqual, y.polrelid) || ')', '')
         || COALESCE(' WITH CHECK (' || pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid) || ')',
                     '')""",
        "joins": "LEFT JOIN pg_catalog.pg_policy y ON y.oid = g.oid::oid",
    },
    "pg_statistic_ext": {
        "schema": "n.nspname",
        "name": "x.stxname",
        "owner": "x.stxrelid",
        "joins": """
LEFT JOIN pg_catalog.pg_statistic_ext x ON x.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace""",
    },
    "pg_attrdef": {
        "owner": "a.adrelid",
        "definition": "pg_catalog.pg_get_expr(a.adbin, a.adrelid)",
        "extra": """
    (SELECT CASE WHEN b.attgenerated <> '' THEN 'generated:' ELSE '' END || b.attname
         FROM pg_catalog.pg_attribute b WHERE b.attrelid = a.adrelid AND b.attnum = a.adnum)""",
        "joins": "LEFT JOIN pg_catalog.pg_attrdef a ON a.oid = g.oid::oid",
    },
    "pg_namespace": {
        "name": "s.nspname",
        "joins": "LEFT JOIN pg_catalog.pg_namespace s ON s.oid = g.oid::oid",
    },
    "pg_publication_rel": {
        "owner": "pr.prrelid",
        "extra": """
    (SELECT u.pubname::text FROM pg_catalog.pg_publication u WHERE u.oid = pr.prpubid)""",
        "joins": "LEFT JOIN pg_catalog.pg_publication_rel pr ON pr.oid = g.oid::oid",
    },
}


Reached = tuple[str, int, int]  # catalog, oid, sub


async def reached(
    session: Session, seeds: Sequence[Seed], *, cascades: bool = True
) -> list[Reached]:
    """Everything that goes with ``seeds``, themselves included. Without ``cascades`` what depends
    on them stays, and makes the server refuse."""
    named = _columns([(s.catalog, s.oid, s.sub) for s in seeds])
    rows = await session.rows(_CLOSURE, *named, cascades, cascades)
    return [(catalog.removeprefix("pg_catalog."), oid, sub) for catalog, oid, sub in rows]


async def closure(session: Session, seeds: Sequence[Seed], *, cascades: bool = True) -> list[Gone]:
    """``reached``, with what putting it back needs."""
    found = await reached(session, seeds, cascades=cascades)
    by_catalog: dict[str, list[Reached]] = {}
    for one in found:
        by_catalog.setdefault(one[0], []).append(one)
    query, values = "", list[Any]()
    for name, some in by_catalog.items():
        query += ("\nUNION ALL" if query else "") + _described(name)
        values += _columns(some)
    rows = await session.rows(f"{query} ORDER BY 1, 2, 3", *values) if found else []
    return [
        Gone(
            catalog=catalog,
            oid=oid,
            sub=sub,
            kind=kind,
            schema=schema,
            name=name,
            identity=identity or f"{catalog} {oid}",
            owner=owner,
            other=other,
            definition=definition,
            extra=extra,
            comment=comment,
        )
        for (
            catalog,
            oid,
            sub,
            kind,
            schema,
            name,
            identity,
            owner,
            other,
            definition,
            extra,
            comment,
        ) in rows
    ]


def _described(catalog: str) -> str:
    return _GIVEN.format(**{**_NOTHING, **_DESCRIBED.get(catalog, {})})


def _columns(found: Sequence[tuple[str, int, int]]) -> tuple[list[str], list[int], list[int]]:
    return [c for c, _, _ in found], [o for _, o, _ in found], [s for _, _, s in found]
