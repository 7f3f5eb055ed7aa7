"""One PostgreSQL database as a protected source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from gateway.errors import UpstreamError
from gateway.interfaces import Clock, Piece, Probe, Quarantined, Spooler, no_probe
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Deny,
    EffectState,
    Finding,
    Json,
    OnConflict,
    Resource,
    Reversibility,
    SqlAction,
    Surface,
    Undo,
)
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres import checks, granting, landing, loading
from gateway.upstreams.sql.postgres.attempt import (
    Job,
    Line,
    PostgresAttempt,
    Surroundings,
    parameters,
)
from gateway.upstreams.sql.postgres.ddl import purging
from gateway.upstreams.sql.postgres.ddl.foreseeing import Foreseen, foresee
from gateway.upstreams.sql.postgres.ddl.purging import Purge, purge_of
from gateway.upstreams.sql.postgres.failures import upstream_error
from gateway.upstreams.sql.postgres.grants import Logins
from gateway.upstreams.sql.postgres.judge import PRELOAD, Judge, Judged
from gateway.upstreams.sql.postgres.legs import seen
from gateway.upstreams.sql.postgres.placing import data_folder
from gateway.upstreams.sql.postgres.results import TypeNames
from gateway.upstreams.sql.postgres.roles import role_findings
from gateway.upstreams.sql.postgres.session import Pool, Session, Timeouts
from gateway.upstreams.sql.postgres.unwind import PostgresUnwinding, Seat
from gateway.upstreams.sql.postgres.written import Grammar
from gateway.upstreams.sql.worker import ParseWorker

_AGENTS = 8  # connections of the agents' role, and as many that read images
_REVERTS = 2
_CAPTURE_LOCK_S = 1.5
_CAPTURE_S = 120.0
_THINKING_S = 60.0  # how long a transaction may wait for policy and store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What ``parse`` keeps for ``attempt``."""

    grammar: Grammar
    judged: Judged
    params: tuple[bytes | None, ...]
    stdin: tuple[str, ...]
    foreseen: Foreseen


class PostgresUpstream:
    """``Upstream``, ``Resident`` and ``ImageReader`` over one database.

    ``url`` is the role that agents' statements run as; ``capture_url`` the gateway's own, for
    images and reverts (default: ``url``). ``allowed_functions``: schema-qualified names of
    functions that the operator vouches for. ``images_schema``: where ``spooler`` keeps images in
    this database. Neither URL appears in errors or findings.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        capture_url: str | None,
        environment: str,
        labels: Mapping[str, str] | None = None,
        limits: SqlLimits | None = None,
        allowed_functions: frozenset[str] = frozenset(),
        images_schema: str | None = None,
        spooler: Spooler,
        clock: Clock,
        probe: Probe = no_probe,
    ) -> None:
        self._name = name
        self._environment = environment
        self._labels = dict(labels or {})
        self._limits = limits or SqlLimits()
        self._spooler = spooler
        self._clock = clock
        self._probe = probe
        self._worker = ParseWorker(preload=PRELOAD)
        self._judge = Judge(
            limits=self._limits, worker=self._worker, allowed_functions=allowed_functions
        )
        self._types = TypeNames()
        self._replica: bool | None = None
        statement, lock = self._limits.statement_timeout_s, self._limits.lock_timeout_s
        agents = Timeouts(statement=statement, lock=lock, idle=statement + _THINKING_S)
        gateway = replace(agents, statement=max(statement, _CAPTURE_S), lock=_CAPTURE_LOCK_S)
        self._url = capture_url or url
        self._logins = Logins.of(url, capture_url, images_schema)
        own = self._url
        # Separate pools: a capture never waits for a connection that an attempt holds.
        self._agents = Pool(name, url, size=_AGENTS, timeouts=agents, search_path=None)
        self._peers = Pool(name, own, size=_AGENTS, timeouts=gateway, search_path="", agents=False)
        self._reverts = Pool(name, own, size=_REVERTS, timeouts=gateway, search_path="")

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"PostgresUpstream({self._name!r})"

    async def place(self) -> Path | None:
        """The server's data folder, where it is on this machine and the role may know it."""
        try:
            async with self._peers.session() as session:
                return await data_folder(session)
        except (UpstreamError, psycopg.Error):
            return None  # ``check`` reports a database that cannot be reached

    # --- life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """A database that cannot be reached now is a finding of ``check``, and every call's
        ``upstream.unreachable``, until it can."""

    async def close(self) -> None:
        for pool in (self._agents, self._peers, self._reverts):
            await pool.close()
        await self._worker.close()

    async def check(self) -> list[Finding]:
        about = f"source {self._name}"
        try:
            async with self._agents.session() as session:
                findings = [
                    replace(finding, about=about)
                    for finding in await role_findings(session.connection)
                ]
                async with self._peers.session() as peer:
                    findings += await checks.capture_findings(peer, about)
                    findings += await checks.hidden_findings(session, peer, about)
                    findings += await checks.images_findings(peer, about, self._logins)
        except UpstreamError as error:
            return [Finding(level="error", about=about, message=error.detail)]
        except psycopg.Error as error:
            failure = upstream_error(error, self._name)
            return [Finding(level="error", about=about, message=failure.detail)]
        if any(finding.level != "info" for finding in findings):
            hint = f"`holdfast source prepare {self._name}` prints what is missing, as statements."
            findings.append(Finding(level="info", about=about, message=hint))
        return findings

    async def prepare(
        self, *, apply: bool, include: frozenset[str], admin_url: str | None
    ) -> list[Piece]:
        return await granting.prepared(
            admin_url or self._url,
            self._logins,
            apply=apply,
            include=include,
            source=self._name,
        )

    # --- deciding -------------------------------------------------------------------------

    async def parse(self, call: Call) -> Action | Deny:
        """Raises ``UpstreamError`` when the database cannot be asked what names mean."""
        if call.surface is Surface.ADMIN:
            return await self._purge(call)
        sql, values = call.request.get("sql"), call.request.get("params")
        if not isinstance(sql, str):
            return Deny(reason="malformed", detail='"sql" has to be a string.')
        if values is not None and not isinstance(values, list | tuple):
            return Deny(
                reason="malformed",
                detail='"params" of a PostgreSQL source is a list; the statement refers to its '
                "values by $1, $2 and so on.",
            )
        params = parameters(values or ())
        if isinstance(params, Deny):
            return params
        grammar = await self._judge.text(sql, values or ())
        if isinstance(grammar, Deny):
            return grammar
        stdin = tuple(call.request.get("stdin") or ())
        refusal = loading.counted(sum(w.loads is not None for w in grammar.statements), len(stdin))
        if refusal is not None:
            return refusal
        judged = await self._judged(grammar)
        if isinstance(judged, Deny):
            return judged
        found, foreseen = judged
        facts = _Facts(grammar=grammar, judged=found, params=params, stdin=stdin, foreseen=foreseen)
        return self._action(call, facts)

    async def _purge(self, call: Call) -> Action | Deny:
        return purge_of(call, await self.quarantined(), self._resource())

    def _resource(self) -> Resource:
        return Resource(
            type="postgres", id=self._name, environment=self._environment, labels=self._labels
        )

    async def quarantined(self) -> list[Quarantined]:
        """See ``Quarantining.quarantined``."""
        try:
            async with self._peers.session() as session:
                return await purging.quarantined(session, self._name)
        except psycopg.Error as error:
            raise upstream_error(error, self._name) from error

    async def _judged(self, grammar: Grammar) -> tuple[Judged, Foreseen] | Deny:
        try:
            async with self._agents.session() as session, self._peers.session() as peer:
                await session.run("BEGIN READ ONLY")
                judged = await self._judge.server(
                    session.connection, grammar, reader=peer.connection
                )
                if isinstance(judged, Deny):
                    return judged
                return judged, await foresee(session, [run.change for run in judged.runs])
        except psycopg.Error as error:
            raise upstream_error(error, self._name) from error

    def _action(self, call: Call, facts: _Facts) -> Action:
        judged = facts.judged
        why = facts.foreseen.irreversible
        if judged.cls is ActionClass.READ:
            reversibility = Reversibility.NONE
        elif why is not None:
            reversibility = Reversibility.IRREVERSIBLE
        elif facts.foreseen.inexact is not None:
            reversibility = Reversibility.COMPENSABLE
        else:
            reversibility = Reversibility.EXACT
        return Action(
            surface=call.surface,
            tool=call.tool,
            name=judged.name,
            cls=judged.cls,
            reversibility=reversibility,
            idempotent=judged.cls is ActionClass.READ,
            digest=call.digest,
            effects=judged.effects,
            resource=self._resource(),
            sql=SqlAction(
                dialect="postgres",
                text=facts.grammar.text,
                statements=judged.statements,
                params=call.request.get("params") or (),
                stdin=facts.stdin,
            ),
            why_irreversible=why,
            why_inexact=facts.foreseen.inexact,
            warnings=(*facts.grammar.warnings, *judged.warnings),
            facts=facts,
        )

    # --- doing and undoing ----------------------------------------------------------------

    @asynccontextmanager
    async def attempt(self, call: Call, action: Action) -> AsyncIterator[PostgresAttempt | Purge]:
        facts = action.facts
        if call.surface is Surface.ADMIN:
            async with self._reverts.session() as session:
                yield Purge(
                    self._name,
                    session,
                    call.request["purge"],
                    ask=self.happened,
                    probe=self._probe,
                )
            return
        if not isinstance(facts, _Facts):
            raise TypeError("the action was not parsed by this upstream")
        replica = await self._may_switch_triggers_off()
        with ExitStack() as open_until:
            async with self._agents.session() as session:
                yield PostgresAttempt(
                    session, self._job(call, action, facts), self._around(replica), open_until
                )

    def _job(self, call: Call, action: Action, facts: _Facts) -> Job:
        async def judge(session: Session) -> tuple[Line, ...] | Deny:
            """Names may resolve otherwise here and now than when the call was decided."""
            async with self._peers.session() as peer:
                again = await self._judge.server(
                    session.connection,
                    facts.grammar,
                    reader=peer.connection,
                    name_prefix="judged_",
                )
            if isinstance(again, Deny):
                return again
            wider = frozenset(again.effects) - frozenset(facts.judged.effects)
            if wider or again.cls is not facts.judged.cls:
                return Deny(
                    reason="action.unsupported",
                    detail="The database changed after this call was decided, so that it would "
                    "now do something else. Send it again.",
                )
            return tuple(
                Line(
                    verb=run.verb,
                    text=run.sql,
                    types=run.param_types,
                    prepared=run.statement_name,
                    near=run.near,
                    change=run.change,
                    code=run.code,
                    loads=run.loads,
                )
                for run in again.runs
            )

        return Job(
            judge=judge,
            params=facts.params,
            stdin=tuple(part.encode() for part in facts.stdin),
            call=call.id,
            irreversible=action.why_irreversible,
            inexact=action.why_inexact is not None,
        )

    def _around(self, replica: bool) -> Surroundings:
        return Surroundings(
            source=self._name,
            limits=self._limits,
            peers=self._peers.session,
            spooler=self._spooler,
            replica=replica,
            types=self._types,
            ask=self.happened,
            probe=self._probe,
            spare=self._peers.spare,
        )

    async def _may_switch_triggers_off(self) -> bool:
        if self._replica is None:
            try:
                async with self._peers.session() as session:
                    self._replica = await checks.may_switch_triggers_off(session)
            except psycopg.Error as error:
                raise upstream_error(error, self._name) from error
        return self._replica

    @asynccontextmanager
    async def unwind(
        self,
        call: Call,  # noqa: ARG002
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
    ) -> AsyncIterator[PostgresUnwinding]:
        replica = await self._may_switch_triggers_off()
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(self._reverts.session())
            peer = await stack.enter_async_context(self._peers.session())
            yield PostgresUnwinding(
                source=self._name,
                seat=Seat(own=own, peer=peer, replica=replica, spooler=self._spooler),
                open_until=stack.enter_context(ExitStack()),
                undos=undos,
                on_conflict=on_conflict,
                limits=self._limits,
                ask=self.happened,
                probe=self._probe,
            )

    async def happened(self, receipt: str) -> EffectState:
        try:
            async with self._peers.session() as session:
                return await landing.status(session, receipt)
        except (UpstreamError, psycopg.Error):
            return EffectState.UNKNOWN

    async def images(self, undo: Undo, *, offset: int, limit: int) -> list[Mapping[str, Json]]:
        """Raises ``ImageDamaged``, and ``UpstreamError``: only the server knows its types."""
        if undo.reversibility is Reversibility.IRREVERSIBLE:
            return []
        try:
            return await seen(undo, self._peers.session, self._spooler, offset, limit)
        except psycopg.Error as error:
            raise upstream_error(error, self._name) from error
