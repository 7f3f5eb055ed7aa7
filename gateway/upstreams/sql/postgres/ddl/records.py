"""What is kept about a schema change: how to take it back, how to do it again, and how everything
that it touched looked before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gateway.errors import ImageDamaged
from gateway.model import Json, Reversibility, Undo
from gateway.upstreams.sql.postgres.ddl.columns import Kept
from gateway.upstreams.sql.postgres.ddl.quarantine import Moved
from gateway.upstreams.sql.postgres.ddl.shape import Difference, Scope, Shape

KIND = "postgres.schema"
FORMAT = "postgres-schema-1"
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An object that came into being: it is taken back by putting it into quarantine. ``rows``:
    how many it held then, 0 where it can hold none."""

    catalog: str
    oid: int
    name: str
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One schema change. ``undo`` and ``redo`` are statements in order; ``difference`` is what it
    made different within ``scope``; ``names`` says in words what it was about."""

    verb: str
    names: tuple[str, ...]
    undo: tuple[str, ...]
    redo: tuple[str, ...]
    scope: Scope
    difference: Difference
    moved: tuple[Moved, ...] = ()
    places: tuple[str, ...] = ()
    made: tuple[Made, ...] = ()
    back: bool = False  # it takes things out of quarantine
    loose: bool = False  # the order of columns is not part of it
    moves: bool = False  # it did nothing but move things: ``difference`` tells their places only
    seen: Shape = field(default_factory=dict)  # where it only moved things: how it left them
    kept: Kept | None = None
    filled: int = 0  # the table whose columns were filled while this was proven; not recorded

    @property
    def swapped(self) -> Part:
        """The part that takes the taking back back."""
        return replace(
            self,
            verb="revert",
            undo=self.redo,
            redo=self.undo,
            difference=Difference(before=self.difference.after, after=self.difference.before),
            back=not self.back,
            filled=0,
        )

    def as_json(self) -> dict[str, Json]:
        return {
            "verb": self.verb,
            "names": list(self.names),
            "undo": list(self.undo),
            "redo": list(self.redo),
            "scope": self.scope.as_json(),
            "before": dict(self.difference.before),
            "after": dict(self.difference.after),
            "moved": [asdict(m) for m in self.moved],
            "places": list(self.places),
            "made": [asdict(m) for m in self.made],
            "back": self.back,
            "loose": self.loose,
            "moves": self.moves,
            "seen": dict(self.seen),
            "kept": self.kept.as_json() if self.kept else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Part:
        return cls(
            verb=data["verb"],
            names=tuple(data["names"]),
            undo=tuple(data["undo"]),
            redo=tuple(data["redo"]),
            scope=Scope.from_json(data["scope"]),
            difference=Difference(before=data["before"], after=data["after"]),
            moved=tuple(Moved(**m) for m in data["moved"]),
            places=tuple(data["places"]),
            made=tuple(Made(**m) for m in data["made"]),
            back=bool(data["back"]),
            loose=bool(data["loose"]),
            moves=bool(data.get("moves")),
            seen=data.get("seen", {}),
            kept=Kept.from_json(data["kept"]) if data["kept"] else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one call, in the order in which they were done."""

    parts: tuple[Part, ...] = field(default=())

    def undo(
        self, source: str, xid: str, reversibility: Reversibility, image: Mapping[str, Any] = _NONE
    ) -> Undo:
        """``image``: what a ``Sink`` finished with."""
        return Undo(
            upstream=source,
            kind=KIND,
            reversibility=reversibility,
            manifest={
                "format": FORMAT,
                "xid": xid,
                "parts": [part.as_json() for part in self.parts],
            },
            **image,
        )


def parts_of(undo: Undo) -> Sequence[Part]:
    """Raises ``ImageDamaged`` for a record that is not one of ``Parts.undo``."""
    if undo.kind != KIND or undo.manifest.get("format") != FORMAT:
        raise ImageDamaged("The way back of this call is in a form that is not known here.")
    try:
        return [Part.from_json(part) for part in undo.manifest["parts"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageDamaged("The way back of this call cannot be read.") from error


def shown(parts: Sequence[Part]) -> list[dict[str, Json]]:
    """What ``parts`` made different, for people."""
    return [
        {
            "resource": ", ".join(part.names),
            "key": {"part": key},
            "before": part.difference.before.get(key),
            "after": part.difference.after.get(key),
        }
        for part in parts
        for key in part.difference.parts
    ]
