"""What a freeze covers, and the part of a call that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.model.actions import ActionClass, Json, Surface


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a freeze covers. An empty dimension covers everything; the empty scope covers
    everything that writes. Reads are covered only where ``effects`` says ``read``."""

    sources: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()  # action classes or verbs

    def covers(self, reach: Reach) -> bool:
        if self.effects:
            if not {str(reach.cls), *reach.verbs} & set(self.effects):
                return False
        elif reach.cls is ActionClass.READ:
            return False
        if self.sources or self.tools:
            named = self.sources if reach.surface is Surface.SQL else self.tools
            if reach.tool not in named:
                return False
        if self.agents and reach.agent not in self.agents:
            return False
        return not self.tables or any(_names_table(t, reach.tables) for t in self.tables)

    def as_json(self) -> dict[str, Json]:
        return {
            "sources": list(self.sources),
            "tools": list(self.tools),
            "tables": list(self.tables),
            "agents": list(self.agents),
            "effects": list(self.effects),
        }


def _names_table(wanted: str, tables: tuple[str, ...]) -> bool:
    # "customers" covers "main.customers" and "public.customers"; "*" stands for a table that
    # could not be named, which every freeze of a table covers.
    wanted = wanted.casefold()
    for table in tables:
        have = table.casefold()
        if have in ("*", wanted) or have.rpartition(".")[2] == wanted:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The part of a call that a freeze is compared with; kept on the call's row."""

    surface: Surface
    tool: str
    agent: str
    cls: ActionClass
    verbs: tuple[str, ...]
    tables: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        return {
            "surface": str(self.surface),
            "tool": self.tool,
            "agent": self.agent,
            "cls": str(self.cls),
            "verbs": list(self.verbs),
            "tables": list(self.tables),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Reach:
        return cls(
            surface=Surface(data["surface"]),
            tool=data["tool"],
            agent=data["agent"],
            cls=ActionClass(data["cls"]),
            verbs=tuple(data["verbs"]),
            tables=tuple(data["tables"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """``origin`` is ``admin`` for one made by a person, ``window:NAME`` for a recurring one."""

    id: str
    scope: Scope
    reason: str
    starts_at: datetime
    ends_at: datetime | None = None
    epoch: int = 0
    origin: str = "admin"
    created_by: str = ""
    lifted_at: datetime | None = None

    def active(self, now: datetime) -> bool:
        if self.lifted_at is not None or now < self.starts_at:
            return False
        return self.ends_at is None or now < self.ends_at
