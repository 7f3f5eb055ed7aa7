"""One agent's call in one open transaction: judged again there, run, measured, captured, committed
by permit or rolled back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass

import psycopg

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Probe, Ran, Spooler
from gateway.lifecycle import State
from gateway.model import (
    Deny,
    EffectState,
    Json,
    Measured,
    OnConflict,
    Outcome,
    Permit,
    Redaction,
    Reversibility,
    RowCounts,
    Undo,
)
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.masking import Mask
from gateway.upstreams.sql.postgres.capture import Capture, Hint
from gateway.upstreams.sql.postgres.catalog import ForeignKey
from gateway.upstreams.sql.postgres.checks import switches_triggers_off
from gateway.upstreams.sql.postgres.copying import load
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.ddl.working import SchemaWork
from gateway.upstreams.sql.postgres.extent import Extent, baseline, finished, measured
from gateway.upstreams.sql.postgres.failures import upstream_error
from gateway.upstreams.sql.postgres.fitness import Unfit
from gateway.upstreams.sql.postgres.images import FORMAT, NO_WAY_BACK
from gateway.upstreams.sql.postgres.landing import Ask, land
from gateway.upstreams.sql.postgres.nearby import Near
from gateway.upstreams.sql.postgres.references import loose
from gateway.upstreams.sql.postgres.rehearsal import CannotRehearse, rehearse, rehearse_alone
from gateway.upstreams.sql.postgres.replies import Reply
from gateway.upstreams.sql.postgres.results import TypeNames
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from gateway.upstreams.sql.postgres.setbacks import Standing, set_back, standings
from gateway.upstreams.sql.postgres.sink import Sink, opening
from gateway.upstreams.sql.postgres.unwind import PostgresUnwinding, Seat
from gateway.upstreams.sql.postgres.written import Written
from gateway.upstreams.sql.rehearsed import cannot, inexact


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One statement, verbatim. ``types``: oids of the first parameters, those that it takes; 0
    where the server infers them. ``prepared``: its name on the session that judged it. ``near``:
    where its rows should be. ``change``: set where it changes the schema or clears tables.
    ``code``: whether functions that users wrote run with it. ``loads``: it
    reads the next part of ``Job.stdin``."""

    verb: str
    text: str
    types: tuple[int, ...] = ()
    prepared: str | None = None
    near: Near | None = None
    change: Written | None = None
    code: bool = False
    loads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to run: ``judge`` judges the call again on the connection, inside the transaction,
    where it runs, and gives the statements; ``params`` are those of all of them, as text.
    ``irreversible`` says why there is no way back, when policy accepted that; ``inexact``: that it
    accepted one which does not restore everything."""

    judge: Callable[[Session], Awaitable[tuple[Line, ...] | Deny]]
    params: tuple[bytes | None, ...]
    stdin: tuple[bytes, ...] = ()
    call: str = ""
    irreversible: str | None = None
    inexact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an attempt needs of its source."""

    source: str
    limits: SqlLimits
    peers: Callable[[], AbstractAsyncContextManager[Session]]
    spooler: Spooler
    replica: bool  # whether the capture role may switch triggers off for a revert
    types: TypeNames
    ask: Ask
    probe: Probe
    spare: Callable[[], AbstractAsyncContextManager[Session | None]] | None = None


class PostgresAttempt:
    """``Attempt`` over one transaction of ``session``. ``open_until``: holds what is spooled."""

    def __init__(
        self, session: Session, job: Job, around: Surroundings, open_until: ExitStack
    ) -> None:
        self._session = session
        self._job = job
        self._around = around
        self._open_until = open_until
        self._lines: tuple[Line, ...] = ()
        self._xid: str | None = None
        self._extent: Extent | None = None
        self._result: dict[str, Json] = {}
        self._undo: Undo | None = None
        spool = opening(around.spooler, open_until, most=around.limits.max_capture_bytes)
        self._spool = spool
        self._work = SchemaWork(
            session,
            around.peers,
            Sink(spool),
            limits=around.limits,
            replica=around.replica,
            call=job.call,
            loose=job.inexact,
            probe=around.probe,
        )
        self._mask = Mask()

    def redact(self, redaction: Redaction, *, exposed: bool) -> None:
        self._mask = Mask(redaction=redaction, exposed=exposed)

    async def read(self) -> Outcome:
        """Runs behind READ ONLY and ends with ROLLBACK, whatever the statement was."""
        try:
            await self._session.run("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
            lines = await self._job.judge(self._session)
            if isinstance(lines, Deny):
                return _failed(lines)
            result = await self._statements(lines)
            await self._session.run("ROLLBACK")
        except TooMuch:
            return _failed(self._too_large())
        except psycopg.Error as error:
            raise self._mask.error(upstream_error(error, self._around.source)) from error
        return Outcome(state=State.SUCCEEDED, effect=EffectState.NONE, result=result)

    async def run(self) -> Ran:
        """Raises ``UpstreamError``; also for a judgement on this connection that is stricter than
        the one the call was decided by."""
        try:
            ((xid,),) = await self._session.last(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
                "SELECT pg_catalog.pg_current_xact_id()::text",
            )
            before = await baseline(self._session)
            lines = await self._job.judge(self._session)
            if isinstance(lines, Deny):
                raise UpstreamError(lines.detail, reason=lines.reason, **lines.extra)
            self._lines = lines
            stood = await self._stood(lines)
            self._result = await self._watched(lines, stood)
            found, now = await finished(self._session, before, own_temporary=self._work.used)
            _same_transaction(xid, now)
            self._xid = xid
            self._extent = self._work.without_proofs(found)
            self._around.probe("postgres.ran")
            async with self._around.peers() as peer:
                await self._not_set_back(peer, stood)
                extent_seen = await measured(self._extent, peer)
            extent_seen = _with(extent_seen, self._work.counts)
        except TooMuch:
            too_large = self._too_large()
            raise UpstreamError(too_large.detail, reason=too_large.reason) from None
        except (NoWayBack, Unfit) as error:
            detail = f"This cannot be undone exactly: {str(error).rstrip('.')}. Nothing changed."
            raise UpstreamError(detail, reason="undo.unavailable") from error
        except psycopg.Error as error:
            raise self._mask.error(upstream_error(error, self._around.source)) from error
        return Ran(measured=extent_seen, result=self._result)

    async def capture(self) -> Captured | Deny:
        """See ``Attempt.capture``. Raises ``SnapshotFailed`` where trying again may help."""
        assert self._xid is not None
        assert self._extent is not None
        if self._job.irreversible is not None:
            undo = Undo(
                upstream=self._around.source,
                kind=NO_WAY_BACK,
                reversibility=Reversibility.IRREVERSIBLE,
                manifest={"format": FORMAT, "xid": self._xid, "why": self._job.irreversible},
            )
            return Captured(undo=undo, receipt=self._xid)
        try:
            if self._work.used:
                found = await self._work.undo(self._around.source, self._xid, self._extent)
                self._around.probe("postgres.captured")
                if isinstance(found, Deny):
                    return found
                self._undo = found
                return Captured(undo=found, receipt=self._xid)
            async with self._around.peers() as peer:
                taking = Capture(
                    self._around.source,
                    self._session,
                    peer,
                    limits=self._around.limits,
                    replica=self._around.replica,
                    spool=self._spool,
                    hint=self._hint(),
                    spare=self._around.spare,
                )
                captured = await taking.take(self._extent, self._xid)
        except psycopg.Error as error:
            raise upstream_error(error, self._around.source) from error
        self._around.probe("postgres.captured")
        if isinstance(captured, Deny):
            return captured
        self._undo = captured.undo
        return await self._tried(taking.loose) or captured

    async def _tried(self, keys: Sequence[ForeignKey]) -> Deny | None:
        """Rows that refer to nothing may be concerned: whether they come back shows."""
        if not keys:
            return None
        refusal = await self.rehearse(demanded=True)
        async with self._around.peers() as peer:
            return await loose(peer, keys, refusal)

    async def rehearse(self, *, demanded: bool) -> Deny | None:
        assert self._undo is not None
        assert self._extent is not None
        own, around = self._session, self._around
        try:
            async with around.peers() as peer:
                replica = await switches_triggers_off(own)
                touched = frozenset(t.oid for t in self._extent.tables)
                unwinding = PostgresUnwinding(
                    source=around.source,
                    seat=Seat(own=own, peer=peer, replica=replica, spooler=around.spooler),
                    undos=[("rehearsal", self._undo)],
                    on_conflict=OnConflict.ABORT,
                    limits=around.limits,
                    ask=around.ask,
                    probe=around.probe,
                    open_until=self._open_until,
                )
                if self._work.used:
                    differs = await rehearse_alone(own, unwinding, self._undo)
                else:
                    differs = await rehearse(own, peer, unwinding, touched)
        except CannotRehearse as error:
            return cannot(str(error)) if demanded else None
        except psycopg.Error as error:
            raise upstream_error(error, around.source) from error
        around.probe("postgres.rehearsed")
        return None if differs is None else inexact(differs)

    async def commit(self, permit: Permit) -> Outcome:  # noqa: ARG002 - the duty is the type's
        assert self._xid is not None
        landed = Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=self._result)
        self._around.probe("postgres.committing")
        outcome = await land(
            self._session, self._xid, landed, ask=self._around.ask, source=self._around.source
        )
        self._around.probe("postgres.committed")
        return outcome

    # --- steps ----------------------------------------------------------------------------

    async def _statements(self, lines: Sequence[Line]) -> dict[str, Json]:
        limits = self._around.limits
        results: list[dict[str, Json]] = []
        stdin = iter(self._job.stdin)
        for line in lines:

            async def verbatim(line: Line = line) -> Reply:
                if line.loads:
                    return await load(self._session, line.text, next(stdin))
                return await self._session.extended(
                    line.text,
                    self._job.params[: len(line.types)],
                    types=line.types,
                    prepared=line.prepared,
                    max_rows=limits.max_result_rows,
                    max_bytes=limits.max_result_bytes,
                )

            if line.change is None or self._job.irreversible is not None:
                reply = await verbatim()
            else:
                reply = await self._work.run(line.change, verbatim)
            results.append(await self._rendered(line, reply))
        return results[0] if len(results) == 1 else {"results": list(results)}

    async def _stood(self, lines: Sequence[Line]) -> Mapping[str, Standing]:
        if not any(line.code for line in lines):
            return {}  # nothing but their own defaults draws from sequences
        async with self._around.peers() as peer:
            return await standings(peer)

    async def _watched(
        self, lines: Sequence[Line], stood: Mapping[str, Standing]
    ) -> dict[str, Json]:
        """A statement that fails may have set sequences back before it did."""
        try:
            return await self._statements(lines)
        except (psycopg.Error, TooMuch):
            if stood and not self._session.connection.closed:
                await self._session.run("ROLLBACK")
                async with self._around.peers() as peer:
                    await set_back(peer, stood, tuple(stood))
            raise

    async def _not_set_back(self, peer: Session, stood: Mapping[str, Standing]) -> None:
        extent = self._extent
        assert extent is not None
        if not stood or self._job.irreversible is not None or self._work.used:
            return
        locked: Sequence[str] = extent.sequences
        if extent.schema_changed is not None:
            # What the transaction holds could keep the peer from looking.
            await self._session.run("ROLLBACK")
            locked = tuple(stood)
        said = await set_back(peer, stood, locked)
        if extent.schema_changed is not None:
            said = f"{extent.schema_changed}, beyond rows of tables{f'; {said}' if said else ''}"
        if said is not None:
            raise NoWayBack(said)

    async def _rendered(self, line: Line, reply: Reply) -> dict[str, Json]:
        result = await self._around.types.render(self._session, line.verb, reply)
        if not self._mask.redaction:
            return result
        return self._mask.result(result, await self._around.types.origins(self._session, reply))

    def _hint(self) -> Hint | None:
        if len(self._lines) != 1 or self._lines[0].near is None:
            return None
        near = self._lines[0].near
        return Hint(table=near.table, condition=near.condition(self._job.params))

    def _too_large(self) -> Deny:
        limits = self._around.limits
        return Deny(
            reason="too_large",
            detail=f"The result is over {limits.max_result_rows} rows or "
            f"{limits.max_result_bytes} bytes. Ask for less: a LIMIT, fewer columns, an aggregate.",
        )


def _with(measured: Measured, counts: Mapping[str, RowCounts]) -> Measured:
    """Tables that were cleared were cleared whole."""
    cleared = any(c.deleted > 10 for c in counts.values())
    return Measured(tables={**counts, **measured.tables}, share=1.0 if cleared else measured.share)


def _same_transaction(xid: str, now: str | None) -> None:
    # COMMIT AND CHAIN in disguise would leave us inside another transaction.
    if now != xid:
        raise UpstreamError(
            "The statement ended the transaction that it was to run in.",
            reason="outcome.unknown",
            proves_no_effect=False,
        )


def _failed(refusal: Deny) -> Outcome:
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)


def parameters(values: Sequence[Json]) -> tuple[bytes | None, ...] | Deny:
    """Bound values as text whose types the server infers. ``malformed`` for lists and objects."""
    texts: list[bytes | None] = []
    for number, value in enumerate(values, 1):
        if value is None:
            texts.append(None)
        elif isinstance(value, bool):
            texts.append(b"t" if value else b"f")
        elif isinstance(value, int | float):
            texts.append(repr(value).encode())
        elif isinstance(value, str) and "\0" not in value:
            texts.append(value.encode())
        else:
            what = "text with a NUL character" if isinstance(value, str) else "a list or an object"
            return Deny(
                reason="malformed",
                detail=f"Parameter ${number} is {what}; PostgreSQL takes null, booleans, numbers "
                "and text. Send an array or JSON value as its text and cast it in the statement.",
            )
    return tuple(texts)
