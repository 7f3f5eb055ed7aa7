"""The schema changes and TRUNCATEs of one call, done in its open transaction so that each can be
taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from gateway.interfaces import Probe, no_probe
from gateway.model import Deny, Reversibility, RowCounts, Undo
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.ddl import sequences
from gateway.upstreams.sql.postgres.ddl.altering import alter
from gateway.upstreams.sql.postgres.ddl.columns import stored
from gateway.upstreams.sql.postgres.ddl.dropping import attempted, drop
from gateway.upstreams.sql.postgres.ddl.naming import seeds
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.ddl.records import Part, Parts
from gateway.upstreams.sql.postgres.ddl.rights import lacking
from gateway.upstreams.sql.postgres.ddl.sequences import Reset
from gateway.upstreams.sql.postgres.ddl.shape import Difference, Scope
from gateway.upstreams.sql.postgres.ddl.truncating import Clearing, copied
from gateway.upstreams.sql.postgres.extent import Extent
from gateway.upstreams.sql.postgres.images import KIND, TableImage, encode
from gateway.upstreams.sql.postgres.preparing import HOME
from gateway.upstreams.sql.postgres.replies import Reply
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.setting import SETVAL
from gateway.upstreams.sql.postgres.sink import Sink
from gateway.upstreams.sql.postgres.written import Written

Peers = Callable[[], AbstractAsyncContextManager[Session]]
Tried = Callable[[], Awaitable[Reply]]


class SchemaWork:
    """``own`` is the call's transaction. ``loose``: policy accepted an inexact way back. Knows
    afterwards what was done: ``counts`` of rows by table, and the undo."""

    def __init__(
        self,
        own: Session,
        peers: Peers,
        sink: Sink,
        *,
        limits: SqlLimits,
        replica: bool,
        call: str = "",
        loose: bool = False,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._sink = sink
        self._peers = peers
        self._limits = limits
        self._replica = replica
        self._loose = loose
        self._probe = probe
        self._call = call
        self._parts: list[Part] = []
        self._images: list[TableImage] = []
        self._resets: list[Reset] = []
        self._counts: dict[str, RowCounts] = {}
        self._cleared: set[int] = set()
        self._made: set[int] = set()
        self.used = False

    @property
    def counts(self) -> Mapping[str, RowCounts]:
        """By table: rows that were cleared; nothing for what was put away or altered."""
        named = {
            f"{m.schema}.{m.name}": RowCounts()
            for part in self._parts
            for m in part.moved
            if m.kind == "table"
        }
        return {**named, **self._counts}

    async def run(self, change: Written, tried: Tried) -> Reply:
        """Does ``change``; ``tried`` sends its text verbatim. Raises ``NoWayBack``, ``Unfit``,
        ``SnapshotFailed`` or ``UpstreamError``, and what the server says to the statement."""
        self.used = True
        reply = await self._done(change, tried)
        self._probe("postgres.schema.changed")
        return reply

    async def _done(self, change: Written, tried: Tried) -> Reply:
        if change.verb == "truncate":
            return await self._truncate(change, tried)
        if change.verb == "drop":
            named = [n for n in change.named if n.verb == "drop"]
            found = await seeds(self._own, named)
            reply, part = await drop(self._own, found, call=self._call, tried=tried)
            self._parts += [part] if part is not None else []
            return reply
        if change.restarts:
            return await self._restart(change, tried)
        reply, parts = await alter(self._own, change, tried=tried, loose=self._loose)
        self._parts += parts
        self._made |= {made.oid for part in parts for made in part.made}
        return reply

    async def _restart(self, change: Written, tried: Tried) -> Reply:
        """ALTER that sets sequences anew: the catalog does not say where they stood."""
        found = await seeds(self._own, [n for n in change.named if n.verb == "alter"])
        counters = await sequences.concerned(self._own, [s.oid for s in found])
        for counter in counters:
            await attempted(self._own, sequences.holding(counter))
        before = {c.oid: await sequences.stands(self._own, c.quoted) for c in counters}
        parts: list[Part] = []
        if SETVAL in change.alters:
            for counter in counters:
                await sequences.renewed(self._own, counter, before[counter.oid])
            reply = await tried()
        else:
            reply, parts = await alter(self._own, change, tried=tried, loose=self._loose)
        self._parts += parts
        resets = await sequences.moved(self._own, counters, before)
        self._resets += resets
        async with self._peers() as peer:
            missing = await lacking(peer, [_about(resets)])
        if missing is not None:
            raise NoWayBack(missing)
        return reply

    async def _truncate(self, change: Written, tried: Tried) -> Reply:
        named = [n for n in change.named if n.verb == "truncate"]
        found = [(s.oid, n.only) for n in named for s in await seeds(self._own, [n])]
        if len(found) < len(named):
            return await tried()  # which says that there is no such table
        clearing = Clearing(named=found, cascades=change.cascades, restarts=change.restarts)
        async with self._peers() as peer:
            cleared = await copied(
                self._own,
                peer,
                clearing,
                self._sink,
                limits=self._limits,
                replica=self._replica,
                known=self._cleared,
            )
        reply = await tried()
        self._resets += await cleared.resets(self._own)
        self._images += cleared.images
        self._cleared |= cleared.tables
        self._counts.update(cleared.counts)
        return reply

    def without_proofs(self, extent: Extent) -> Extent:
        """``extent`` without the register of places, and without what the proofs did in savepoints,
        which the counters still show."""
        filled = {part.filled for part in self._parts}
        return replace(
            extent,
            tables=tuple(t for t in extent.tables if t.oid not in filled and t.schema != HOME),
        )

    async def undo(self, source: str, xid: str, extent: Extent) -> Undo | Deny:
        """The way back, once everything ran."""
        rows = [
            table.resource
            for table in extent.tables
            if table.resource not in self._counts and table.oid not in self._made
        ]
        if rows:
            return _unavailable(
                f"it also changed rows of {', '.join(rows)}; send changes of rows apart."
            )
        if extent.refusal is not None and not self._own_matview(extent):
            return _unavailable(f"{extent.refusal}.")
        if not self._parts:
            manifest = encode(self._images, xid=xid)
            manifest["resets"] = [reset.as_json() for reset in self._resets]
            return Undo(
                upstream=source,
                kind=KIND,
                reversibility=Reversibility.EXACT,
                manifest=manifest,
                **await self._sink.finish(),
            )
        if self._resets:
            return _unavailable("it sets sequences anew and changes more; send these apart.")
        async with self._peers() as peer:
            missing = await lacking(peer, self._parts)
        if missing is not None:
            return _unavailable(missing)
        how = Reversibility.COMPENSABLE if self._loose else Reversibility.EXACT
        parts = [await self._stored(part) for part in self._parts]
        return Parts(parts=tuple(parts)).undo(source, xid, how, await self._sink.finish())

    async def _stored(self, part: Part) -> Part:
        if part.kept is None:
            return part
        kept = await stored(self._own, part.kept, self._sink, self._limits.max_capture_bytes)
        return replace(part, kept=kept)

    def _own_matview(self, extent: Extent) -> bool:
        """Filling what the call itself made is no change of rows that could be missed."""
        odd = [table for table in extent.tables if table.kind != "r"]
        return bool(odd) and all(t.kind == "m" and t.oid in self._made for t in odd)


def _about(resets: Sequence[Reset]) -> Part:
    """Whose owner somebody has to be who puts ``resets`` back."""
    return Part(
        verb="alter",
        names=(),
        undo=(),
        redo=(),
        scope=Scope(relations=frozenset(r.oid for r in resets)),
        difference=Difference(before={}, after={}),
    )


def _unavailable(why: str) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This cannot be undone exactly: {why} It was rolled back and nothing changed.",
    )
