"""Two shapes side by side: what one relation is now and what it should be, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.sql import Identifier

from gateway.model import Json
from gateway.upstreams.sql.postgres.ddl.shape import Shape

Part = dict[str, Json]
_KINDS = {
    "r": "TABLE",
    "p": "TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
    "i": "INDEX",
    "I": "INDEX",
}


@dataclass(frozen=True, slots=True)
class Sides:
    """One relation: its parts now and as they should be, by kind and name."""

    oid: str
    now: dict[str, dict[str, Part]]
    goal: dict[str, dict[str, Part]]

    @property
    def own(self) -> Part:
        return self.now["itself"][""]

    @property
    def wanted(self) -> Part:
        return self.goal["itself"][""]

    @property
    def kind(self) -> str:
        return _KINDS.get(str(self.own["relkind"]), "TABLE")

    @property
    def name(self) -> str:
        return Identifier(self.own["schema"], self.own["relname"]).as_string()

    def missing(self, kind: str) -> dict[str, Part]:
        here = self.now.get(kind, {})
        return {n: p for n, p in self.goal.get(kind, {}).items() if n not in here}

    def surplus(self, kind: str) -> dict[str, Part]:
        wanted = self.goal.get(kind, {})
        return {n: p for n, p in self.now.get(kind, {}).items() if n not in wanted}

    def changed(self, kind: str) -> Iterator[tuple[str, Part, Part]]:
        for name, part in self.now.get(kind, {}).items():
            other = self.goal.get(kind, {}).get(name)
            if other is not None and other != part:
                yield name, part, other


def everything(now: Shape) -> Iterator[Sides]:
    for oid, parts in _grouped(now).items():
        if "itself" in parts:
            yield Sides(oid, parts, parts)


def pairs(now: Shape, goal: Shape) -> Iterator[Sides]:
    here, there = _grouped(now), _grouped(goal)
    for oid, parts in here.items():
        if oid in there and parts != there[oid] and "itself" in parts and "itself" in there[oid]:
            yield Sides(oid, parts, there[oid])


def _grouped(shape: Shape) -> dict[str, dict[str, dict[str, Part]]]:
    found: dict[str, dict[str, dict[str, Part]]] = {}
    for key, part in shape.items():
        if key.startswith("relation "):
            _, oid, kind, *name = key.split(" ", 3)
            found.setdefault(oid, {}).setdefault(kind, {})[name[0] if name else ""] = part
    return found
