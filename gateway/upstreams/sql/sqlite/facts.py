"""What the judge found out about a text: handed by ``parse`` to ``attempt``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gateway.model import ActionClass, Effect

Value = None | int | float | str | bytes
Bindings = tuple[Value, ...] | dict[str, Value]


class Act(NamedTuple):
    """One question of the engine's authorizer."""

    op: int
    first: str | None
    second: str | None
    database: str | None
    via: str | None  # the trigger or view on whose behalf it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Sole:
    """``verb``: ``insert``, ``update`` or ``delete``. ``every``: it may well meet every row."""

    table: str
    verb: str
    every: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One statement. ``acts`` is all that it was seen to do, and all that it may do when it
    runs. ``modules``: virtual tables it uses and the shadow tables that these keep. ``whole``:
    whether it writes such a table, which only the file as a whole takes back. ``sole``: all that
    it can change, where that is one kind of change of one table."""

    sql: str
    verb: str
    cls: ActionClass
    effects: tuple[Effect, ...]
    functions: tuple[str, ...]
    bounded: bool
    acts: frozenset[Act]
    modules: frozenset[str]
    bindings: Bindings
    whole: bool = False
    sole: Sole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A whole text, all of it judged before any of it runs."""

    statements: tuple[Judged, ...]
    single: bool

    @property
    def cls(self) -> ActionClass:
        return max((s.cls for s in self.statements), key=_REACH.index)

    @property
    def sole(self) -> Sole | None:
        """The one kind of change of one table that is all of it, if it is."""
        found = {s.sole for s in self.statements if s.cls is not ActionClass.READ}
        return next(iter(found)) if len(found) == 1 else None

    @property
    def ddl(self) -> bool:
        return any(s.cls is ActionClass.DDL for s in self.statements)

    @property
    def whole_file(self) -> bool:
        """Whether only the file as a whole can take it back."""
        return self.ddl or any(s.whole for s in self.statements)

    @property
    def dropped(self) -> frozenset[str]:
        """The tables that are dropped, with all their rows."""
        return frozenset(
            e.name.partition(".")[2]
            for s in self.statements
            for e in s.effects
            if e.kind == "table" and e.verb == "drop"
        )

    @property
    def written(self) -> frozenset[str]:
        """The tables that the statements themselves, their triggers and cascades write."""
        return frozenset(
            e.name.partition(".")[2]
            for s in self.statements
            for e in s.effects
            if e.kind == "table" and e.verb in ("insert", "update", "delete")
        )


_REACH = list(ActionClass)
