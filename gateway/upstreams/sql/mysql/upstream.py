"""One MariaDB or MySQL database as a protected source."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

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
from gateway.upstreams.sql.gate import unread
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql import checks, granting, moves, purging, receipts
from gateway.upstreams.sql.mysql.attempt import MariadbAttempt, Surroundings
from gateway.upstreams.sql.mysql.defining import DefinitionAttempt, DefinitionUnwinding, Post
from gateway.upstreams.sql.mysql.definitions import Definition
from gateway.upstreams.sql.mysql.foreseeing import MixedForesight
from gateway.upstreams.sql.mysql.grammar import Written
from gateway.upstreams.sql.mysql.judge import PRELOAD, Judge, Judged, Read, read
from gateway.upstreams.sql.mysql.keeping import Kept
from gateway.upstreams.sql.mysql.plans import Wish
from gateway.upstreams.sql.mysql.pool import Lent, Pool
from gateway.upstreams.sql.mysql.purging import Purge, purge_of
from gateway.upstreams.sql.mysql.session import Timeouts, elsewhere
from gateway.upstreams.sql.mysql.unwind import MariadbUnwinding, Seat
from gateway.upstreams.sql.mysql.varieties import MARIADB
from gateway.upstreams.sql.worker import SMALL_TEXT, ParseWorker

_AGENTS = 8  # sessions of the agents' account, and as many that read images
_REVERTS = 2
_CAPTURE_LOCK_S = 2.0
_CAPTURE_S = 120.0
_THINKING_S = 60.0  # how long a transaction may wait for policy and store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What ``parse`` keeps for ``attempt``."""

    text: Read


class MariadbUpstream:
    """``Upstream``, ``Resident`` and ``ImageReader`` over one database.

    ``url`` is the account that agents' statements run as; ``capture_url`` the gateway's own, for
    images and reverts (default: ``url``). Neither appears in errors or findings.
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
        self._receipts = False
        self._variety = MARIADB  # what the server turned out to be
        statement, lock = self._limits.statement_timeout_s, self._limits.lock_timeout_s
        agents = Timeouts(statement=statement, lock=lock, idle=statement + _THINKING_S)
        gateway = Timeouts(
            statement=max(statement, _CAPTURE_S),
            lock=_CAPTURE_LOCK_S,
            idle=statement + _THINKING_S,
        )
        self._urls = (url, capture_url)
        own = elsewhere(capture_url or url, url)
        # Separate pools: a capture never waits for a connection that an attempt holds.
        self._agents = Pool(name, url, size=_AGENTS, timeouts=agents)
        self._peers = Pool(name, own, size=_AGENTS, timeouts=gateway)
        self._reverts = Pool(name, own, size=_REVERTS, timeouts=gateway)
        self._judge = Judge(self._agents.database)

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"MariadbUpstream({self._name!r})"

    async def place(self) -> Path | None:
        """The server's data folder, where it is on this machine."""
        try:
            async with self._peers.session() as lent:
                [(folder, host)] = await lent.do(
                    lambda s: s.texts("SELECT @@GLOBAL.datadir, SUBSTRING_INDEX(USER(), '@', -1)")
                )
        except UpstreamError:
            return None  # ``check`` reports a database that cannot be reached
        # The server sees us come from here.
        if host not in ("localhost", "127.0.0.1", "::1") or folder is None:
            return None
        return Path(folder) if await asyncio.to_thread(os.path.isdir, folder) else None

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
            await self._prepared()
        except UpstreamError as error:
            if error.reason != "undo.unavailable":
                return [Finding(level="error", about=about, message=error.detail)]
        try:
            async with self._agents.session() as lent:
                findings = await lent.do(lambda s: checks.account_findings(s, about))
            async with self._peers.session() as lent:
                findings += await lent.do(lambda s: checks.capture_findings(s, about))
        except UpstreamError as error:
            return [Finding(level="error", about=about, message=error.detail)]
        if any(finding.level == "warning" for finding in findings):
            hint = f"`holdfast source prepare {self._name}` prints what is missing, as statements."
            findings.append(Finding(level="info", about=about, message=hint))
        return findings

    async def prepare(
        self,
        *,
        apply: bool,
        include: frozenset[str],  # noqa: ARG002 - nothing here is a matter of choice
        admin_url: str | None,
    ) -> list[Piece]:
        url, capture_url = self._urls
        return await asyncio.to_thread(
            granting.prepared,
            url,
            capture_url,
            admin_url=admin_url,
            apply=apply,
            source=self._name,
        )

    # --- deciding -------------------------------------------------------------------------

    async def parse(self, call: Call) -> Action | Deny:
        """Raises ``UpstreamError`` when the database cannot be asked what names mean."""
        if call.surface is Surface.ADMIN:
            return purge_of(call, await self.quarantined(), self._resource())
        sql, params = call.request.get("sql"), call.request.get("params")
        if not isinstance(sql, str):
            return Deny(reason="malformed", detail='"sql" has to be a string.')
        if params is not None and not isinstance(params, list | tuple):
            return Deny(
                reason="malformed",
                detail='"params" of this source is a list; the statement refers to its values '
                "by ?.",
            )
        text = unread(call.request.get("stdin")) or await self._read(sql, params or ())
        if isinstance(text, Deny):
            return text
        async with self._agents.session() as lent:
            self._variety = lent.session.variety
            judged = await lent.do(lambda session: self._judge.server(session, text))
        if isinstance(judged, Deny):
            return judged
        return self._action(call, text, judged)

    async def _read(self, sql: str, params: Sequence[Json]) -> Read | Deny:
        most = self._limits.max_sql_bytes
        if len(sql) <= SMALL_TEXT:
            return read(sql, params, most)
        if len(sql) > most:
            return Deny(reason="too_large", detail=f"The SQL is longer than {most} bytes.")
        return await self._worker.run(
            read, sql, params, most, timeout_s=self._limits.parse_timeout_s
        )

    def _action(self, call: Call, text: Read, judged: Judged) -> Action:
        reading = judged.cls is ActionClass.READ
        return Action(
            surface=call.surface,
            tool=call.tool,
            name=judged.name,
            cls=judged.cls,
            reversibility=Reversibility.NONE if reading else Reversibility.EXACT,
            idempotent=reading,
            digest=call.digest,
            effects=judged.effects,
            resource=self._resource(),
            sql=SqlAction(
                dialect=self._variety.id,
                text=str(call.request["sql"]),
                statements=judged.statements,
                params=call.request.get("params") or (),
            ),
            facts=_Facts(text=text),
        )

    def _resource(self) -> Resource:
        return Resource(
            type=self._variety.id,
            id=self._name,
            environment=self._environment,
            labels=self._labels,
        )

    async def quarantined(self) -> list[Quarantined]:
        """See ``Quarantining.quarantined``."""
        async with self._peers.session() as lent:
            self._variety = lent.session.variety
            return await lent.do(lambda session: purging.quarantined(session, self._name))

    # --- doing and undoing ----------------------------------------------------------------

    @asynccontextmanager
    async def attempt(
        self, call: Call, action: Action
    ) -> AsyncIterator[MariadbAttempt | DefinitionAttempt | Purge]:
        facts = action.facts
        if call.surface is Surface.ADMIN:
            await self._prepared()
            async with self._reverts.session() as lent:
                yield Purge(lent, call.id, call.request["purge"], self._post())
            return
        if not isinstance(facts, _Facts):
            raise TypeError("the action was not parsed by this upstream")
        if not facts.text.reads:
            await self._prepared()
        definition = facts.text.statements[0].definition
        async with self._agents.session() as lent:
            if definition is not None:
                yield self._defining(lent, call, facts.text.statements[0], definition)
                return
            attempt = MariadbAttempt(lent, call.id, facts.text.statements, self._around())
            try:
                yield attempt
            finally:
                attempt.close()

    def _defining(
        self, lent: Lent, call: Call, written: Written, definition: Definition
    ) -> DefinitionAttempt:
        target, to = self._judge.at(written.refs[0]), None
        if definition.to is not None:
            to = self._judge.at(written.refs[1])
        wish = Wish(
            call=call.id, definition=definition, target=target, to=to, text=written.text.sent
        )
        return DefinitionAttempt(lent, wish, self._post())

    def _post(self) -> Post:
        return Post(
            source=self._name,
            peers=self._peers.session,
            verify=self._agents.verify,
            ask=self.happened,
            probe=self._probe,
        )

    def _around(self) -> Surroundings:
        return Surroundings(
            source=self._name,
            limits=self._limits,
            peers=self._peers.session,
            verify=self._agents.verify,
            at=self._judge.at,
            spooler=self._spooler,
            ask=self.happened,
            probe=self._probe,
        )

    async def _prepared(self) -> None:
        """The table of receipts is there. Raises ``UpstreamError``."""
        if self._receipts:
            return
        async with self._peers.session() as lent:
            if not await lent.do(receipts.there):
                try:
                    await lent.do(receipts.prepare)
                except UpstreamError as error:
                    if error.reason != "upstream.failed":
                        raise
                    raise UpstreamError(
                        f"The gateway's account may not create {receipts.TABLE}, which proves "
                        "after a crash what happened. `holdfast check` says what to grant.",
                        reason="undo.unavailable",
                    ) from error
            await lent.do(receipts.sweep)
        self._receipts = True

    @asynccontextmanager
    async def unwind(
        self, call: Call, undos: Sequence[tuple[str, Undo]], on_conflict: OnConflict
    ) -> AsyncIterator[MariadbUnwinding | DefinitionUnwinding | MixedForesight]:
        await self._prepared()
        async with self._reverts.session() as lent:

            def schema(one: tuple[str, Undo]) -> DefinitionUnwinding:
                return DefinitionUnwinding(lent, call.id, one, on_conflict, self._post())

            def rows(some: Sequence[tuple[str, Undo]]) -> MariadbUnwinding:
                return MariadbUnwinding(lent, call.id, some, on_conflict, self._seat())

            if len(undos) == 1 and undos[0][1].alone:
                yield schema(undos[0])
            elif any(undo.alone for _, undo in undos):
                yield MixedForesight(self._name, undos, rows, schema)
            else:
                unwinding = rows(undos)
                try:
                    yield unwinding
                finally:
                    unwinding.close()

    def _seat(self) -> Seat:
        return Seat(
            source=self._name,
            limits=self._limits,
            spooler=self._spooler,
            ask=self.happened,
            probe=self._probe,
        )

    async def happened(self, receipt: str) -> EffectState:
        try:
            async with self._peers.session() as lent:
                return await lent.do(lambda session: receipts.ask(session, receipt))
        except UpstreamError:
            return EffectState.UNKNOWN

    async def images(self, undo: Undo, *, offset: int, limit: int) -> list[Mapping[str, Json]]:
        """Raises ``ImageDamaged``."""
        if undo.reversibility is Reversibility.IRREVERSIBLE or undo.kind == moves.KIND:
            return []
        return await asyncio.to_thread(self._page, undo, offset, limit)

    def _page(self, undo: Undo, offset: int, limit: int) -> list[Mapping[str, Json]]:
        found: list[Mapping[str, Json]] = []
        passed = 0
        for image in Kept(undo, self._spooler).parts():
            wanted = image.changes[max(0, offset - passed) : max(0, offset + limit - passed)]
            found += map(image.shown, wanted)
            passed += len(image.changes)
        return found
