"""Changes of the schema as moves of whole tables, each one statement that the server carries out
wholly or not at all, with an inverse and a trace by which a crash cannot hide what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.model import Json
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA, ForeignKey, Name
from gateway.upstreams.sql.mysql.literals import quoted

KIND = "mariadb.definition"
FORMAT = "mariadb-moves-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """``renames``: from, to, in this order, all at once. ``drops`` and ``adds``: foreign keys that
    leave the one table of ``renames``: a table that is set aside must not be reached by a cascade.
    ``rekeys``: clauses that go with ``adds``, so that indexes stand in their order again.
    ``trace``: a table that stands there only (``present``) or no more once the move is done.
    ``empty``: a table that nobody may have written to. ``sums``: the call that left ``empty`` with
    rows, whose receipt holds their checksum."""

    renames: tuple[tuple[Name, Name], ...]
    trace: Name
    present: bool
    drops: tuple[ForeignKey, ...] = ()
    adds: tuple[ForeignKey, ...] = ()
    rekeys: tuple[str, ...] = ()
    empty: Name | None = None
    sums: str | None = None

    def inverse(self, empty: Name | None = None, sums: str | None = None) -> Move:
        return Move(
            renames=tuple((to, of) for of, to in reversed(self.renames)),
            trace=self.trace,
            present=not self.present,
            drops=self.adds,
            adds=self.drops,
            rekeys=self.rekeys,
            empty=empty,
            sums=sums,
        )

    def sql(self) -> str:
        if not self.drops and not self.adds:
            listed = ", ".join(f"{quoted(*of)} TO {quoted(*to)}" for of, to in self.renames)
            return f"RENAME TABLE {listed}"
        ((of, to),) = self.renames
        parts = [f"DROP FOREIGN KEY {quoted(key.name)}" for key in self.drops]
        parts += [f"ADD {clause(key)}" for key in self.adds]
        parts += self.rekeys if self.adds else ()
        return f"ALTER TABLE {quoted(*of)} {', '.join(parts)}, RENAME TO {quoted(*to)}"

    def receipt(self, call: str) -> str:
        """What ``receipts.ask`` is asked by."""
        return f"{call}|{'+' if self.present else '-'}{self.trace[0]}|{self.trace[1]}"

    def as_json(self) -> dict[str, Json]:
        return {
            "renames": [[list(of), list(to)] for of, to in self.renames],
            "trace": list(self.trace),
            "present": self.present,
            "drops": [_key_json(key) for key in self.drops],
            "adds": [_key_json(key) for key in self.adds],
            "rekeys": list(self.rekeys),
            "empty": list(self.empty) if self.empty else None,
            "sums": self.sums,
        }


def from_json(told: Mapping[str, Json]) -> Move:
    """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what ``as_json`` did not make."""
    empty = told["empty"]
    return Move(
        renames=tuple((_name(of), _name(to)) for of, to in told["renames"]),
        trace=_name(told["trace"]),
        present=bool(told["present"]),
        drops=tuple(map(_key, told["drops"])),
        adds=tuple(map(_key, told["adds"])),
        rekeys=tuple(map(str, told.get("rekeys", ()))),
        empty=_name(empty) if empty else None,
        sums=told.get("sums"),
    )


def aside(call: str, what: str = "q") -> Name:
    """Where a table of ``call`` is kept."""
    return OWN_SCHEMA, f"{what}_{call}"


def marked(move: Move, call: str) -> Move:
    """With a table of its own as the trace, which moves along."""
    before, after = aside(call, "m"), aside(call, "k")
    return replace(move, renames=(*move.renames, (before, after)), trace=after, present=True)


def clause(key: ForeignKey) -> str:
    """What adds a foreign key, after ADD."""
    columns = ", ".join(map(quoted, key.columns))
    references = ", ".join(map(quoted, key.references))
    return (
        f"CONSTRAINT {quoted(key.name)} FOREIGN KEY ({columns}) REFERENCES {quoted(*key.parent)} "
        f"({references}) ON DELETE {key.on_delete} ON UPDATE {key.on_update}"
    )


def _name(told: Sequence[Json]) -> Name:
    schema, name = told
    return str(schema), str(name)


def _key_json(key: ForeignKey) -> dict[str, Json]:
    return {
        "name": key.name,
        "child": list(key.child),
        "columns": list(key.columns),
        "parent": list(key.parent),
        "references": list(key.references),
        "on_delete": key.on_delete,
        "on_update": key.on_update,
    }


def _key(told: Mapping[str, Json]) -> ForeignKey:
    return ForeignKey(
        name=str(told["name"]),
        child=_name(told["child"]),
        columns=tuple(map(str, told["columns"])),
        parent=_name(told["parent"]),
        references=tuple(map(str, told["references"])),
        on_delete=str(told["on_delete"]),
        on_update=str(told["on_update"]),
    )
