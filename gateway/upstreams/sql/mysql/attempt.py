"""One agent's call in one open transaction: run, measured, captured, committed by permit or rolled
back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pymysql

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Probe, Ran, Spooler, SpoolFull
from gateway.lifecycle import State
from gateway.model import (
    Deny,
    EffectState,
    Json,
    Measured,
    Outcome,
    Permit,
    Redaction,
    Reversibility,
    RowCounts,
    Undo,
)
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.masking import Mask
from gateway.upstreams.sql.mysql import catalog, images, receipts, rows
from gateway.upstreams.sql.mysql.capture import Capture, Ranged, TooMany, measured, sizes
from gateway.upstreams.sql.mysql.catalog import ForeignKey, Name, Trigger
from gateway.upstreams.sql.mysql.closure import Closure, closure
from gateway.upstreams.sql.mysql.counters import Handled, handled
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.functions import UNSTABLE
from gateway.upstreams.sql.mysql.grammar import Ref, Written
from gateway.upstreams.sql.mysql.images import (
    KIND,
    RowTooLong,
    Summary,
    TableImage,
    manifest,
)
from gateway.upstreams.sql.mysql.keeping import Keeper, Kept, refusal
from gateway.upstreams.sql.mysql.landing import Ask, land
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.orphans import standing
from gateway.upstreams.sql.mysql.pool import Lent
from gateway.upstreams.sql.mysql.rehearsal import CannotRehearse, rehearse
from gateway.upstreams.sql.mysql.results import origins, render
from gateway.upstreams.sql.mysql.session import Session, TooMuch
from gateway.upstreams.sql.mysql.streams import Reply
from gateway.upstreams.sql.mysql.sweep import Sweep, sweepable
from gateway.upstreams.sql.mysql.triggers import firing
from gateway.upstreams.sql.mysql.varieties import MYSQL
from gateway.upstreams.sql.rehearsed import cannot, inexact

_CHANGES = frozenset({"insert", "update", "delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an attempt needs of its source. ``verify`` raises where a session is no longer pinned;
    ``at`` gives a written name its schema."""

    source: str
    limits: SqlLimits
    peers: Callable[[], AbstractAsyncContextManager[Lent]]
    verify: Callable[[Session], None]
    at: Callable[[Ref], Name]
    spooler: Spooler
    ask: Ask
    probe: Probe


class MariadbAttempt:
    """``Attempt`` over one transaction of ``lent``."""

    def __init__(
        self, lent: Lent, call: str, statements: Sequence[Written], around: Surroundings
    ) -> None:
        self._lent = lent
        self._call = call
        self._statements = statements
        self._around = around
        self._images: tuple[TableImage, ...] | Deny | Summary = ()
        self._triggers: Sequence[Trigger] = ()
        self._keys: Sequence[ForeignKey] = ()
        self._undo: Undo | None = None
        self._result: dict[str, Json] = {}
        self._keeper = Keeper(around.spooler, around.limits.max_capture_bytes)
        self._mask = Mask()

    def redact(self, redaction: Redaction, *, exposed: bool) -> None:
        """See ``Redacting``."""
        self._mask = Mask(redaction=redaction, exposed=exposed)

    def close(self) -> None:
        """Gives up images that no permit was asked for."""
        self._keeper.close()

    async def read(self) -> Outcome:
        """Runs in a session that cannot write, and ends with ROLLBACK."""
        try:
            result = await self._lent.do(self._read)
        except TooMuch:
            return _failed(self._too_large())
        except UpstreamError as error:
            raise self._mask.error(error) from error
        return Outcome(state=State.SUCCEEDED, effect=EffectState.NONE, result=result)

    def _read(self, session: Session) -> dict[str, Json]:
        self._around.verify(session)
        # READ ONLY of the transaction alone would not stop what commits by itself.
        session.run("SET SESSION TRANSACTION READ ONLY")
        session.run("START TRANSACTION READ ONLY")
        result = self._results(session, [self._reply(session, w) for w in self._statements])
        session.run("ROLLBACK")
        return result

    async def run(self) -> Ran:
        """Raises ``UpstreamError``."""
        async with self._around.peers() as peer:
            try:
                ran = await self._lent.do_with(peer, self._run)
            except TooMuch:
                too_large = self._too_large()
                raise UpstreamError(too_large.detail, reason=too_large.reason) from None
            except UpstreamError as error:
                raise self._mask.error(error) from error
            self._around.probe("mysql.ran")
            seen = await self._lent.do_with(peer, lambda own, p: self._measure(own, p, ran))
        self._around.probe("mysql.measured")
        return Ran(measured=seen, result=self._result)

    def _run(self, session: Session, peer: Session) -> _Ran:
        self._around.verify(session)
        session.run("START TRANSACTION READ WRITE")
        receipts.write(session, self._call)
        # Before anything runs: not every engine can roll back.
        reach = self._reach(session, peer)
        self._triggers, self._keys = reach.triggers, reach.keys
        before = handled(session)
        replies = [self._reply(session, written) for written in self._statements]
        after = handled(session)
        self._result = self._results(session, replies)
        try:
            self._around.verify(session)
        except UpstreamError:
            raise UpstreamError(
                "A trigger changed the settings of the session.", reason="undo.unavailable"
            ) from None
        session.run(rows.EXACT)
        return _Ran(replies=replies, before=before, after=after, reach=reach)

    def _reach(self, session: Session, peer: Session) -> Closure:
        wanted = self._wanted()
        # An alias may stand where a table could.
        seen = catalog.relations(session, wanted)
        _hold(session, seen)
        reach = closure(peer, {name: wanted[name] for name in seen}, fires=session.fires)
        if isinstance(reach, Deny):
            raise UpstreamError(reach.detail, reason=reach.reason, **reach.extra)
        try:
            _hold(session, [name for name in reach.tables if name not in wanted])
        except pymysql.Error as error:
            if code_of(error) not in _NO_RIGHT:
                raise
            raise UpstreamError(
                "This can change tables that agents' account may not read, so their rows cannot "
                "be captured: GRANT SELECT on what foreign keys and triggers change.",
                reason="undo.unavailable",
            ) from error
        return reach

    def _measure(self, own: Session, peer: Session, ran: _Ran) -> Measured:
        peer.run(rows.EXACT)
        done = ran.after.since(ran.before)
        if done == Handled(0, 0, 0):
            return Measured()
        most = self._around.limits.max_capture_rows
        over = Deny(
            reason="limit.rows",
            detail=f"{done.total} rows would change; images are kept of {most} "
            "(snapshots.max_rows).",
        )
        found: tuple[TableImage, ...] | Summary | Deny = over
        if done.total <= most or own.variety is MYSQL:  # MySQL also counts rows of temporary tables
            found = self._imaged(own, peer, ran)
        self._images = found
        if isinstance(found, Deny):
            self._images = over if done.total > most else found
            return Measured(tables={self._spoken(): _counts(done)})
        summaries = _summaries(found)
        self._images = firing(peer, summaries, ran.reach.triggers) or found
        return measured(summaries, sizes(peer, summaries))

    def _imaged(
        self, own: Session, peer: Session, ran: _Ran
    ) -> tuple[TableImage, ...] | Summary | Deny:
        limits, ranged = self._around.limits, self._ranged(own, ran, ran.reach)
        large = ran.after.since(ran.before).total > images.PART
        if large and ranged is not None and sweepable(ran.reach, ranged):
            sweep = Sweep(own, peer, ranged, most=limits.max_capture_rows)
            try:
                swept = self._keeper.swept(sweep, own.packet)
            except (SpoolFull, RowTooLong) as error:
                return refusal(error)
            except TooMany as error:
                return Deny(reason="undo.unavailable", detail=str(error))
            if swept is not None:
                return swept
        return Capture(own, peer, limits=limits, written=1).take(ran.reach, ranged)

    async def capture(self) -> Captured | Deny:
        """See ``Attempt.capture``. Raises ``SnapshotFailed``."""
        found = self._images
        if isinstance(found, Deny):
            return found
        try:
            if isinstance(found, Summary):
                spooled = await self._lent.do(lambda _: self._keeper.finish())
            else:
                spooled = await self._lent.do(lambda s: self._keeper.written(found, s.packet))
        except (SpoolFull, RowTooLong) as error:
            return refusal(error)
        self._around.probe("mysql.captured")
        undo = Undo(
            upstream=self._around.source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest=manifest(_summaries(found)),
            spooled=spooled,
        )
        self._undo = undo
        return await self._standing(undo) or Captured(undo=undo, receipt=self._call)

    async def _standing(self, undo: Undo) -> Deny | None:
        if not self._keys:
            return None

        def work(_: Session, peer: Session) -> Deny | None:
            peer.run(rows.EXACT)
            parts = Kept(undo, self._around.spooler).parts()
            found = (standing(peer, self._keys, image) for image in parts)
            return next((refusal for refusal in found if refusal is not None), None)

        async with self._around.peers() as peer:
            return await self._lent.do_with(peer, work)

    async def rehearse(self, *, demanded: bool) -> Deny | None:
        """See ``Rehearsing``."""
        undo = self._undo
        assert undo is not None

        def work(own: Session, peer: Session) -> str | None:
            peer.run(rows.EXACT)
            return rehearse(own, peer, Kept(undo, self._around.spooler), self._triggers)

        try:
            async with self._around.peers() as peer:
                differs = await self._lent.do_with(peer, work)
        except CannotRehearse as error:
            return cannot(f"{error}.") if demanded else None
        self._around.probe("mysql.rehearsed")
        return None if differs is None else inexact(differs)

    async def commit(self, permit: Permit) -> Outcome:
        if permit.call != self._call:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call}")
        landed = Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=self._result)
        self._around.probe("mysql.committing")
        outcome = await land(self._lent, self._call, landed, ask=self._around.ask)
        self._around.probe("mysql.committed")
        return outcome

    # --- steps ----------------------------------------------------------------------------

    def _reply(self, session: Session, written: Written) -> Reply:
        limits = self._around.limits
        return session.statement(
            written.text.sent, max_rows=limits.max_result_rows, max_bytes=limits.max_result_bytes
        )

    def _results(self, session: Session, replies: Sequence[Reply]) -> dict[str, Json]:
        results: list[Json] = []
        for written, reply in zip(self._statements, replies, strict=True):
            result = render(written.verb, reply)
            if self._mask.redaction and reply.fields:
                named = map(self._around.at, written.refs)
                found = catalog.relations(session, named).values()
                base = {".".join(r.at) for r in found if r.kind != "VIEW"}
                result = self._mask.result(result, origins(reply, written, base))
            results.append(result)
        return results[0] if len(results) == 1 else {"results": results}

    def _changes(self) -> list[Written]:
        return [w for w in self._statements if w.verb in _CHANGES]

    def _wanted(self) -> dict[Name, frozenset[str]]:
        wanted: dict[Name, frozenset[str]] = {}
        for written in self._changes():
            for ref in written.changed:
                at = self._around.at(ref)
                wanted[at] = wanted.get(at, frozenset()) | frozenset(written.verbs)
        return wanted

    def _spoken(self) -> str:
        """The first table that is written to, for an extent without images."""
        return next((".".join(name) for name in self._wanted()), "")

    def _ranged(self, own: Session, ran: _Ran, reach: Closure) -> Ranged | None:
        changes = self._changes()
        if len(changes) != 1 or changes[0].single is None:
            return None
        written, single = changes[0], changes[0].single
        table = reach.tables.get(self._around.at(single.target))
        if table is None:
            return None
        reply = ran.replies[self._statements.index(written)]
        done = ran.after.since(
            ran.before, own.variety.parts if table.at in reach.partitioned else 1
        )
        affected = reply.affected or len(reply.rows)
        busy = written.verb == "insert" and (done.updated > 0 or done.written != affected)
        return Ranged(
            verb=written.verb,
            single=single,
            table=table,
            affected=affected,
            first=reply.insert_id,
            handled=done,
            strict=busy or _unstable(written) or self._loose(own, written, table.at),
        )

    def _loose(self, own: Session, written: Written, target: Name) -> bool:
        """Whether the condition looks at what the transaction does not keep as it was: rows of
        InnoDB that a statement reads to write stay locked, all else may change meanwhile."""
        others = {self._around.at(ref) for ref in written.refs} - {target}
        found = catalog.relations(own, others).values()
        return any(r.kind != "BASE TABLE" or r.engine != "InnoDB" for r in found)

    def _too_large(self) -> Deny:
        limits = self._around.limits
        return Deny(
            reason="too_large",
            detail=f"The result is over {limits.max_result_rows} rows or "
            f"{limits.max_result_bytes} bytes. Ask for less: a LIMIT, fewer columns, an aggregate.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    replies: list[Reply]
    before: Handled
    after: Handled
    reach: Closure


_NO_RIGHT = frozenset({1044, 1142, 1143})


def _hold(session: Session, tables: Iterable[Name]) -> None:
    """Until the transaction ends, nobody can alter these tables or give them triggers."""
    for name in tables:
        session.rows(f"SELECT 1 FROM {quoted(*name)} LIMIT 0")


def _unstable(written: Written) -> bool:
    """With IGNORE, the server also counts rows that it did not get to change."""
    return any(
        token.kind == "word"
        and (token.text.lower() in {*UNSTABLE, "ignore"} or token.text.startswith("@@"))
        for token in written.text.tokens
    )


def _summaries(found: tuple[TableImage, ...] | Summary) -> list[Summary]:
    return [found] if isinstance(found, Summary) else [image.summary() for image in found]


def _counts(done: Handled) -> RowCounts:
    return RowCounts(inserted=done.written, updated=done.updated, deleted=done.deleted)


def _failed(refusal: Deny) -> Outcome:
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)
