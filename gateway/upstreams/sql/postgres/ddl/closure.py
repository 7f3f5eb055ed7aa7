"""What a DROP removes, told by the catalog's own dependencies, with everything that putting it
back needs. Asked with an empty search path, so that definitions name schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

_DESCRIBED = """
SELECT g.catalog, g.oid::int8, g.sub,
  COALESCE(c.relkind::text, p.prokind::text, k.contype::text, t.typtype::text, ''),
  COALESCE(n.nspname, i.schema, ''),
  COALESCE(c.relname, p.proname, k.conname, g2.tgname, r.rulename, y.polname, x.stxname,
    t.typname, s.nspname, i.name, '')::text,
  i.identity,
  COALESCE(ix.indrelid, k.conrelid, g2.tgrelid, r.ev_class, y.polrelid, x.stxrelid, a.adrelid,
    pr.prrelid, owned.refobjid, toasted.oid,
    CASE WHEN whole.relkind <> 'c' THEN whole.oid END, elements.typrelid, 0)::int8,
  COALESCE(NULLIF(k.confrelid, 0), k.contypid, 0)::int8,
  COALESCE(
    CASE WHEN ix.indexrelid IS NOT NULL THEN pg_catalog.pg_get_indexdef(ix.indexrelid) END,
    CASE WHEN k.oid IS NOT NULL THEN pg_catalog.pg_get_constraintdef(k.oid) END,
    CASE WHEN g2.oid IS NOT NULL THEN pg_catalog.pg_get_triggerdef(g2.oid) END,
    CASE WHEN r.oid IS NOT NULL THEN pg_catalog.pg_get_ruledef(r.oid) END,
    CASE WHEN a.oid IS NOT NULL THEN pg_catalog.pg_get_expr(a.adbin, a.adrelid) END,
    CASE WHEN y.oid IS NOT NULL THEN pg_catalog.format('AS %%s FOR %%s TO %%s',
         CASE WHEN y.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
         CASE y.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
              WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
         (SELECT string_agg(CASE WHEN o = 0 THEN 'PUBLIC'
                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o)) END, ', ' ORDER BY n)
            FROM unnest(y.polroles) WITH ORDINALITY AS roles(o, n)))
         || COALESCE(' USING (' || pg_catalog.pg_get_expr(y.polqual, y.polrelid) || ')', '')
         || COALESCE(' WITH CHECK (' || pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid) || ')',
                     '') END,
    ''),
  COALESCE(
    CASE WHEN k.oid IS NOT NULL THEN CASE WHEN k.conparentid <> 0 THEN 'inherited' ELSE '' END
           || CASE WHEN NOT k.convalidated THEN ' unchecked' ELSE '' END END,
    CASE WHEN g2.oid IS NOT NULL THEN CASE WHEN g2.tgisinternal THEN 'internal'
         WHEN g2.tgparentid <> 0 THEN 'inherited' ELSE g2.tgenabled::text END END,
    CASE WHEN r.oid IS NOT NULL THEN CASE WHEN r.rulename = '_RETURN' THEN 'internal'
         ELSE r.ev_enabled::text END END,
    CASE WHEN a.oid IS NOT NULL THEN (SELECT CASE WHEN b.attgenerated <> '' THEN 'generated:'
         ELSE '' END || b.attname FROM pg_catalog.pg_attribute b
         WHERE b.attrelid = a.adrelid AND b.attnum = a.adnum) END,
    CASE WHEN pr.oid IS NOT NULL THEN (SELECT u.pubname::text FROM pg_catalog.pg_publication u
         WHERE u.oid = pr.prpubid) END,
    CASE WHEN owned.refobjid IS NOT NULL THEN (SELECT b.attname::text
         FROM pg_catalog.pg_attribute b
         WHERE b.attrelid = owned.refobjid AND b.attnum = owned.refobjsubid) END,
    CASE WHEN ix.indexrelid IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_constraint b
              WHERE b.conindid = ix.indexrelid AND b.contype IN ('p', 'u', 'x')
                AND b.conrelid = ix.indrelid) THEN 'constraint'
         WHEN ix.indisclustered OR ix.indisreplident OR NOT ix.indisvalid THEN 'marked' END,
    ''),
  COALESCE(pg_catalog.obj_description(g.oid::oid, g.catalog::name), '')
FROM ROWS FROM (unnest(%s::text[]), unnest(%s::int8[]), unnest(%s::int4[])) AS g(catalog, oid, sub)
CROSS JOIN LATERAL pg_catalog.pg_identify_object(g.catalog::pg_catalog.regclass, g.oid::oid, g.sub)
  AS i
LEFT JOIN pg_catalog.pg_class c ON g.catalog = 'pg_class' AND c.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_index ix ON ix.indexrelid = c.oid
LEFT JOIN pg_catalog.pg_class toasted ON c.relkind = 't' AND toasted.reltoastrelid = c.oid
LEFT JOIN pg_catalog.pg_depend owned ON c.relkind = 'S' AND owned.classid = c.tableoid
  AND owned.objid = c.oid AND owned.refclassid = c.tableoid AND owned.refobjsubid > 0
  AND owned.deptype IN ('a', 'i')
LEFT JOIN pg_catalog.pg_proc p ON g.catalog = 'pg_proc' AND p.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_type t ON g.catalog = 'pg_type' AND t.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_class whole ON whole.oid = t.typrelid
LEFT JOIN pg_catalog.pg_type elements ON t.typelem <> 0 AND t.typcategory = 'A'
  AND elements.oid = t.typelem AND elements.typarray = t.oid
LEFT JOIN pg_catalog.pg_constraint k ON g.catalog = 'pg_constraint' AND k.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_trigger g2 ON g.catalog = 'pg_trigger' AND g2.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_rewrite r ON g.catalog = 'pg_rewrite' AND r.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_policy y ON g.catalog = 'pg_policy' AND y.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_statistic_ext x ON g.catalog = 'pg_statistic_ext' AND x.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_attrdef a ON g.catalog = 'pg_attrdef' AND a.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace s ON g.catalog = 'pg_namespace' AND s.oid = g.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = COALESCE(c.relnamespace, p.pronamespace,
  k.connamespace, x.stxnamespace, t.typnamespace)
LEFT JOIN pg_catalog.pg_publication_rel pr ON g.catalog = 'pg_publication_rel'
  AND pr.oid = g.oid::oid
ORDER BY 1, 2, 3"""


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
    rows = await session.rows(_DESCRIBED, *_columns(found)) if found else []
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


def _columns(found: Sequence[tuple[str, int, int]]) -> tuple[list[str], list[int], list[int]]:
    return [c for c, _, _ in found], [o for _, o, _ in found], [s for _, _, s in found]
