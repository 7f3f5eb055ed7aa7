"""The judgement of a text: first by itself, then with what the server knows of its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.model import ActionClass, Deny, Effect, Json, Statement
from gateway.upstreams.sql.display import Shown, ShownStatement, shown
from gateway.upstreams.sql.gate import check_text
from gateway.upstreams.sql.mysql import catalog, grammar, lexing
from gateway.upstreams.sql.mysql.bodies import lacked, view_tables
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA, Name, Relation
from gateway.upstreams.sql.mysql.grammar import DIALECT, Ref, Written
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.session import Session

# What each process of the ``ParseWorker`` should have loaded.
PRELOAD = ("gateway.upstreams.sql.display", "gateway.upstreams.sql.mysql.judge")

At = Callable[[Ref], Name]

_RANKS = ("show", "explain", "select", "insert", "update", "delete", "truncate", "create", "alter",
          "drop")  # fmt: skip
_READS = frozenset({"select", "show", "explain"})
_SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
# Engines that keep rows here; others reach files or servers elsewhere.
_LOCAL = frozenset(
    {"InnoDB", "MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE", "MRG_MyISAM", "BLACKHOLE",
     "PERFORMANCE_SCHEMA", "SEQUENCE"}
)  # fmt: skip
_MOST_VIEWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A text by itself. ``shown``: the statements as policy sees them."""

    statements: tuple[Written, ...]
    shown: tuple[ShownStatement, ...]

    @property
    def reads(self) -> bool:
        return all(w.verb in _READS for w in self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an ``Action`` is made of."""

    cls: ActionClass
    name: str
    effects: tuple[Effect, ...]
    statements: tuple[Statement, ...]


def read(sql: str, params: Sequence[Json], max_bytes: int) -> Read | Deny:
    """What the text says by itself; no server is asked. Takes its time on long texts."""
    refusal = check_text(sql, max_bytes=max_bytes, dialect=DIALECT)
    if refusal is not None:
        return refusal
    texts = lexing.read(sql, params)
    if isinstance(texts, Deny):
        return texts
    statements: list[Written] = []
    told: list[ShownStatement] = []
    for text in texts:
        written = grammar.read(text)
        if isinstance(written, Deny):
            return written
        seen = _shown(text, written)
        if isinstance(seen, Deny):
            return seen
        statements.append(written)
        told.append(seen)
    if len(statements) > 1 and any(w.definition is not None for w in statements):
        return Deny(
            reason="sql.unsupported",
            detail="A change of the schema commits by itself here, so it has to be the only "
            "statement of its call.",
        )
    return Read(statements=tuple(statements), shown=tuple(told))


def _shown(text: lexing.Text, written: Written) -> ShownStatement | Deny:
    if written.definition is not None:
        refs = written.refs
        names = tuple(r.name if r.schema is None else f"{r.schema}.{r.name}" for r in refs)
        destroys = written.verb in ("drop", "truncate")
        return ShownStatement(
            verb=written.verb, verbs=written.verbs, tables=names, bounded=not destroys
        )
    seen: Shown | None = shown(grammar.readable(text), DIALECT)
    if seen is None or len(seen.statements) != 1:
        return Deny(reason="sql.unparsable", detail="The statement is not understood.")
    one = seen.statements[0]
    agree = one.verb == written.verb or (one.verb == "select" and written.verb in _READS)
    if not agree:
        return Deny(reason="sql.unparsable", detail="The statement is not understood as one kind.")
    return one


class Judge:
    """``database``: what names without a schema belong to."""

    def __init__(self, database: str) -> None:
        self._database = database

    def server(self, session: Session, text: Read) -> Judged | Deny:
        """Blocks. For names that it does not know, the server's own error is raised."""
        parts: list[_Part] = []
        for written, seen in zip(text.statements, text.shown, strict=True):
            part = self._part(session, written, seen)
            if isinstance(part, Deny):
                return part
            parts.append(part)
        return Judged(
            cls=max((p.cls for p in parts), key=list(ActionClass).index),
            name=max((v for p in parts for v in p.verbs), key=_RANKS.index),
            effects=tuple(dict.fromkeys(e for p in parts for e in p.effects)),
            statements=tuple(p.statement for p in parts),
        )

    def _part(self, session: Session, written: Written, seen: ShownStatement) -> _Part | Deny:
        found = self._found(session, written)
        if isinstance(found, Deny):
            return found
        refusal = _refused(written, found, self.at) or self._routine(session, written)
        if refusal is not None:
            return refusal
        inside = expand(session, [r.at for r in found.values() if r.kind == "VIEW"])
        if isinstance(inside, Deny):
            return inside
        for relation in inside.values():
            refusal = _refused_relation(relation)
            if refusal is not None:
                return refusal
        return _part_of(written, seen, found, inside, self.at)

    def at(self, ref: Ref) -> Name:
        return ref.schema or self._database, ref.name

    def _found(self, session: Session, written: Written) -> dict[Name, Relation] | Deny:
        found = catalog.relations(session, map(self.at, written.refs))
        for ref in written.refs:
            local = ref.schema is None and ref.name in written.local
            defined = written.definition is not None and ref in written.changed
            excused = local or defined or _aliased(ref, written)
            if self.at(ref) not in found and not excused:
                # The server says it best: no such table, no database chosen, no right to it.
                name = (ref.name,) if ref.schema is None else (ref.schema, ref.name)
                session.rows(f"SELECT 1 FROM {quoted(*name)} LIMIT 0")
                return _unjudged(f"{'.'.join(name)} does not stand in the catalog.")
        return found

    def _routine(self, session: Session, written: Written) -> Deny | None:
        spoken = written.definition is None or written.definition.query is not None
        odd = lacked(written.text.tokens, session.variety.lacking) if spoken else None
        if odd is not None:
            return _unjudged(f"{odd[0].upper()}{odd[1:]} may have effects that cannot be judged.")
        if not written.known:
            return None
        clash = sorted(written.known & catalog.routines(session))
        if clash:
            return _unjudged(f"{clash[0]} is also the name of a stored routine.")
        return None


def _aliased(ref: Ref, written: Written) -> bool:
    # DELETE a FROM t AS a: the alias stands where a table could.
    return written.single is None and ref in written.changed and len(written.refs) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    cls: ActionClass
    verbs: tuple[str, ...]
    effects: tuple[Effect, ...]
    statement: Statement


def expand(session: Session, views: Sequence[Name]) -> dict[Name, Relation] | Deny:
    """Everything that views are made of, views included."""
    found: dict[Name, Relation] = {}
    waiting, seen = list(views), set(views)
    while waiting:
        if len(seen) > _MOST_VIEWS:
            return _unjudged("The views are nested too deeply.")
        definitions = catalog.view_definitions(session, waiting)
        named: set[Name] = set()
        for view in waiting:
            text = definitions.get(view, "")
            if not text:
                return _unjudged(f"The text of the view {'.'.join(view)} cannot be seen.")
            tables = view_tables(text, session.variety.lacking)
            if isinstance(tables, Deny):
                return _unjudged(f"The view {'.'.join(view)} cannot be judged: {tables.detail}.")
            named |= tables
        relations = catalog.relations(session, named)
        found |= {relation.at: relation for relation in relations.values()}
        waiting = [r.at for r in relations.values() if r.kind == "VIEW" and r.at not in seen]
        seen.update(waiting)
    return found


def _refused(written: Written, found: Mapping[Name, Relation], at: At) -> Deny | None:
    for relation in found.values():
        refusal = _refused_relation(relation)
        if refusal is not None:
            return refusal
    for ref in written.changed:
        if at(ref)[0].lower() in (OWN_SCHEMA, *_SYSTEM):
            return _unjudged(f"{'.'.join(at(ref))} is not for agents to change.")
        target = found.get(at(ref))
        if target is None:
            continue
        if target.at[0].lower() in _SYSTEM:
            return _unjudged(f"{'.'.join(target.at)} belongs to the server.")
        if target.kind not in ("BASE TABLE", "VIEW", "SYSTEM VERSIONED"):
            return _unjudged(f"{'.'.join(target.at)} is a {target.kind.lower()}.")
    return None


def _refused_relation(relation: Relation) -> Deny | None:
    name = ".".join(relation.at)
    if relation.at[0].lower() == OWN_SCHEMA:
        return _unjudged(f"{name} belongs to the gateway.")
    system = relation.kind == "SYSTEM VIEW" or relation.at[0].lower() in _SYSTEM
    if relation.engine is not None and relation.engine not in _LOCAL and not system:
        return _unjudged(f"{name} is kept by the engine {relation.engine}, outside of this server.")
    return None


def _part_of(
    written: Written,
    seen: ShownStatement,
    found: Mapping[Name, Relation],
    inside: Mapping[Name, Relation],
    at: At,
) -> _Part:
    if written.definition is not None:
        return _defined(written, seen, inside, at)
    effects: list[Effect] = []
    changed = {at(ref) for ref in written.changed}
    named = [ref for ref in written.refs if at(ref) in found]
    for ref in named:
        if at(ref) in changed:
            relation = found[at(ref)]
            for verb in written.verbs:
                effects.append(_effect(verb, relation, _columns(seen, ref, named), seen.bounded))
    for ref in named:
        if at(ref) not in changed or len(named) > 1:
            verb = "show" if written.verb == "show" else "select"
            effects.append(_effect(verb, found[at(ref)], _columns(seen, ref, named), True))
    effects += [_effect("select", relation, ("*",), True) for relation in inside.values()]
    listed = tuple(dict.fromkeys(effects))
    return _Part(
        cls=_class(written, seen),
        verbs=written.verbs or (written.verb,),
        effects=listed,
        statement=Statement(
            verb=written.verb,
            tables=tuple(dict.fromkeys(e.name for e in listed)),
            functions=seen.functions,
            bounded=seen.bounded,
        ),
    )


def _defined(
    written: Written, seen: ShownStatement, inside: Mapping[Name, Relation], at: At
) -> _Part:
    assert written.definition is not None
    kind = "view" if written.definition.view else "table"
    effects = tuple(
        Effect(verb=written.verb, kind=kind, name=".".join(at(ref)), columns=("*",),
               bounded=seen.bounded)
        for ref in written.changed
    )  # fmt: skip
    read_ = [at(ref) for ref in written.refs if ref not in written.changed]
    read_ += [relation.at for relation in inside.values()]
    effects += tuple(
        Effect(verb="select", kind="table", name=".".join(name), columns=("*",))
        for name in dict.fromkeys(read_)
    )
    statement = Statement(
        verb=written.verb, tables=tuple(e.name for e in effects), bounded=seen.bounded
    )
    cls = ActionClass.DESTRUCTIVE if written.verb == "truncate" else ActionClass.DDL
    return _Part(cls=cls, verbs=(written.verb,), effects=effects, statement=statement)


def _effect(verb: str, relation: Relation, columns: tuple[str, ...], bounded: bool) -> Effect:
    return Effect(
        verb=verb,
        kind="view" if relation.kind in ("VIEW", "SYSTEM VIEW") else "table",
        name=".".join(relation.at),
        columns=columns,
        bounded=bounded or verb == "insert",
    )


def _columns(seen: ShownStatement, ref: Ref, named: Sequence[Ref]) -> tuple[str, ...]:
    written = ref.name if ref.schema is None else f"{ref.schema}.{ref.name}"
    columns = [*seen.columns.get(written, ()), *seen.columns.get("", ())]
    if not columns or "*" in columns or (len(named) > 1 and "" in seen.columns):
        return ("*",)
    return tuple(dict.fromkeys(columns))


def _class(written: Written, seen: ShownStatement) -> ActionClass:
    if written.verb in _READS:
        return ActionClass.READ
    if "delete" in written.verbs or ("update" in written.verbs and not seen.bounded):
        return ActionClass.DESTRUCTIVE
    return ActionClass.WRITE


def _unjudged(detail: str) -> Deny:
    return Deny(reason="action.unsupported", detail=detail)
