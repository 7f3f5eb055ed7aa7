"""How objects look, part by part and without the numbers that the server gives them: equal shapes
give equal dumps of the schema. Asked with an empty search path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.model import Json
from gateway.upstreams.sql.postgres.session import Session

Shape = Mapping[str, dict[str, Json]]  # "relation 16384 column id" -> what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The objects whose shapes are compared, by object id. ``defaults``: the roles whose default
    privileges are."""

    relations: frozenset[int] = frozenset()
    functions: frozenset[int] = frozenset()
    types: frozenset[int] = frozenset()
    schemas: frozenset[int] = frozenset()
    defaults: frozenset[int] = frozenset()

    def as_json(self) -> dict[str, list[int]]:
        return {
            "relations": sorted(self.relations),
            "functions": sorted(self.functions),
            "types": sorted(self.types),
            "schemas": sorted(self.schemas),
            "defaults": sorted(self.defaults),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Iterable[int]]) -> Scope:
        return cls(**{name: frozenset(oids) for name, oids in data.items()})

    def __or__(self, other: Scope) -> Scope:
        return Scope(
            relations=self.relations | other.relations,
            functions=self.functions | other.functions,
            types=self.types | other.types,
            schemas=self.schemas | other.schemas,
            defaults=self.defaults | other.defaults,
        )


_CLASS_MINUS = (
    "{oid,relnamespace,relfilenode,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,"
    "relminmxid,relhasrules,relhastriggers,relhassubclass,relhasindex,relnatts,relchecks,"
    "reltoastrelid,relpartbound,relrewrite,reltype,relowner,relam,reltablespace}"
)
_ATTRIBUTE_MINUS = (
    "{attrelid,attnum,attcacheoff,attmissingval,atthasmissing,atthasdef,attisdropped}"
)
_SHAPE = f"""
WITH rel AS (
  SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = ANY (%(relations)s::int8[]::oid[])
), cls(oid, shape) AS (
  SELECT c.oid, (pg_catalog.to_jsonb(c) - '{_CLASS_MINUS}'::text[]) ||
      pg_catalog.jsonb_build_object('schema', n.nspname, 'relacl', CASE WHEN c.relacl::text <>
        pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
        c.relowner)::text
        THEN c.relacl END,
      'owner', pg_catalog.pg_get_userbyid(c.relowner),
      'method', (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam),
      'tablespace',
      (SELECT s.spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = c.reltablespace),
      'bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid),
      'comment', pg_catalog.obj_description(c.oid, 'pg_class'))
  FROM (SELECT r.oid FROM rel r
        UNION ALL SELECT i.indexrelid FROM rel r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid)
       AS w(oid)
  JOIN pg_catalog.pg_class c ON c.oid = w.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
)
SELECT pg_catalog.concat('relation ', r.oid::int8, ' itself'),
       cls.shape || pg_catalog.jsonb_build_object(
         'view', pg_catalog.pg_get_viewdef(CASE WHEN r.relkind IN ('v', 'm') THEN r.oid END),
         'toast', (SELECT pg_catalog.to_jsonb(s.reloptions) FROM pg_catalog.pg_class s
                    WHERE s.oid = r.reltoastrelid),
         'key', pg_catalog.pg_get_partkeydef(CASE WHEN r.relkind = 'p' THEN r.oid END),
         'parents', (SELECT string_agg(h.inhparent::text, ' ' ORDER BY h.inhseqno)
                       FROM pg_catalog.pg_inherits h WHERE h.inhrelid = r.oid))
  FROM rel r JOIN cls ON cls.oid = r.oid
UNION ALL
SELECT pg_catalog.concat('relation ', a.attrelid::int8, ' column ', a.attname),
       (pg_catalog.to_jsonb(a) - '{_ATTRIBUTE_MINUS}'::text[]) || pg_catalog.jsonb_build_object(
         'place', rank() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
         'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
         'collation', (SELECT pg_catalog.format('%%I.%%I', n.nspname, o.collname)
                         FROM pg_catalog.pg_collation o
                         JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
                        WHERE o.oid = a.attcollation),
         'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
         'comment', pg_catalog.col_description(a.attrelid, a.attnum))
  FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'S'
UNION ALL
SELECT pg_catalog.concat('relation ', k.conrelid::int8, ' constraint ', k.conname),
       pg_catalog.jsonb_build_object('def', pg_catalog.pg_get_constraintdef(k.oid),
         'type', k.contype, 'checked', k.convalidated, 'local', k.conislocal,
         'inherited', k.coninhcount, 'parent', k.conparentid <> 0, 'noinherit', k.connoinherit,
         'comment', pg_catalog.obj_description(k.oid, 'pg_constraint'))
  FROM rel r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
UNION ALL
SELECT pg_catalog.concat('relation ', i.indrelid::int8, ' index ', cls.shape ->> 'relname'),
       cls.shape || pg_catalog.jsonb_build_object('def', pg_catalog.pg_get_indexdef(i.indexrelid),
         'clustered', i.indisclustered, 'identity', i.indisreplident, 'valid', i.indisvalid,
         'constraint', (SELECT k.conname FROM pg_catalog.pg_constraint k
                         WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
                           AND k.conrelid = i.indrelid),
         'targets', (SELECT string_agg(a.attstattarget::text, ',' ORDER BY a.attnum)
                       FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indexrelid),
         'parent', (SELECT h.inhparent::pg_catalog.regclass::text FROM pg_catalog.pg_inherits h
                     WHERE h.inhrelid = i.indexrelid))
  FROM rel r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid JOIN cls ON cls.oid = i.indexrelid
UNION ALL
SELECT pg_catalog.concat('relation ', g.tgrelid::int8, ' trigger ', g.tgname),
       pg_catalog.jsonb_build_object('def', pg_catalog.pg_get_triggerdef(g.oid),
         'enabled', g.tgenabled, 'comment', pg_catalog.obj_description(g.oid, 'pg_trigger'))
  FROM rel r JOIN pg_catalog.pg_trigger g ON g.tgrelid = r.oid WHERE NOT g.tgisinternal
UNION ALL
SELECT pg_catalog.concat('relation ', w.ev_class::int8, ' rule ', w.rulename),
       pg_catalog.jsonb_build_object('def', pg_catalog.pg_get_ruledef(w.oid),
         'enabled', w.ev_enabled, 'comment', pg_catalog.obj_description(w.oid, 'pg_rewrite'))
  FROM rel r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT pg_catalog.concat('relation ', y.polrelid::int8, ' policy ', y.polname),
       pg_catalog.jsonb_build_object('for', y.polcmd, 'permissive', y.polpermissive,
         'roles', (SELECT string_agg(CASE WHEN o = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(
              pg_catalog.pg_get_userbyid(o)) END, ', ' ORDER BY place)
            FROM unnest(y.polroles) WITH ORDINALITY AS given(o, place)),
         'using', pg_catalog.pg_get_expr(y.polqual, y.polrelid),
         'check', pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid),
         'comment', pg_catalog.obj_description(y.oid, 'pg_policy'))
  FROM rel r JOIN pg_catalog.pg_policy y ON y.polrelid = r.oid
UNION ALL
SELECT pg_catalog.concat('relation ', x.stxrelid::int8, ' statistics ', x.stxname),
       pg_catalog.jsonb_build_object('def', pg_catalog.pg_get_statisticsobjdef(x.oid),
         'target', x.stxstattarget, 'owner', pg_catalog.pg_get_userbyid(x.stxowner),
         'schema', x.stxnamespace::pg_catalog.regnamespace::text,
         'comment', pg_catalog.obj_description(x.oid, 'pg_statistic_ext'))
  FROM rel r JOIN pg_catalog.pg_statistic_ext x ON x.stxrelid = r.oid
UNION ALL
SELECT pg_catalog.concat('relation ', u.prrelid::int8, ' publication ', b.pubname),
       pg_catalog.jsonb_build_object('rows', {{rows}}, 'columns', {{columns}})
  FROM rel r JOIN pg_catalog.pg_publication_rel u ON u.prrelid = r.oid
  JOIN pg_catalog.pg_publication b ON b.oid = u.prpubid
UNION ALL
SELECT pg_catalog.concat('relation ', s.seqrelid::int8, ' sequence'),
       (pg_catalog.to_jsonb(s) - 'seqrelid'::text) || pg_catalog.jsonb_build_object(
         'type', pg_catalog.format_type(s.seqtypid, NULL),
         'owned', (SELECT pg_catalog.concat(d.refobjid::int8, '.', a.attname, d.deptype)
            FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a
              ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
           WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = r.oid
             AND d.refclassid = d.classid AND d.deptype IN ('a', 'i')))
  FROM rel r JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.oid
UNION ALL
SELECT pg_catalog.concat('function ', p.oid::int8), pg_catalog.jsonb_build_object(
         'schema', n.nspname, 'name', p.proname,
         'def', CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) END,
         'arguments', pg_catalog.pg_get_function_identity_arguments(p.oid), 'kind', p.prokind,
         'owner', pg_catalog.pg_get_userbyid(p.proowner),
         'acl', CASE WHEN p.proacl::text <> pg_catalog.acldefault('f', p.proowner)::text
                     THEN p.proacl END,
         'comment', pg_catalog.obj_description(p.oid, 'pg_proc'))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid = ANY (%(functions)s::int8[]::oid[])
UNION ALL
SELECT pg_catalog.concat('type ', t.oid::int8), pg_catalog.jsonb_build_object(
         'schema', n.nspname, 'name', t.typname, 'owner', pg_catalog.pg_get_userbyid(t.typowner),
         'acl', CASE WHEN t.typacl::text <> pg_catalog.acldefault('T', t.typowner)::text
                     THEN t.typacl END, 'default', t.typdefault, 'not null', t.typnotnull,
         'over', pg_catalog.format_type(NULLIF(t.typbasetype, 0), t.typtypmod),
         'labels', (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
                      FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
         'checks', (SELECT array_agg(k.conname || ' ' || pg_catalog.pg_get_constraintdef(k.oid)
                                     ORDER BY k.conname)
                      FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid),
         'columns', (SELECT array_agg(a.attname || ' ' || pg_catalog.format_type(
                                        a.atttypid, a.atttypmod) ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid
             AND a.attnum > 0 AND NOT a.attisdropped),
         'comment', pg_catalog.obj_description(t.oid, 'pg_type'))
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.oid = ANY (%(types)s::int8[]::oid[])
UNION ALL
SELECT pg_catalog.concat('schema ', n.oid::int8), pg_catalog.jsonb_build_object(
         'name', n.nspname, 'owner', pg_catalog.pg_get_userbyid(n.nspowner),
         'acl', CASE WHEN n.nspacl::text <> pg_catalog.acldefault('n', n.nspowner)::text
                     THEN n.nspacl END,
         'comment', pg_catalog.obj_description(n.oid, 'pg_namespace'))
  FROM pg_catalog.pg_namespace n WHERE n.oid = ANY (%(schemas)s::int8[]::oid[])
UNION ALL
SELECT pg_catalog.concat('default ', d.defaclrole::int8, ' ', d.defaclobjtype, ' ', n.nspname),
       pg_catalog.jsonb_build_object('role', pg_catalog.pg_get_userbyid(d.defaclrole),
         'schema', n.nspname, 'kind', d.defaclobjtype, 'acl', d.defaclacl)
  FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
 WHERE d.defaclrole = ANY (%(defaults)s::int8[]::oid[])"""


async def shape(session: Session, scope: Scope) -> Shape:
    rows, columns = ("NULL", "NULL")
    if session.version >= 150000:
        rows, columns = ("pg_catalog.pg_get_expr(u.prqual, u.prrelid)", "u.prattrs::text")
    wanted = scope.as_json()
    # What nobody asks for need not be planned either.
    first, *others = _SHAPE.split("UNION ALL\n")
    parts = [first, *(part for part in others if _asked(part, wanted))]
    query = "UNION ALL\n".join(parts).replace("{rows}", rows).replace("{columns}", columns)
    cursor = await session.connection.execute(query, wanted)
    return dict(await cursor.fetchall())


_PLACES = (
    ("relations", """SELECT pg_catalog.concat('relation ', c.oid::int8, ' place'), n.nspname,
      c.relname::text FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = ANY (%(relations)s::int8[]::oid[])"""),
    ("functions", """SELECT pg_catalog.concat('function ', p.oid::int8, ' place'), n.nspname,
      p.proname::text FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid = ANY (%(functions)s::int8[]::oid[])"""),
    ("types", """SELECT pg_catalog.concat('type ', t.oid::int8, ' place'), n.nspname,
      t.typname::text FROM pg_catalog.pg_type t
      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
     WHERE t.oid = ANY (%(types)s::int8[]::oid[])"""),
    ("schemas", """SELECT pg_catalog.concat('schema ', n.oid::int8, ' place'), ''::name,
      n.nspname::text FROM pg_catalog.pg_namespace n
     WHERE n.oid = ANY (%(schemas)s::int8[]::oid[])"""),
)  # fmt: skip


async def places(session: Session, scope: Scope) -> Shape:
    """Where the objects are and what they are called, and nothing else of them."""
    wanted = scope.as_json()
    parts = [query for part, query in _PLACES if wanted[part]]
    if not parts:
        return {}
    cursor = await session.connection.execute(" UNION ALL ".join(parts), wanted)
    return {key: {"schema": home, "name": name} for key, home, name in await cursor.fetchall()}


def _asked(part: str, wanted: Mapping[str, list[int]]) -> bool:
    names = [name for name in wanted if f"%({name})s" in part]
    return not names or any(wanted[name] for name in names)


def unordered(shape: Shape) -> Shape:
    """Without the order of columns."""
    return {
        key: {k: v for k, v in part.items() if k != "place"} if " column " in key else part
        for key, part in shape.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The parts that two shapes differ in."""

    before: Shape
    after: Shape

    @classmethod
    def between(cls, before: Shape, after: Shape) -> Difference:
        keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        return cls(
            before={k: before[k] for k in keys if k in before},
            after={k: after[k] for k in keys if k in after},
        )

    @property
    def parts(self) -> list[str]:
        return list({**self.before, **self.after})


# Names nothing, and plans as written: there is more to plan in these queries than to run.
_PLAIN = {"search_path": "", "join_collapse_limit": "1", "from_collapse_limit": "1", "jit": "off"}


@asynccontextmanager
async def plain_names(session: Session) -> AsyncIterator[None]:
    """Inside, the search path of the open transaction is empty. A transaction that fails inside
    is left as it is: only rolling back helps it."""
    shown = ", ".join(f"pg_catalog.current_setting('{name}')" for name in _PLAIN)
    setting = ", ".join(f"pg_catalog.set_config('{name}', %s, true)" for name in _PLAIN)
    # In one row: what is asked first is answered before anything is set.
    row = await session.one(f"SELECT {shown}, {setting}", *_PLAIN.values())
    yield
    await session.rows(f"SELECT {setting}", *row[: len(_PLAIN)])
