"""Taking calls back: one transaction, newest call first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from gateway.upstreams.sql.mysql.bulk import bulk
from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.events import allowed
from gateway.upstreams.sql.mysql.images import (
    FORMAT,
    KIND,
    NO_WAY_BACK,
    RowTooLong,
    Summary,
    TableImage,
    manifest,
)
from gateway.upstreams.sql.mysql.keeping import Keeper, Kept
from gateway.upstreams.sql.mysql.keeping import refusal as refusal_of
from gateway.upstreams.sql.mysql.landing import Ask, land
from gateway.upstreams.sql.mysql.ledger import Ledger
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.pool import Lent
from gateway.upstreams.sql.mysql.restore import Restored, restore
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.triggers import Way, firing, unfired
from gateway.upstreams.sql.mysql.varieties import MYSQL


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
        self._whole: tuple[Kept, Sequence[Summary]] | None = None
        self._keeper = Keeper(seat.spooler, seat.limits.max_capture_bytes)

    def watch(self, watch: Watch) -> None:
        self._watch = watch

    def close(self) -> None:
        """Gives up images that no permit was asked for."""
        self._keeper.close()

    async def run(self) -> tuple[Step, ...]:
        """See ``Unwinding.run``. Raises ``UpstreamError`` when the database fails or a lock is
        not to be had in time."""
        self._steps = await self._lent.do(self._run)
        self._seat.probe("mysql.unwound")
        return self._steps

    def _run(self, session: Session) -> tuple[Step, ...]:
        if session.variety is MYSQL:
            allowed(session)
        session.run(rows.EXACT)
        session.run(session.variety.loose)
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
            kept = Kept(undo, self._seat.spooler)
            summaries = kept.summaries()
            if not summaries:
                return step
            names = ", ".join(one.table.resource for one in summaries)
            step = replace(step, action=f"restore rows of {names}")
            ways = _ways(session, summaries)
            if kept.large and len(self._undos) == 1:
                count = bulk(session, kept, ways)
                if count is not None:
                    self._whole = (kept, summaries)
                    return replace(step, restored=count)
            pairs = [(image, ways[image.table.at]) for image in kept.whole()]
            done = restore(session, pairs, self._mode, self._tell(call))
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
        images: Iterable[TableImage]
        if self._whole is not None:
            kept, taken = self._whole
            images = (part.turned() for part in kept.parts())
            summaries = [one.turned() for one in taken]
        else:
            images = self._ledger.images()
            summaries = [image.summary() for image in images]

        def spool(session: Session) -> Spooled | Deny:
            names = [one.table.at for one in summaries]
            refusal = firing(session, summaries, catalog.triggers(session, names))
            return refusal or self._keeper.written(images, session.packet)

        try:
            spooled = await self._lent.do(spool)
        except RowTooLong as error:
            return self._once(str(error))
        except SpoolFull as error:
            return refusal_of(error)
        except ImageDamaged as error:
            return Deny(reason=error.reason, detail=error.detail)
        if isinstance(spooled, Deny):
            return self._once(spooled.detail)
        undo = Undo(
            upstream=self._seat.source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest=manifest(summaries),
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

    async def commit(self, permit: Permit) -> Outcome:
        if permit.call != self._call:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call}")
        landed = Outcome(state=State.REVERTED, effect=EffectState.APPLIED, steps=self._steps)
        self._seat.probe("mysql.unwind.committing")
        outcome = await land(self._lent, self._call, landed, ask=self._seat.ask)
        self._seat.probe("mysql.unwind.committed")
        return outcome


def _ways(session: Session, summaries: Sequence[Summary]) -> dict[Name, Way]:
    """How each table is put back. Raises ``_Failed`` for one that was altered since, or whose
    triggers would fire."""
    for one in summaries:
        try:
            # Nobody can alter a table that a transaction has touched.
            session.rows(f"SELECT 1 FROM {quoted(*one.table.at)} LIMIT 1")
        except pymysql.ProgrammingError:
            raise _changed(one) from None
    found = catalog.tables(session, [one.table.at for one in summaries])
    triggers = catalog.triggers(session, [one.table.at for one in summaries])
    ways: dict[Name, Way] = {}
    for one in summaries:
        table = found.get(one.table.at)
        if table is None or table.fingerprint != one.table.fingerprint:
            raise _changed(one)
        chosen = unfired(session, one, triggers)
        if chosen.fires:
            own = [t for t in triggers if t.table == one.table.at]
            raise _firing(one, [t.name for t in own if t.event in chosen.fires])
        ways[one.table.at] = chosen
    return ways


def _firing(one: Summary, names: Sequence[str]) -> _Failed:
    return _Failed(
        "revert.not_revertible",
        f"This would fire triggers of {one.table.resource}: {', '.join(sorted(names))}. The "
        "server cannot switch them off for a session.",
    )


def _changed(one: Summary) -> _Failed:
    return _Failed(
        "revert.schema_changed",
        f"{one.table.resource} is not the table that it was when the call ran.",
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
