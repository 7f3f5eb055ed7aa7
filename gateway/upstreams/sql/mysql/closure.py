"""Every table that a statement can write to, found before anything is captured: views, triggers
with what their bodies name, foreign keys with their actions. The binary log and triggers do not
see what foreign keys do; the catalog does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.model import Deny
from gateway.upstreams.sql.mysql import catalog, rows
from gateway.upstreams.sql.mysql.bodies import elsewhere, trigger_tables
from gateway.upstreams.sql.mysql.catalog import ACTING, OWN_SCHEMA, ForeignKey, Name, Table, Trigger
from gateway.upstreams.sql.mysql.judge import expand
from gateway.upstreams.sql.mysql.rights import hidden, keys_hidden
from gateway.upstreams.sql.mysql.session import LEXICAL, Session

_ALL = frozenset({"insert", "update", "delete"})
_NUMBERED = "FTS_DOC_ID"


@dataclass(slots=True)
class Closure:
    """``tables``: all that can be written to. ``cascades``: foreign keys that act on the way from
    a table, of all the ``keys`` from and to them. ``triggers``: of all the tables; ``fired``: those
    of them that fire."""

    tables: dict[Name, Table] = field(default_factory=dict)
    cascades: list[ForeignKey] = field(default_factory=list)
    fired: list[str] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    partitioned: set[Name] = field(default_factory=set)
    keys: list[ForeignKey] = field(default_factory=list)


class _Unknown(Exception):
    def __init__(self, detail: str, reason: str = "undo.unavailable") -> None:
        super().__init__(detail)
        self.refusal = Deny(reason=reason, detail=detail)


def closure(
    session: Session, wanted: Mapping[Name, Iterable[str]], *, fires: bool = False
) -> Closure | Deny:
    """``wanted``: what a statement writes to, with its verbs. ``Deny`` for what cannot be followed
    or captured exactly. ``session`` is of the gateway's own account: agents' are shown neither
    triggers nor tables of others. While the statement's transaction holds its tables, nobody can
    alter them. ``fires``: whether what foreign keys do there fires triggers."""
    walk = _Walk(session, fires)
    try:
        for name, verbs in wanted.items():
            walk.write(name, frozenset(verbs))
        walk.run()
        return walk.result()
    except _Unknown as unknown:
        return unknown.refusal


class _Walk:
    def __init__(self, session: Session, fires: bool) -> None:
        self._session = session
        self._fires = fires
        self._waiting: list[tuple[Name, str, bool]] = []
        self._seen: set[tuple[Name, str, bool]] = set()
        self._known: dict[str, frozenset[str]] = {}
        self._relations: dict[Name, catalog.Relation] = {}
        self._routines: frozenset[str] | None = None
        self._found = Closure()

    def write(self, name: Name, verbs: frozenset[str]) -> None:
        for table in self._base(name):
            for verb in sorted(verbs):
                self._add(table, verb, spoken=True)

    def _add(self, table: Name, verb: str, *, spoken: bool) -> None:
        """``spoken``: by SQL, so that triggers fire."""
        one = (table, verb, spoken)
        if one not in self._seen:
            self._seen.add(one)
            self._waiting.append(one)

    def _base(self, name: Name) -> list[Name]:
        relation = catalog.relations(self._session, [name]).get(name)
        if relation is None:
            raise _Unknown(f"{'.'.join(name)} is not shown to the gateway's account.")
        if relation.kind != "VIEW":
            self._relations[relation.at] = relation
            return [relation.at]
        inside = expand(self._session, [relation.at])
        if isinstance(inside, Deny):
            raise _Unknown(inside.detail)
        return [r.at for r in inside.values() if r.kind != "VIEW"]

    def run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            names = sorted({name for name, _, _ in batch})
            unseen = hidden(self._session, names)
            if unseen:
                raise _Unknown(
                    f"Triggers of {'.'.join(unseen[0])} are not shown to the gateway's account: "
                    "GRANT TRIGGER on it."
                )
            if any(verb != "insert" for _, verb, _ in batch) and keys_hidden(self._session):
                raise _Unknown(
                    "Foreign keys of tables that the gateway's account may not see are not shown "
                    "to it, and what they do could not be taken back: GRANT PROCESS ON *.* TO it."
                )
            keys = catalog.foreign_keys(self._session, names)
            self._found.keys += [key for key in keys if key not in self._found.keys]
            for name, verb, _ in batch:
                self._follow(name, verb, keys)
            spoken = {(n, verb.upper()) for n, verb, by_sql in batch if by_sql}
            for trigger in catalog.triggers(self._session, names):
                if trigger not in self._found.triggers:
                    self._found.triggers.append(trigger)
                if (trigger.table, trigger.event) in spoken:
                    self._fire(trigger)

    def _follow(self, name: Name, verb: str, keys: list[ForeignKey]) -> None:
        for key in keys:
            if key.parent != name:
                continue
            acts = key.on_delete if verb == "delete" else key.on_update
            if verb == "insert" or acts not in ACTING:
                continue
            if key not in self._found.cascades:
                self._found.cascades.append(key)
            child = "delete" if verb == "delete" and acts == "CASCADE" else "update"
            self._add(key.child, child, spoken=self._fires)

    def _fire(self, trigger: catalog.Trigger) -> None:
        label = f"{trigger.table[0]}.{trigger.name}"
        if label in self._found.fired:
            return
        self._found.fired.append(label)
        odd = sorted(trigger.modes & LEXICAL)
        if odd:
            raise _Unknown(f"The trigger {label} cannot be followed: it is read under {odd[0]}.")
        schema = trigger.table[0]
        if schema not in self._known:
            self._known[schema] = catalog.names_in(self._session, schema)
        if self._routines is None:
            self._routines = catalog.routines(self._session)
        named = trigger_tables(
            trigger.body,
            schema,
            self._known[schema],
            self._routines,
            self._session.variety.lacking,
        )
        if isinstance(named, Deny):
            raise _Unknown(f"The trigger {label} cannot be followed: {named.detail}.")
        found = catalog.relations(self._session, named)
        unseen = sorted(elsewhere(trigger.body, self._known[schema]) - found.keys())
        if unseen:
            raise _Unknown(
                f"The trigger {label} names {'.'.join(unseen[0])}, which is not shown to the "
                "gateway's account."
            )
        for name in sorted(found):
            self.write(name, _ALL)

    def result(self) -> Closure:
        names = sorted({name for name, _, _ in self._seen})
        found = dict(self._relations)
        found |= catalog.relations(self._session, [name for name in names if name not in found])
        for name in names:
            relation = found.get(name)
            if relation is None:
                raise _Unknown(f"{'.'.join(name)} cannot be seen.")
            _check(relation)
            if relation.partitioned:
                self._found.partitioned.add(relation.at)
        self._found.tables = catalog.tables(self._session, names, found)
        for table in self._found.tables.values():
            odd = [c for c in table.columns if c.type not in rows.KNOWN]
            if odd:
                raise _Unknown(
                    f"{table.resource} has a column of the type {odd[0].type}, which cannot be "
                    "captured exactly."
                )
            if any(c.name.upper() == _NUMBERED for c in table.columns):
                raise _Unknown(
                    f"{table.resource} numbers its rows for a full-text index ({_NUMBERED}), and "
                    "InnoDB takes no number again that was in use."
                )
        return self._found


def _check(relation: catalog.Relation) -> None:
    name = ".".join(relation.at)
    if relation.at[0].lower() == OWN_SCHEMA:
        raise _Unknown(f"{name} belongs to the gateway.", "action.unsupported")
    if relation.kind != "BASE TABLE":
        raise _Unknown(f"{name} is {relation.kind.lower()}: its rows cannot be put back as they "
                       "were.")  # fmt: skip
    if relation.engine != "InnoDB":
        raise _Unknown(f"{name} is kept by {relation.engine}, which knows no transactions.")
