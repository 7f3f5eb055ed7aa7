"""What a call did to rows and to the schema, one after the other: a revert of several calls does
both, and is taken back in turn leg by leg, the last one first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import ImageDamaged, SnapshotFailed
from gateway.interfaces import Spooler
from gateway.model import Json, Reversibility, Undo
from gateway.upstreams.sql.postgres.copying import copy_out
from gateway.upstreams.sql.postgres.ddl import records
from gateway.upstreams.sql.postgres.ddl.records import Part, Parts
from gateway.upstreams.sql.postgres.ddl.sequences import Reset
from gateway.upstreams.sql.postgres.images import (
    BINARY,
    TEXT,
    Rows,
    TableImage,
    decode,
    encode,
    images_of,
)
from gateway.upstreams.sql.postgres.restore import Restore
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from gateway.upstreams.sql.postgres.showing import page
from gateway.upstreams.sql.postgres.sink import Sink

KIND = "postgres.legs"
FORMAT = "postgres-legs-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """Schema changes or rows of tables. ``restores`` where the rows have no images yet."""

    parts: tuple[Part, ...] = ()
    images: tuple[TableImage, ...] = ()
    restores: tuple[Restore, ...] = ()


def legs_of(undo: Undo) -> list[Leg]:
    """In the order in which they were done, whatever kind of record it is. Raises
    ``ImageDamaged``."""
    if undo.kind == records.KIND:
        return [Leg(parts=tuple(records.parts_of(undo)))]
    if undo.kind != KIND:
        return [Leg(images=decode(undo))]
    if undo.manifest.get("format") != FORMAT:
        raise ImageDamaged("The way back of this call is in a form that is not known here.")
    try:
        return [
            Leg(parts=tuple(Part.from_json(part) for part in leg["parts"]))
            if "parts" in leg
            else Leg(images=images_of(undo, leg["tables"]))
            for leg in undo.manifest["legs"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageDamaged("The way back of this call cannot be read.") from error


def shown(undo: Undo) -> list[dict[str, Json]]:
    """What was made different in the schema, for people. Raises ``ImageDamaged``."""
    return [line for leg in legs_of(undo) for line in records.shown(leg.parts)]


async def seen(
    undo: Undo,
    peers: Callable[[], AbstractAsyncContextManager[Session]],
    spooler: Spooler,
    offset: int,
    limit: int,
) -> list[Mapping[str, Json]]:
    """A page of what the call changed, for people: the schema first, then rows. Raises
    ``ImageDamaged`` and ``psycopg.Error``."""
    told = shown(undo)
    images = [image for leg in legs_of(undo) for image in leg.images]
    found: list[Mapping[str, Json]] = [*told[offset : offset + limit]]
    left = limit - len(found)
    if not images or left <= 0:
        return found
    async with peers() as session:
        start = max(0, offset - len(told))
        return found + await page(session, images, spooler.read(undo), start, left)


class Ledger:
    """What a revert has done so far, leg by leg. ``exact``: whether rows that it restored are
    those that it says, because no trigger ran with them."""

    def __init__(self, session: Session, sink: Sink, *, budget: int, exact: bool) -> None:
        self._session = session
        self.sink = sink
        self.budget = budget
        self._exact = exact
        self._legs: list[Leg] = []

    def add(self, legs: Sequence[Leg]) -> None:
        self._legs += legs

    @property
    def schema(self) -> bool:
        """Whether there is more than rows in it."""
        return any(leg.parts for leg in self._legs)

    async def undo(
        self, source: str, xid: str, changed: frozenset[int], resets: Sequence[Reset]
    ) -> Undo:
        """How this is taken back. ``changed``: tables whose rows the transaction changed, by its
        own counters. Raises ``SnapshotFailed``."""
        parts = [part for leg in self._legs for part in leg.parts]
        told = {part.kept.table for part in parts if part.kept is not None}
        told |= {r.table.oid for leg in self._legs for r in leg.restores}
        rows = any(leg.restores for leg in self._legs)
        lost = not all(part.undo or part.made for part in parts) or bool(changed - told)
        how = Reversibility.COMPENSABLE if any(p.loose for p in parts) else Reversibility.EXACT
        if lost or (rows and not self._exact):
            how = Reversibility.IRREVERSIBLE
        try:
            legs = [await self._recorded(leg, xid, skip=lost) for leg in self._legs]
        except TooMuch as error:
            raise SnapshotFailed(f"The images take more than {self.budget} bytes.") from error
        image = await self.sink.finish()
        again = [reset.as_json() for reset in reversed(resets)]
        if not rows:
            found = Parts(parts=tuple(parts)).undo(source, xid, how, image)
            return replace(found, manifest={**found.manifest, "resets": again})
        manifest = {"format": FORMAT, "xid": xid, "legs": legs, "resets": again}
        return Undo(upstream=source, kind=KIND, reversibility=how, manifest=manifest, **image)

    async def _recorded(self, leg: Leg, xid: str, *, skip: bool) -> dict[str, Json]:
        if leg.parts:
            return {"parts": [part.as_json() for part in leg.parts]}
        images = [] if skip else [await self._image(restore) for restore in leg.restores]
        found: dict[str, Any] = encode(images, xid=xid)
        return {"tables": found["tables"]}

    async def _image(self, restore: Restore) -> TableImage:
        before, after = _did(restore)
        coding = BINARY if restore.table.binary else TEXT
        if restore.met is not None:
            updated = restore.met.updated
        else:
            (updated,) = await self._session.one(
                f"SELECT count(*) FROM {restore.w} WHERE op IN ('update', 'replace') AND NOT skip"
            )
        sides = [await self._rows(query, binary=coding == BINARY) for query in (before, after)]
        return replace(
            TableImage.of(
                restore.table,
                before=sides[0],
                after=sides[1],
                updated=updated,
                coding=coding,
                spread=restore.image.spread,
            ),
            family=restore.image.family,
        )

    async def _rows(self, query: str, *, binary: bool) -> Rows:
        offset = self.sink.size
        done = await copy_out(
            self._session, query, self.sink.write, binary=binary, budget=self.budget
        )
        return Rows(count=done.rows, offset=offset, size=done.size)


def _did(restore: Restore) -> tuple[str, str]:
    """Queries for the rows that were restored: as they were before that, and as they are."""

    def of(alias: str) -> str:
        binary = restore.table.binary
        return ", ".join(
            f"{alias}.{c.quoted}::{c.reg}" if c.reg and not binary else f"{alias}.{c.quoted}"
            for c in restore.table.stored
        )

    if restore.met is not None:  # every row of both images
        return f"SELECT {of('a')} FROM {restore.a} a", f"SELECT {of('b')} FROM {restore.b} b"
    old, new = f"{restore.o} o ON o.{restore.place} = w.nct", f"{restore.b} b ON b.ctid = w.bct"
    done = "WHERE w.op IS NOT NULL AND NOT w.skip"
    return (
        f"SELECT {of('o')} FROM {restore.w} w JOIN {old} {done}",
        f"SELECT {of('b')} FROM {restore.w} w JOIN {new} {done}",
    )
