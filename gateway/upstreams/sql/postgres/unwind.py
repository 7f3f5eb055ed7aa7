"""Taking calls back: one transaction, newest call first."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import psycopg

from gateway.errors import ImageDamaged
from gateway.interfaces import Captured, Probe, Spooler, Watch
from gateway.lifecycle import State
from gateway.model import (
    LISTED,
    Conflict,
    Deny,
    EffectState,
    OnConflict,
    Outcome,
    Permit,
    Reversibility,
    Step,
    Undo,
)
from gateway.upstreams.sql.altered import altered, gone
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres import catalog, references
from gateway.upstreams.sql.postgres.capture import Capture
from gateway.upstreams.sql.postgres.catalog import ForeignKey, Table
from gateway.upstreams.sql.postgres.conflicts import conflicts
from gateway.upstreams.sql.postgres.copying import Segments
from gateway.upstreams.sql.postgres.ddl.records import KIND as SCHEMA
from gateway.upstreams.sql.postgres.ddl.records import Part
from gateway.upstreams.sql.postgres.ddl.reverting import take_back
from gateway.upstreams.sql.postgres.ddl.sequences import Reset, put_back
from gateway.upstreams.sql.postgres.extent import Extent, baseline, extent
from gateway.upstreams.sql.postgres.failures import upstream_error
from gateway.upstreams.sql.postgres.fitness import Unfit, unfit
from gateway.upstreams.sql.postgres.images import TableImage, row_count
from gateway.upstreams.sql.postgres.landing import Ask, land
from gateway.upstreams.sql.postgres.legs import KIND as LEGS
from gateway.upstreams.sql.postgres.legs import Ledger, Leg, legs_of
from gateway.upstreams.sql.postgres.preparing import HOME
from gateway.upstreams.sql.postgres.restore import Problem, Restore, link, note_undone
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.sink import Sink, opening
from gateway.upstreams.sql.postgres.stepping import NOTHING, acting, disputed, not_done
from gateway.upstreams.sql.postgres.straight import straight
from gateway.upstreams.sql.postgres.turning import turned

# Images of some 100,000 rows are joined without a detour over files, and their temporary tables
# looked at no closer than that needs.
_JOINS = "SET LOCAL work_mem = '64MB'; SET LOCAL default_statistics_target = 10"


class _Failed(Exception):
    """One call cannot be taken back, whatever the mode."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a revert runs: its own session, a second one that reads images of it, and whether
    triggers can be switched off there."""

    own: Session
    peer: Session
    replica: bool
    spooler: Spooler


class PostgresUnwinding:
    """``Unwinding`` over one transaction of ``seat.own``."""

    def __init__(
        self,
        *,
        source: str,
        seat: Seat,
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
        limits: SqlLimits,
        ask: Ask,
        probe: Probe,
        open_until: ExitStack,
    ) -> None:
        self._source = source
        self._seat = seat
        self._session = seat.own
        self._undos = undos
        self._mode = on_conflict
        self._limits = limits
        self._ask = ask
        self._probe = probe
        self._open_until = open_until
        self._prefix = f"hf_{secrets.token_hex(6)}_"
        self._receipt = ""
        self._rehearsal = False
        self._steps: tuple[Step, ...] = ()
        sink = Sink(opening(seat.spooler, open_until, most=limits.max_capture_bytes))
        self._ledger = Ledger(seat.own, sink, budget=limits.max_capture_bytes, exact=seat.replica)
        self._resets: list[Reset] = []
        self._watch: Watch | None = None
        self._made: tuple[Restore, ...] = ()

    def watch(self, watch: Watch) -> None:
        self._watch = watch

    async def run(self) -> tuple[Step, ...]:
        """See ``Unwinding.run``. Raises ``UpstreamError`` when the database fails or a lock is
        not to be had in time."""
        try:
            await self._begin()
            steps = []
            for i, (id, undo) in enumerate(self._undos):
                self._tell(i)
                steps.append(await self._step(i, id, undo))
            self._tell(len(self._undos))
            if self._mode is OnConflict.ABORT and any(s.state != "reverted" for s in steps):
                await self._session.run("ROLLBACK TO SAVEPOINT whole")
                self._made = ()
                steps = [not_done(s) for s in steps]
        except psycopg.Error as error:
            raise upstream_error(error, self._source) from error
        self._steps = tuple(steps)
        self._probe("postgres.unwound")
        return self._steps

    def _tell(self, done: int) -> None:
        """Progress in rows, after so many calls."""
        if self._watch is not None:
            sizes = [row_count(undo) for _, undo in self._undos]
            self._watch.progress(sum(sizes[:done]), sum(sizes))

    async def try_one(self) -> tuple[Step, tuple[Restore, ...]]:
        """The only undo, tried in a transaction that others opened and that they roll back to
        where it was; and what was restored, table by table."""
        if self._seat.replica:
            await self._session.run("SET LOCAL session_replication_role = replica")
        self._rehearsal = True
        ((call, undo),) = self._undos
        return await self._step(0, call, undo), self._made

    async def capture(self) -> Captured | Deny:
        try:
            found = await extent(self._session, self._baseline, own_temporary=True)
            if self._ledger.schema:
                return await self._schema_undo(found)
            most = self._limits.max_capture_bytes
            spool = opening(self._seat.spooler, self._open_until, most=most)
            captured: Captured | Deny | None = await turned(
                self._made,
                found,
                self._undos,
                source=self._source,
                receipt=self._receipt,
                spooler=self._seat.spooler,
                spool=spool,
            )
            captured = captured or await Capture(
                self._source,
                self._session,
                self._seat.peer,
                limits=self._limits,
                replica=self._seat.replica,
                spool=spool,
            ).take(found, self._receipt)
            return captured if isinstance(captured, Deny) else self._with_resets(captured)
        except psycopg.Error as error:
            raise upstream_error(error, self._source) from error

    async def commit(self, permit: Permit) -> Outcome:  # noqa: ARG002 - the duty is the type's
        landed = Outcome(state=State.REVERTED, effect=EffectState.APPLIED, steps=self._steps)
        self._probe("postgres.unwind.committing")
        outcome = await land(
            self._session, self._receipt, landed, ask=self._ask, source=self._source
        )
        self._probe("postgres.unwind.committed")
        return outcome

    async def _schema_undo(self, found: Extent) -> Captured:
        changed = frozenset(t.oid for t in found.tables if t.schema != HOME)
        undo = await self._ledger.undo(self._source, self._receipt, changed, self._resets)
        return Captured(undo=undo, receipt=self._receipt)

    def _with_resets(self, captured: Captured) -> Captured:
        resets = [reset.as_json() for reset in reversed(self._resets)]
        manifest = {**captured.undo.manifest, "resets": resets}
        return replace(captured, undo=replace(captured.undo, manifest=manifest))

    # --- one call -------------------------------------------------------------------------

    async def _begin(self) -> None:
        run = self._session.run
        await run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        if self._seat.replica:
            await run("SET LOCAL session_replication_role = replica")
        await run(f"{_JOINS}; SET CONSTRAINTS ALL IMMEDIATE")
        self._baseline = await baseline(self._session)
        (self._receipt,) = await self._session.one("SELECT pg_catalog.pg_current_xact_id()::text")
        await run("SAVEPOINT whole")

    async def _step(self, number: int, call: str, undo: Undo) -> Step:
        step = Step(call=call, upstream=self._source, action=NOTHING, state="reverted")
        await self._session.run("SAVEPOINT call")
        try:
            if undo.reversibility is Reversibility.IRREVERSIBLE:
                raise _Failed("revert.not_revertible", "The call ran without a way back.")
            step = await self._legs_back(step, number, undo)
            if step.state in ("reverted", "partial"):
                step = await self._sequences_back(step, undo)
        except _Failed as error:
            step = replace(step, state="failed", reason=error.reason, detail=error.detail)
        except ImageDamaged as error:
            step = replace(step, state="failed", reason=error.reason, detail=error.detail)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            step = replace(
                step,
                state="failed",
                reason="revert.schema_changed",
                detail=f"A row does not fit into its table any more: {error.diag.message_primary}.",
            )
        if step.state == "failed" or (undo.kind in (SCHEMA, LEGS) and step.state == "conflict"):
            await self._session.run("ROLLBACK TO SAVEPOINT call")
            self._made = ()
        await self._session.run("RELEASE SAVEPOINT call")
        return step

    async def _legs_back(self, step: Step, number: int, undo: Undo) -> Step:
        """All legs of one call; of several, or of changes of the schema, all or none."""
        legs = legs_of(undo)
        done: list[Leg] = []
        for n, leg in enumerate(reversed(legs)):
            if leg.parts:
                step, parts = await self._schema_back(step, undo, leg.parts)
                done.append(Leg(parts=parts))
            elif leg.images:
                names = ", ".join(image.resource for image in leg.images)
                step = acting(step, f"restore rows of {names}")
                segments = Segments(self._seat.spooler.read(undo))
                step = await self._take_back(step, f"{number}_{n}", leg.images, segments)
                done.append(Leg(restores=self._made))
            if step.state == "partial" and len(legs) > 1:
                step = replace(step, state="conflict", restored=0)
            if step.state not in ("reverted", "partial"):
                return step
        self._ledger.add(done)
        return step

    async def _schema_back(
        self, step: Step, undo: Undo, parts: Sequence[Part]
    ) -> tuple[Step, tuple[Part, ...]]:
        names = ", ".join(dict.fromkeys(name for part in parts for name in part.names))
        step = acting(step, f"undo {parts[0].verb} of {names}")
        backs: list[Part] = []
        for part in reversed(parts):
            back = await take_back(
                self._session,
                part,
                lambda: Segments(self._seat.spooler.read(undo)),
                call=step.call,
                sink=self._ledger.sink,
                budget=self._ledger.budget,
                force=self._mode is OnConflict.FORCE,
                rehearsal=self._rehearsal,
            )
            if back.failed is not None:
                reason = "revert.not_revertible" if back.purged else "revert.schema_changed"
                raise _Failed(reason, back.failed)
            if back.conflicts:
                for conflict in back.conflicts:
                    if self._watch is not None:
                        self._watch.conflict(step.call, conflict)
                return disputed(step, back.conflicts), ()
            self._probe("postgres.schema.back")
            backs.append(back.part)
            step = replace(step, restored=step.restored + back.restored)
        return step, tuple(backs)

    async def _sequences_back(self, step: Step, undo: Undo) -> Step:
        wanted = [Reset.from_json(reset) for reset in undo.manifest.get("resets", ())]
        done = await put_back(self._session, wanted)
        self._resets += done
        return replace(step, restored=step.restored + len(done))

    async def _take_back(
        self, step: Step, number: str, images: Sequence[TableImage], segments: Segments
    ) -> Step:
        restores = await self._restores(number, images)
        self._made = tuple(restores)
        keys = await catalog.foreign_keys(self._session, [r.table for r in restores])
        await self._still_fit([r.table for r in restores], keys)
        for restore in restores:
            await restore.load(segments)
        await asyncio.to_thread(segments.drain)
        await self._session.run("SAVEPOINT attempt")
        if await straight(self._session, restores, keys, replica=self._seat.replica):
            return await self._report(step, restores)
        await self._session.run("ROLLBACK TO SAVEPOINT attempt")
        for restore in restores:
            await restore.compare()
        if self._mode is not OnConflict.FORCE:
            await note_undone(restores)
        if self._mode is not OnConflict.ABORT:
            await link(restores)
        while True:
            await self._session.run("SAVEPOINT attempt")
            problems = await self._apply(restores, keys)
            if not problems:
                break
            await self._session.run("ROLLBACK TO SAVEPOINT attempt")
            for restore in restores:
                await restore.skip([p for r, p in problems if r is restore])
            if self._mode is not OnConflict.ABORT:
                await link(restores)
        return await self._report(step, restores)

    async def _restores(self, number: str, images: Sequence[TableImage]) -> list[Restore]:
        found = await catalog.tables(self._session, [image.oid for image in images])
        restores: list[Restore] = []
        for i, image in enumerate(images):
            table = found.get(image.oid)
            rows = max(image.before.count, image.after.count)
            if table is None:
                raise _Failed("revert.schema_changed", gone(image.resource, rows))
            if not image.fits(table):
                before = {c.name: c.type for c in image.columns}
                now = {c.name: c.type for c in table.stored}
                raise _Failed("revert.schema_changed", altered(image.resource, before, now, rows))
            restores.append(
                Restore(
                    self._session,
                    table,
                    image,
                    prefix=f"{self._prefix}{number}_{i}",
                    mode=self._mode,
                    replica=self._seat.replica,
                )
            )
        return restores

    async def _still_fit(self, tables: Sequence[Table], keys: Sequence[ForeignKey]) -> None:
        """Triggers, rights and constraints may be others than when the images were made."""
        family = frozenset(oid for table in tables for oid in table.ancestors)
        for table in tables:
            try:
                await unfit(self._session, table, keys, touched=family, replica=self._seat.replica)
            except Unfit as error:
                raise _Failed("revert.not_revertible", f"Not restored: {error}") from error

    async def _apply(
        self, restores: Sequence[Restore], keys: Sequence[ForeignKey]
    ) -> list[tuple[Restore, Problem]]:
        problems: list[tuple[Restore, Problem]] = []
        for restore in restores:
            problems += [(restore, problem) for problem in await restore.apply()]
        if problems or not self._seat.replica:
            return problems
        return await references.broken(self._session, restores, keys)

    async def _report(self, step: Step, restores: Sequence[Restore]) -> Step:
        listed: list[Conflict] = []
        restored = left = merged = found = 0
        for restore in restores:
            async for conflict in conflicts(self._session, restore):
                found += 1
                if found <= LISTED:
                    listed.append(conflict)
                if self._watch is not None:
                    self._watch.conflict(step.call, conflict)
            restored += await restore.restored()
            left += await restore.left()
            merged += await restore.merged()
        detail = []
        if merged:
            detail.append(f"{merged} rows were merged with what others changed in them.")
        if left:
            detail.append(f"{left} rows were changed by others and left as they are.")
        state = "reverted" if not left else "partial" if restored else "conflict"
        if listed and self._mode is OnConflict.ABORT:
            state = "conflict"
        return replace(
            step,
            state=state,
            restored=step.restored + restored,
            conflicts=tuple(listed),
            more=found - len(listed),
            reason="revert.conflict" if left else None,
            detail=" ".join(detail) or None,
        )
