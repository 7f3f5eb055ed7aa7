"""Taking calls back: one transaction, newest call first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pymysql

from gateway.errors import ImageDamaged
from gateway.interfaces import Captured, Probe, Spooler, SpoolFull, Watch
from gateway.lifecycle import State
from gateway.model import (
    Conflict,
    Deny,
    EffectState,
    OnConflict,
    Outcome,
    Permit,
    Reversibility,
    Spooled,
    Step,
    Undo,
)
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql import catalog, receipts, rows
from gateway.upstreams.sql.mysql.images import (
    FORMAT,
    KIND,
    NO_WAY_BACK,
    RowTooLong,
    TableImage,
    manifest,
    pack,
    unpack,
)
from gateway.upstreams.sql.mysql.landing import Ask, land
from gateway.upstreams.sql.mysql.ledger import Ledger
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.pool import Lent
from gateway.upstreams.sql.mysql.restore import LOOSE, Restored, restore
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.triggers import Way, firing, unfired


class _Failed(Exception):
    """One call cannot be taken back, whatever the mode."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What a revert needs of its source."""

    source: str
    limits: SqlLimits
    spooler: Spooler
    ask: Ask
    probe: Probe


class MariadbUnwinding:
    """``Unwinding`` over one transaction of ``lent``. ``call``: the revert's."""

    def __init__(
        self,
        lent: Lent,
        call: str,
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
        seat: Seat,
    ) -> None:
        self._lent = lent
        self._call = call
        self._undos = undos
        self._mode = on_conflict
        self._seat = seat
        self._watch: Watch | None = None
        self._steps: tuple[Step, ...] = ()
        self._ledger = Ledger()
        self._spools = ExitStack()

    def watch(self, watch: Watch) -> None:
        self._watch = watch

    def close(self) -> None:
        """Gives up images that no permit was asked for."""
        self._spools.close()

    async def run(self) -> tuple[Step, ...]:
        """See ``Unwinding.run``. Raises ``UpstreamError`` when the database fails or a lock is
        not to be had in time."""
        self._steps = await self._lent.do(self._run)
        self._seat.probe("mysql.unwound")
        return self._steps

    def _run(self, session: Session) -> tuple[Step, ...]:
        session.run(rows.EXACT)
        session.run(LOOSE)
        session.run("START TRANSACTION READ WRITE")
        receipts.write(session, self._call)
        session.run("SAVEPOINT holdfast_whole")
        steps: list[Step] = []
        for number, (call, undo) in enumerate(self._undos):
            steps.append(self._step(session, call, undo))
            if self._watch is not None:
                self._watch.progress(number + 1, len(self._undos))
        if self._mode is OnConflict.ABORT and any(s.state != "reverted" for s in steps):
            session.run("ROLLBACK TO SAVEPOINT holdfast_whole")
            self._ledger = Ledger()
            steps = [_not_done(step) for step in steps]
        return tuple(steps)

    def _step(self, session: Session, call: str, undo: Undo) -> Step:
        step = Step(call=call, upstream=self._seat.source, action="nothing", state="reverted")
        session.run("SAVEPOINT holdfast_call")
        try:
            if undo.reversibility is Reversibility.IRREVERSIBLE:
                why = undo.manifest.get("why", "The call ran without a way back.")
                raise _Failed("revert.not_revertible", str(why))
            images = unpack(undo, self._seat.spooler.read(undo))
            if not images:
                return step
            names = ", ".join(image.table.resource for image in images)
            step = replace(step, action=f"restore rows of {names}")
            ways = _ways(session, images)
            done = restore(session, list(zip(images, ways, strict=True)), self._mode,
                           self._tell(call))  # fmt: skip
        except (_Failed, ImageDamaged) as error:
            session.run("ROLLBACK TO SAVEPOINT holdfast_call")
            return replace(step, state="failed", reason=error.reason, detail=error.detail)
        self._ledger.add(done.items)
        return _report(step, done, self._mode)

    def _tell(self, call: str) -> Callable[[Conflict], None]:
        def tell(conflict: Conflict) -> None:
            if self._watch is not None:
                self._watch.conflict(call, conflict)

        return tell

    async def capture(self) -> Captured | Deny:
        images = self._ledger.images()
        names = [image.table.at for image in images]
        found = await self._lent.do(lambda session: catalog.triggers(session, names))
        refusal = await self._lent.do(lambda session: firing(session, images, found))
        if refusal is not None:
            return self._once(refusal.detail)
        try:
            spooled = await self._lent.do(lambda session: self._spool(images, session.packet))
        except RowTooLong as error:
            return self._once(str(error))
        except SpoolFull:
            return Deny(
                reason="snapshot.failed",
                detail="The images are larger than snapshots.max_bytes allows.",
            )
        undo = Undo(
            upstream=self._seat.source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest=manifest(images),
            spooled=spooled,
        )
        return Captured(undo=undo, receipt=self._call)

    def _once(self, why: str) -> Captured:
        """It can be done, but not be taken back again."""
        undo = Undo(
            upstream=self._seat.source,
            kind=NO_WAY_BACK,
            reversibility=Reversibility.IRREVERSIBLE,
            manifest={"format": FORMAT, "why": why},
        )
        return Captured(undo=undo, receipt=self._call)

    def _spool(self, images: Sequence[TableImage], packet: int) -> Spooled:
        most = self._seat.limits.max_capture_bytes
        spool = self._spools.enter_context(self._seat.spooler.spool(most=most))
        for piece in pack(images, packet):
            spool.write(piece)
        return spool.finish()

    async def commit(self, permit: Permit) -> Outcome:
        if permit.call != self._call:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call}")
        landed = Outcome(state=State.REVERTED, effect=EffectState.APPLIED, steps=self._steps)
        self._seat.probe("mysql.unwind.committing")
        outcome = await land(self._lent, self._call, landed, ask=self._seat.ask)
        self._seat.probe("mysql.unwind.committed")
        return outcome


def _ways(session: Session, images: Sequence[TableImage]) -> list[Way]:
    """How each table is put back. Raises ``_Failed`` for one that was altered since, or whose
    triggers would fire."""
    for image in images:
        try:
            # Nobody can alter a table that a transaction has touched.
            session.rows(f"SELECT 1 FROM {quoted(*image.table.at)} LIMIT 1")
        except pymysql.ProgrammingError:
            raise _changed(image) from None
    found = catalog.tables(session, [image.table.at for image in images])
    triggers = catalog.triggers(session, [image.table.at for image in images])
    ways: list[Way] = []
    for image in images:
        table = found.get(image.table.at)
        if table is None or table.fingerprint != image.table.fingerprint:
            raise _changed(image)
        chosen = unfired(session, image, triggers)
        if chosen.fires:
            own = [t for t in triggers if t.table == image.table.at]
            raise _firing(image, [t.name for t in own if t.event in chosen.fires])
        ways.append(chosen)
    return ways


def _firing(image: TableImage, names: Sequence[str]) -> _Failed:
    return _Failed(
        "revert.not_revertible",
        f"This would fire triggers of {image.table.resource}: {', '.join(sorted(names))}. MariaDB "
        "cannot switch them off for a session.",
    )


def _changed(image: TableImage) -> _Failed:
    return _Failed(
        "revert.schema_changed",
        f"{image.table.resource} is not the table that it was when the call ran.",
    )


def _report(step: Step, done: Restored, mode: OnConflict) -> Step:
    state = "reverted" if not done.left else "partial" if done.rows else "conflict"
    if done.conflicts and mode is OnConflict.ABORT:
        state = "conflict"
    told = []
    if done.merged:
        told.append(f"{done.merged} rows were merged with what others changed in them.")
    if done.found:
        told.append(f"{done.found} rows were changed by others.")
    return replace(
        step,
        state=state,
        restored=done.rows,
        conflicts=tuple(done.conflicts),
        more=done.found - len(done.conflicts),
        reason="revert.conflict" if done.conflicts else None,
        detail=" ".join(told) or None,
    )


def _not_done(step: Step) -> Step:
    """What is left of a step after everything was rolled back."""
    return replace(step, restored=0, state="skipped" if step.state == "reverted" else step.state)
