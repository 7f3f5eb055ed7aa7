"""How a DROP is done without losing anything: what goes is moved into places of the gateway's own,
what hangs on other people's objects is taken off and written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg.sql import Identifier, Literal

from gateway.upstreams.sql.postgres.ddl.closure import Gone
from gateway.upstreams.sql.postgres.ddl.shape import Scope
from gateway.upstreams.sql.postgres.preparing import FUNCTION, REGISTER
from gateway.upstreams.sql.postgres.session import Session


class NoWayBack(Exception):
    """A sentence that says why this cannot be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One object in quarantine: ``schema.name`` is its name outside, ``place`` where it lies."""

    kind: str
    schema: str
    name: str
    oid: int
    place: str


@dataclass(slots=True, kw_only=True)
class Plan:
    """Statements that do a schema change and those that take it back, each in its order."""

    redo: list[str] = field(default_factory=list)
    undo: list[str] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    scope: Scope = field(default_factory=Scope)
    prove: bool = False  # whether the way back has to be tried before it is promised
    apart: bool = False  # whether more is done than moving
    leave: list[str] = field(default_factory=list)  # the end of ``undo``: places are given up

    def step(self, redo: Iterable[str], undo: Iterable[str]) -> None:
        """What is done next, and therefore taken back before everything so far."""
        self.redo += redo
        self.undo[:0] = list(undo)


_KINDS = {
    "r": "TABLE",
    "p": "TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
    "f": "FOREIGN TABLE",
}
_ROUTINES = {"f": "FUNCTION", "w": "FUNCTION", "p": "PROCEDURE", "a": "AGGREGATE"}
_ENABLED = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}

_PARENTS = """
SELECT i.inhrelid::int8, i.inhparent::int8, pn.nspname, p.relname, c.relispartition,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending_or_false
FROM (SELECT h.*, COALESCE((pg_catalog.to_jsonb(h) ->> 'inhdetachpending')::bool, false)
             AS inhdetachpending_or_false FROM pg_catalog.pg_inherits h) i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE i.inhrelid = ANY (%s::int8[]::oid[]) AND NOT i.inhparent = ANY (%s::int8[]::oid[])
ORDER BY 1, i.inhseqno"""

_HAVE_PARENTS = """
SELECT 1 FROM pg_catalog.pg_inherits i
WHERE i.inhrelid = ANY (%s::int8[]::oid[]) AND NOT i.inhparent = ANY (%s::int8[]::oid[]) LIMIT 1"""

_NAMES = """
SELECT c.oid::int8, n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::int8[]::oid[])"""

_PUBLICATIONS = """
SELECT p.pubname, pg_catalog.pg_has_role(p.pubowner, 'USAGE'), {rest}
FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
WHERE r.prrelid = %s::int8::oid"""
_NARROWED = """
  COALESCE((SELECT ' (' || string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY x.i) || ')'
     FROM unnest(r.prattrs::int2[]) WITH ORDINALITY AS x(n, i)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = x.n), '')
  || COALESCE(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '')"""


class Quarantine:
    """Plans one DROP. ``gone`` is the closure of what it names; ``token`` makes the names of the
    places, twelve hexadecimal digits that no other call has; ``call`` is who it is kept for."""

    def __init__(self, session: Session, gone: Sequence[Gone], token: str, call: str) -> None:
        self._session = session
        self._gone = gone
        self._token = token
        self._call = call
        self._plan = Plan()
        self._schemas = {g.name: g for g in gone if g.catalog == "pg_namespace"}
        self._inside = frozenset(
            g.oid for g in gone if g.catalog == "pg_class" and g.sub == 0 and g.kind in _KINDS
        )
        self._rooms: dict[str, str] = {}
        self._named: dict[int, tuple[str, str]] = {}

    async def plan(self) -> Plan:
        """Raises ``NoWayBack``."""
        self._named = {
            g.oid: (g.schema, g.name) for g in self._gone if g.catalog == "pg_class" and not g.sub
        }
        outside = {g.owner for g in self._gone} | {g.other for g in self._gone}
        wanted = sorted(outside - self._named.keys() - {0})
        for oid, schema, name in await self._session.rows(_NAMES, wanted) if wanted else ():
            self._named[oid] = (schema, name)
        await self._take_off()
        await self._part()
        self._move()
        self._rename_schemas()
        self._plan.scope = self._scope()
        return self._plan

    # --- what hangs on objects that stay ----------------------------------------------------

    async def _take_off(self) -> None:
        for gone in self._gone:
            if not self._rides(gone):
                self._taken_off(gone)
        for gone in self._gone:
            if gone.catalog == "pg_constraint" and gone.kind == "f" and self._crosses(gone):
                self._foreign_key(gone)
        for gone in self._gone:
            if gone.catalog == "pg_publication_rel" and gone.owner in self._inside:
                await self._publication(gone)

    def _rides(self, gone: Gone) -> bool:
        """Whether it comes along with something that is moved or is moved itself."""
        if gone.catalog == "pg_class" and gone.oid in self._inside:
            return True
        if gone.owner in self._inside or gone.schema in self._schemas:
            return True
        if gone.catalog in ("pg_namespace", "pg_proc", "pg_statistic_ext"):
            return gone.catalog != "pg_statistic_ext"
        if gone.catalog == "pg_type":
            return True
        parts = ("internal", "inherited")
        if gone.catalog == "pg_class" and gone.kind in "tiIc" and not gone.sub:
            return not self._stands(gone)
        if gone.catalog == "pg_constraint" and not gone.owner:
            return any(g.catalog == "pg_type" and g.oid == gone.other for g in self._gone)
        if gone.catalog == "pg_constraint":
            return gone.kind == "f" or gone.extra.startswith("inherited")
        return gone.catalog in ("pg_trigger", "pg_rewrite") and gone.extra in parts

    def _stands(self, gone: Gone) -> bool:
        """Whether an index is one of a table that stays, and not part of a constraint."""
        return gone.kind in "iI" and gone.extra != "constraint" and gone.schema != "pg_toast"

    def _crosses(self, gone: Gone) -> bool:
        """Whether a foreign key has an end that stays."""
        ends = {gone.owner, gone.other}
        return not gone.extra.startswith("inherited") and not ends <= self._inside

    def _taken_off(self, gone: Gone) -> None:
        makers = {
            "pg_policy": self._policy,
            "pg_rewrite": self._rule,
            "pg_trigger": self._trigger,
            "pg_attrdef": self._default,
            "pg_class": self._index,
        }
        if gone.catalog == "pg_constraint" and gone.owner:
            self._constraint(gone)
        elif gone.sub == 0 and gone.catalog in makers:
            makers[gone.catalog](gone)
        else:
            raise NoWayBack(f"with it would go {gone.identity}, which cannot be put back as it was")
        self._plan.prove = True

    def _on(self, oid: int) -> str:
        return Identifier(*self._named[oid]).as_string()

    def _policy(self, gone: Gone) -> None:
        name, table = _quoted(gone.name), self._on(gone.owner)
        self._plan.step(
            [f"DROP POLICY {name} ON {table}"],
            [
                f"CREATE POLICY {name} ON {table} {gone.definition}",
                *_comment(f"POLICY {name} ON {table}", gone),
            ],
        )

    def _rule(self, gone: Gone) -> None:
        name, table = _quoted(gone.name), self._on(gone.owner)
        again = [gone.definition.rstrip(";")]
        if gone.extra in _ENABLED:
            again.append(f"ALTER TABLE {table} {_ENABLED[gone.extra]} RULE {name}")
        self._plan.step(
            [f"DROP RULE {name} ON {table}"], [*again, *_comment(f"RULE {name} ON {table}", gone)]
        )

    def _trigger(self, gone: Gone) -> None:
        name, table = _quoted(gone.name), self._on(gone.owner)
        again = [gone.definition]
        if gone.extra in _ENABLED:
            again.append(f"ALTER TABLE {table} {_ENABLED[gone.extra]} TRIGGER {name}")
        self._plan.step(
            [f"DROP TRIGGER {name} ON {table}"],
            [*again, *_comment(f"TRIGGER {name} ON {table}", gone)],
        )

    def _default(self, gone: Gone) -> None:
        if gone.extra.startswith("generated:"):
            raise NoWayBack(f"with it would go the generated column {gone.identity}")
        table, column = self._on(gone.owner), _quoted(gone.extra)
        self._plan.step(
            [f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT"],
            [f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {gone.definition}"],
        )

    def _index(self, gone: Gone) -> None:
        if not self._stands(gone) or gone.extra == "marked":
            raise NoWayBack(f"{gone.identity} has a role that making it again would not give it")
        name = Identifier(gone.schema, gone.name).as_string()
        self._plan.step([f"DROP INDEX {name}"], [gone.definition, *_comment(f"INDEX {name}", gone)])

    def _constraint(self, gone: Gone) -> None:
        name, table = _quoted(gone.name), self._on(gone.owner)
        self._plan.step(
            [f"ALTER TABLE {table} DROP CONSTRAINT {name}"],
            [
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {gone.definition}",
                *_comment(f"CONSTRAINT {name} ON {table}", gone),
            ],
        )

    def _foreign_key(self, gone: Gone) -> None:
        """Otherwise the quarantined table would hold back, or follow, what others do."""
        self._plan.apart = True
        self._constraint(gone)

    async def _publication(self, gone: Gone) -> None:
        table = self._on(gone.owner)
        narrowed = _NARROWED if self._session.version >= 150000 else "''"
        query = _PUBLICATIONS.format(rest=narrowed)
        for name, owned, rest in await self._session.rows(query, gone.owner):
            # Another's publication cannot be changed by the agents' role: the table stays in it.
            if name == gone.extra and owned:
                published = _quoted(name)
                self._plan.apart = True
                self._plan.step(
                    [f"ALTER PUBLICATION {published} DROP TABLE {table}"],
                    [f"ALTER PUBLICATION {published} ADD TABLE {table}{rest}"],
                )

    async def _part(self) -> None:
        """A partition whose parent stays would still show its rows there."""
        inside = sorted(self._inside)
        if not await self._session.rows(_HAVE_PARENTS, inside, inside):
            return
        for child, parent, schema, name, partition, bound, pending in await self._session.rows(
            _PARENTS, inside, inside
        ):
            own = ".".join(self._named[child])
            if not partition:
                raise NoWayBack(f"{own} inherits from {schema}.{name}, which it would forget")
            if pending:
                raise NoWayBack(f"{own} is being detached by somebody else")
            table, above = self._on(child), Identifier(schema, name).as_string()
            self._plan.step(
                [f"ALTER TABLE {above} DETACH PARTITION {table}"],
                [f"ALTER TABLE {above} ATTACH PARTITION {table} {bound}"],
            )
            self._plan.scope |= Scope(relations=frozenset({parent}))
            self._plan.prove = True
            for gone in self._gone:
                key = (gone.owner, gone.kind, gone.catalog) == (child, "f", "pg_constraint")
                if key and gone.extra.startswith("inherited") and gone.other not in self._inside:
                    # Detached, it is a key of its own; attaching makes it anew.
                    drop = f"ALTER TABLE {table} DROP CONSTRAINT {_quoted(gone.name)}"
                    self._plan.step([drop], [])

    # --- what moves ------------------------------------------------------------------------

    def _room(self, schema: str) -> str:
        if schema not in self._rooms:
            place = f"holdfast_q{self._token}_{len(self._rooms) + 1}"
            self._rooms[schema] = place
            self._register(place, make=True)
        return self._rooms[schema]

    def _register(self, place: str, *, make: bool) -> None:
        self._plan.places.append(place)
        flag = "true" if make else "false"
        name, call = _literal(place), _literal(self._call)
        self._plan.redo.insert(0, f"SELECT {FUNCTION}({name}, {call}, {flag})")
        leave = [f"DROP SCHEMA {_quoted(place)}"] if make else []
        leave.append(f"DELETE FROM {REGISTER} WHERE place = {name}")
        self._plan.undo += leave
        self._plan.leave += leave

    def _move(self) -> None:
        # Functions first: they are named with the types of tables.
        for gone in sorted(self._gone, key=lambda g: g.catalog != "pg_proc"):
            if gone.schema in self._schemas:
                continue
            if gone.catalog == "pg_class" and gone.oid in self._inside:
                if gone.kind == "S" and gone.owner in self._inside:
                    continue  # it follows its table
                if gone.kind == "S" and gone.owner:
                    self._let_go(gone)
                name = Identifier(gone.schema, gone.name).as_string()
                self._moved(gone, _KINDS[gone.kind], name, "")
            elif gone.catalog == "pg_proc":
                arguments = gone.identity[gone.identity.rindex("(") :]
                name = Identifier(gone.schema, gone.name).as_string()
                self._moved(gone, _ROUTINES[gone.kind], name, arguments)
            elif gone.catalog == "pg_statistic_ext":
                name = Identifier(gone.schema, gone.name).as_string()
                self._moved(gone, "STATISTICS", name, "")
            elif gone.catalog == "pg_type" and not gone.owner and gone.kind in "edc":
                name = Identifier(gone.schema, gone.name).as_string()
                self._moved(gone, "TYPE", name, "")
            elif gone.catalog == "pg_type" and not gone.owner and not self._array(gone):
                raise NoWayBack(f"{gone.identity} is a kind of type that cannot be moved")

    def _array(self, gone: Gone) -> bool:
        return gone.identity.endswith("[]")

    def _let_go(self, gone: Gone) -> None:
        name = Identifier(gone.schema, gone.name).as_string()
        column = f"{self._on(gone.owner)}.{_quoted(gone.extra)}"
        self._plan.step(
            [f"ALTER SEQUENCE {name} OWNED BY NONE"], [f"ALTER SEQUENCE {name} OWNED BY {column}"]
        )
        self._plan.prove = True

    def _moved(self, gone: Gone, kind: str, name: str, arguments: str) -> None:
        place = self._room(gone.schema)
        there = Identifier(place, gone.name).as_string()
        self._plan.step(
            [f"ALTER {kind} {name}{arguments} SET SCHEMA {_quoted(place)}"],
            [f"ALTER {kind} {there}{arguments} SET SCHEMA {_quoted(gone.schema)}"],
        )
        self._plan.moved.append(
            Moved(
                kind=kind.lower(),
                schema=gone.schema,
                name=f"{gone.name}{arguments}",
                oid=gone.oid,
                place=place,
            )
        )

    def _rename_schemas(self) -> None:
        for number, (name, gone) in enumerate(self._schemas.items(), 1):
            place = f"holdfast_q{self._token}_{len(self._rooms) + number}"
            self._plan.step(
                [f"ALTER SCHEMA {_quoted(name)} RENAME TO {_quoted(place)}"],
                [f"ALTER SCHEMA {_quoted(place)} RENAME TO {_quoted(name)}"],
            )
            self._register(place, make=False)
            self._plan.moved.append(
                Moved(kind="schema", schema="", name=name, oid=gone.oid, place=place)
            )

    def _scope(self) -> Scope:
        ends = {g.owner for g in self._gone} | {g.other for g in self._gone}
        relations = {
            oid for oid in ends if oid in self._named and self._named[oid][0] != "pg_toast"
        }
        return self._plan.scope | Scope(
            relations=frozenset(relations) | self._inside,
            functions=frozenset(g.oid for g in self._gone if g.catalog == "pg_proc"),
            types=frozenset(
                g.oid for g in self._gone if g.catalog == "pg_type" and not self._array(g)
            ),
            schemas=frozenset(g.oid for g in self._schemas.values()),
        )


def _quoted(name: str) -> str:
    return Identifier(name).as_string()


def _literal(text: str) -> str:
    return Literal(text).as_string()


def _comment(what: str, gone: Gone) -> list[str]:
    return [f"COMMENT ON {what} IS {_literal(gone.comment)}"] if gone.comment else []
