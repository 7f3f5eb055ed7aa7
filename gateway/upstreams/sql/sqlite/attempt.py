"""An agent's call and a revert, each in one transaction of its own, seen from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import apsw

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Clock, Probe, Ran, Watch
from gateway.lifecycle import State
from gateway.model import (
    Call,
    Deny,
    EffectState,
    Json,
    OnConflict,
    Outcome,
    Permit,
    Redaction,
    Step,
    Undo,
)
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.masking import Mask
from gateway.upstreams.sql.sqlite import execution, receipts, unwind
from gateway.upstreams.sql.sqlite.connections import (
    Deadline,
    Lane,
    explained,
    needs_recovery,
    open_writer,
    recover,
)
from gateway.upstreams.sql.sqlite.copyback import CopyBack
from gateway.upstreams.sql.sqlite.facts import Judgement
from gateway.upstreams.sql.sqlite.journal import RECEIPT
from gateway.upstreams.sql.sqlite.putback import PutBack
from gateway.upstreams.sql.sqlite.transaction import Desk, Transaction

T = TypeVar("T")


@dataclass(slots=True)
class Reader:
    """A read-only connection and its thread."""

    lane: Lane
    db: apsw.Connection
    deadline: Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What attempts share: one writer at a time, some readers."""

    name: str
    path: Path
    limits: SqlLimits
    foreign_keys: bool
    clock: Clock
    probe: Probe
    desk: Desk
    writer: Lane
    writing: asyncio.Lock
    readers: asyncio.Queue[Reader]

    async def reader(self) -> Reader:
        try:
            async with asyncio.timeout(self.limits.lock_timeout_s):
                return await self.readers.get()
        except TimeoutError as error:
            raise _crowded() from error

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The only writer of this process, while the context lasts."""
        try:
            async with asyncio.timeout(self.limits.lock_timeout_s):
                await self.writing.acquire()
        except TimeoutError as error:
            raise _crowded() from error
        try:
            yield
        finally:
            self.writing.release()

    async def reading(self, lane: Lane, work: Callable[[], T], stop: Callable[[], None]) -> T:
        """``work`` on a reader's thread; once more after a recovery that it could not do."""
        try:
            return await lane.run(work, stop=stop)
        except UpstreamError as error:
            if not needs_recovery(error):
                raise
        await self.writer.run(lambda: recover(self.desk.db))
        return await lane.run(work, stop=stop)

    def happened(self, receipt: str) -> EffectState:
        """What the file says, through a connection of its own. Blocks."""
        if receipt.startswith(RECEIPT):
            return self.desk.journals.happened(receipt)
        try:
            db = open_writer(self.path, busy_s=0.2, foreign_keys=False)
        except UpstreamError:
            return EffectState.UNKNOWN
        try:
            return receipts.ask(db, receipt)
        except apsw.Error:
            return EffectState.UNKNOWN
        finally:
            db.close()


def _crowded() -> UpstreamError:
    return UpstreamError("Too many calls wait for this source.", reason="overloaded")


class _Work:
    """A transaction on the writer's thread, and how it ends."""

    def __init__(self, source: Source, call: Call) -> None:
        self._source = source
        self._call = call
        self._transaction = Transaction(source.desk, call.id, source.limits, source.name)

    async def do(self, step: Callable[[Transaction], T]) -> T:
        return await self._source.writer.run(
            lambda: step(self._transaction), stop=self._source.desk.deadline.stop
        )

    async def capture(self, *, whole_file: bool) -> Captured | Deny:
        at = self._source.clock.now()
        return await self.do(lambda t: _capture(t, at, whole_file))

    async def commit(
        self, permit: Permit, result: Mapping[str, Json], whole: PutBack | CopyBack | None = None
    ) -> Outcome:
        if permit.call != self._call.id:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call.id}")
        self._source.probe("sqlite.committing")
        try:
            await self.do(lambda t: whole.commit() if whole else t.commit())
        except UpstreamError as error:
            return await self._failed(error, result)
        self._source.probe("sqlite.committed")
        return Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=result)

    async def _failed(self, error: UpstreamError, result: Mapping[str, Json]) -> Outcome:
        effect = EffectState.NONE
        if not error.proves_no_effect:
            effect = await self.do(lambda _: self._source.happened(self._call.id))
        if effect is EffectState.APPLIED:
            return Outcome(state=State.SUCCEEDED, effect=effect, result=result)
        if effect is EffectState.UNKNOWN:
            refusal = Deny(reason="outcome.unknown", detail=error.detail, effect=effect)
            return Outcome(state=State.UNKNOWN, effect=effect, refusal=refusal)
        refusal = Deny(reason=error.reason, detail=error.detail)
        return Outcome(state=State.FAILED, effect=effect, refusal=refusal)

    async def close(self) -> None:
        await self.do(Transaction.rollback)


def _capture(transaction: Transaction, at: datetime, whole_file: bool) -> Captured | Deny:
    try:
        return transaction.capture(at, whole_file=whole_file)
    except apsw.Error as error:
        raise explained(error, "capture") from error


class SqliteAttempt:
    """``judgement`` is what ``parse`` found; nothing else can be done."""

    def __init__(self, source: Source, call: Call, judgement: Judgement) -> None:
        self._source = source
        self._judgement = judgement
        self._work = _Work(source, call)
        self._result: Mapping[str, Json] = {}
        self._mask = Mask()

    def redact(self, redaction: Redaction, *, exposed: bool) -> None:
        self._mask = Mask(redaction=redaction, exposed=exposed)

    async def read(self) -> Outcome:
        reader = await self._source.reader()
        try:
            result = await self._source.reading(
                reader.lane, lambda: self._read(reader), reader.deadline.stop
            )
        except UpstreamError as error:
            if error.reason != "too_large":
                raise
            refusal = Deny(reason=error.reason, detail=error.detail)
            return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)
        finally:
            self._source.readers.put_nowait(reader)
        return Outcome(state=State.SUCCEEDED, effect=EffectState.NONE, result=result)

    def _read(self, reader: Reader) -> Mapping[str, Json]:
        limits = self._source.limits
        reader.deadline.start(limits.statement_timeout_s)
        try:
            # One snapshot for all statements of the text.
            reader.db.execute("BEGIN")
            return execution.run(reader.db, self._judgement, limits, self._mask)
        except apsw.Error as error:
            told = explained(error, "read", stopped=reader.deadline.stopped)
            raise self._mask.error(told) from error
        finally:
            reader.deadline.clear()
            if reader.db.in_transaction:
                reader.db.execute("ROLLBACK")

    async def run(self) -> Ran:
        ran = await self._work.do(self._run)
        self._result = ran.result
        return ran

    def _run(self, transaction: Transaction) -> Ran:
        desk, limits = self._source.desk, self._source.limits
        transaction.begin(self._judgement)
        desk.deadline.start(limits.statement_timeout_s)
        try:
            result = execution.run(transaction.db, self._judgement, limits, self._mask)
            return Ran(measured=transaction.measured(), result=result)
        except apsw.Error as error:
            told = explained(error, "run", stopped=desk.deadline.stopped)
            raise self._mask.error(told) from error
        finally:
            desk.deadline.clear()

    async def capture(self) -> Captured | Deny:
        return await self._work.capture(whole_file=self._judgement.whole_file)

    async def rehearse(self, *, demanded: bool) -> Deny | None:
        return await self._work.do(lambda t: self._rehearse(t, demanded))

    def _rehearse(self, transaction: Transaction, demanded: bool) -> Deny | None:
        source = self._source
        source.desk.deadline.start(source.limits.statement_timeout_s)
        try:
            return transaction.rehearse(demanded=demanded, foreign_keys=source.foreign_keys)
        except apsw.Error as error:
            stopped = source.desk.deadline.stopped
            raise explained(error, "rehearsal", stopped=stopped) from error
        finally:
            source.desk.deadline.clear()

    async def commit(self, permit: Permit) -> Outcome:
        return await self._work.commit(permit, self._result)

    async def close(self) -> None:
        await self._work.close()


def _whole(
    source: Source, call: Call, undos: Sequence[tuple[str, Undo]], on_conflict: OnConflict
) -> PutBack | CopyBack | None:
    """``None`` where every call comes back row by row."""
    whole = [u for _, u in undos if u.kind == "sqlite" and not unwind.rowwise(u)]
    kept = [source.desk.journals.kept(undo.manifest.get("journal") or {}) for undo in whole]
    shared = {"foreign_keys": source.foreign_keys}
    if any(one is not None and one.after for one in kept):
        at = source.clock.now()
        return CopyBack(source.desk, call.id, at, undos, on_conflict, probe=source.probe, **shared)
    if whole:
        return PutBack(source.desk, call.id, undos, on_conflict, probe=source.probe, **shared)
    return None


class SqliteUnwinding:
    """Row images together in one transaction, or as a whole file."""

    def __init__(
        self,
        source: Source,
        call: Call,
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
    ) -> None:
        self._source = source
        self._undos = undos
        self._on_conflict = on_conflict
        self._work = _Work(source, call)
        self._watch: Watch | None = None
        self._whole = _whole(source, call, undos, on_conflict)

    def watch(self, watch: Watch) -> None:
        self._watch = watch

    async def run(self) -> tuple[Step, ...]:
        return await self._work.do(self._run)

    def _run(self, transaction: Transaction) -> tuple[Step, ...]:
        if self._whole is not None:
            return self._whole.run(self._watch)
        unwind.loosen(transaction.db)
        transaction.begin()
        try:
            return unwind.take_back(
                transaction.db,
                self._undos,
                self._on_conflict,
                foreign_keys=self._source.foreign_keys,
                watch=self._watch,
            )
        except apsw.Error as error:
            raise explained(error, "revert") from error

    async def capture(self) -> Captured | Deny:
        if self._whole is not None:
            return self._whole.capture()
        return await self._work.capture(whole_file=False)

    async def commit(self, permit: Permit) -> Outcome:
        return await self._work.commit(permit, {}, self._whole)

    async def close(self) -> None:
        await self._work.do(self._close)

    def _close(self, transaction: Transaction) -> None:
        if self._whole is not None:
            self._whole.close()
            return
        try:
            transaction.rollback()
        finally:
            unwind.tighten(transaction.db, foreign_keys=self._source.foreign_keys)
