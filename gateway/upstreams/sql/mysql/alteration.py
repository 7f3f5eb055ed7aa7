"""A change of one table in its place, with an ALTER that takes it back: tried before anything
happens on a temporary table without rows, where the way back has to lead to the same definition."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Json
from gateway.upstreams.sql.mysql import catalog, difference
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA, ForeignKey, Name, Relation
from gateway.upstreams.sql.mysql.definitions import Definition
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.moves import clause
from gateway.upstreams.sql.mysql.session import Session

# States of a table: the print of its definition, or whether a foreign key is there.
_THERE, _GONE = "fk+", "fk-"
TRIAL = "w_"  # what tables begin with on which changes are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """``forward`` and ``backward``: whole statements. ``before`` and ``after``: the states that
    they lead between. ``fresh``: columns that ``backward`` takes away, which nobody may have
    written to."""

    table: Name
    forward: str
    backward: str
    before: str
    after: str
    fresh: tuple[str, ...] = ()

    def inverse(self) -> Alteration:
        return Alteration(
            table=self.table,
            forward=self.backward,
            backward=self.forward,
            before=self.after,
            after=self.before,
        )

    def repeatable(self, session: Session) -> bool:
        """Whether ``forward``, once it was taken back, leads here again: not where the server put
        the index of a foreign key in the place of one that is made by ``backward``, and then is no
        longer its own. Asked before ``backward`` runs."""
        made = self.backward.split(", ADD ")[1:]
        text = catalog.definition(session, self.table)
        return self.before[:3] != _GONE or all(f"  {line}" in text for line in made)

    def receipt(self, call: str) -> str:
        """What ``receipts.ask`` is asked by."""
        return f"{call}|={self.table[0]}|{self.table[1]}|{self.before}|{self.after}"

    def written(self) -> str | None:
        """A query that finds rows in which somebody wrote to a new column."""
        if not self.fresh:
            return None
        parts = (
            f"NOT (CAST({quoted(c)} AS BINARY) <=> CAST(DEFAULT({quoted(c)}) AS BINARY))"
            for c in self.fresh
        )
        return f"SELECT 1 FROM {quoted(*self.table)} WHERE {' OR '.join(parts)} LIMIT 1"

    def as_json(self) -> dict[str, Json]:
        return {
            "table": list(self.table),
            "forward": self.forward,
            "backward": self.backward,
            "before": self.before,
            "after": self.after,
            "fresh": list(self.fresh),
        }


def from_json(told: Mapping[str, Json]) -> Alteration:
    """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what ``as_json`` did not make."""
    schema, name = told["table"]
    return Alteration(
        table=(str(schema), str(name)),
        forward=str(told["forward"]),
        backward=str(told["backward"]),
        before=str(told["before"]),
        after=str(told["after"]),
        fresh=tuple(map(str, told["fresh"])),
    )


def stands(session: Session, table: Name, state: str) -> bool:
    """Whether the table is in ``state`` now."""
    if not catalog.relations(session, [table]):
        return False
    text = catalog.definition(session, table)
    if state[:3] in (_THERE, _GONE):
        there = f"CONSTRAINT {quoted(state[3:])} FOREIGN KEY " in text
        return there == (state[:3] == _THERE)
    return printed(difference.bare(text)) == state


def printed(bare: str) -> str:
    return hashlib.sha256(bare.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a trial showed. ``back``: the clauses of an exact way back, if there is one that keeps
    every value; ``alike``: whether a copy of the table is defined as the table is; ``indexes``:
    whether they change."""

    before: str
    after: str
    back: tuple[str, ...] | None
    fresh: tuple[str, ...]
    alike: bool
    indexes: bool


def tried(
    session: Session, call: str, relation: Relation, definition: Definition, text: str
) -> Tried:
    """Runs the change on an empty table of its own. Blocks. The server's own error of the statement
    is raised."""
    # A temporary table has no partitions, and indexes of one are always made anew, which those
    # of others are not.
    found = None if relation.partitioned else _tried(session, "TEMPORARY TABLE", call, relation.at,
                                                     definition, text)  # fmt: skip
    if found is None or found.indexes:
        found = _tried(session, "TABLE", call, relation.at, definition, text)
    return found


def _tried(
    session: Session, kind: str, call: str, table: Name, definition: Definition, text: str
) -> Tried:
    scratch = (OWN_SCHEMA, f"{TRIAL}{call}")
    session.run(f"CREATE {kind} {quoted(*scratch)} LIKE {quoted(*table)}")
    try:
        before = _bare(session, scratch)
        session.run(renamed(definition, text, scratch))
        after = _bare(session, scratch)
        found = difference.back(before, after, dict(definition.renamed))
        back: tuple[str, ...] | None = None
        if found is not None and found.lossless and found.clauses:
            session.run(f"ALTER TABLE {quoted(*scratch)} {', '.join(found.clauses)}")
            back = found.clauses if _bare(session, scratch) == before else None
        elif before == after:
            back = ()
    finally:
        session.run(f"DROP {kind} IF EXISTS {quoted(*scratch)}")
    one, other = difference.parts(before), difference.parts(after)
    return Tried(
        before=printed(before),
        after=printed(after),
        back=back,
        fresh=() if found is None else found.fresh,
        alike=before == _bare(session, table),
        indexes=one is None or other is None or one.keys != other.keys,
    )


def _bare(session: Session, table: Name) -> str:
    return difference.bare(catalog.definition(session, table))


def renamed(definition: Definition, text: str, table: Name) -> str:
    """The statement with another table in the place of its own."""
    assert definition.place is not None
    start, end = definition.place
    return text[:start] + quoted(*table) + text[end:]


def of_key(
    session: Session, table: Name, definition: Definition, text: str, keys: list[ForeignKey]
) -> Alteration | None:
    """The change of one foreign key; ``None`` where it has no way back. ``keys``: those that
    leave the table."""
    assert definition.key is not None
    named = {key.name.lower(): key for key in keys if key.child == table}
    forward = renamed(definition, text, table)
    there, gone = f"{_THERE}{definition.key.name}", f"{_GONE}{definition.key.name}"
    alter = f"ALTER TABLE {quoted(*table)}"
    if definition.key.dropped:
        key = named.get(definition.key.name.lower())
        if key is None:
            return None
        again = difference.rekeyed(catalog.definition(session, table), {key.name: key.columns})
        return Alteration(
            table=table, forward=forward,
            backward=", ".join((f"{alter} ADD {clause(key)}", *again)),
            before=f"{_THERE}{key.name}", after=f"{_GONE}{key.name}",
        )  # fmt: skip
    backward = f"{alter} DROP FOREIGN KEY {quoted(definition.key.name)}"
    wanted = [c.lower() for c in definition.key.columns]
    indexes = [[c.lower() for c in i] for i in catalog.indexes(session, table)]
    made = f"DROP KEY {{}}{quoted(definition.key.name)}"
    if not any(index[: len(wanted)] == wanted for index in indexes):
        # The server makes one for the foreign key, of its name.
        backward += f", {made.format('')}"
    elif wanted in indexes:
        # Perhaps it makes one all the same, in the place of that one.
        text = catalog.definition(session, table)
        again = difference.rekeyed(text, {definition.key.name: definition.key.columns})
        if f"KEY {quoted(definition.key.name)} ".lower() not in text.lower():
            again = (made.format("IF EXISTS "), *again)
        backward = ", ".join((backward, *again))
    return Alteration(table=table, forward=forward, backward=backward, before=gone, after=there)
