"""A SQLite file as a source: parse, attempt, unwind and what a start-up has to say about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import apsw

from gateway.errors import StoreUnavailable, UpstreamError
from gateway.interfaces import Clock, Piece, Probe, Spooler, no_probe
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
    Statement,
    Undo,
)
from gateway.upstreams.sql.gate import check_text, unread
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite import catalog, preparing, receipts
from gateway.upstreams.sql.sqlite.attempt import Reader, Source, SqliteAttempt, SqliteUnwinding
from gateway.upstreams.sql.sqlite.connections import (
    Deadline,
    Lane,
    bound_memory,
    explained,
    open_reader,
    open_writer,
)
from gateway.upstreams.sql.sqlite.facts import Judgement
from gateway.upstreams.sql.sqlite.images import each, unpack
from gateway.upstreams.sql.sqlite.journal import Journals
from gateway.upstreams.sql.sqlite.judge import Judge
from gateway.upstreams.sql.sqlite.transaction import Desk

_READERS = 4
_RECEIPTS_KEPT = timedelta(days=90)


class SqliteUpstream:
    """``path``: the database file. ``folder``: for kept journals, on the same file system.
    ``plain_journals``: whether journals may be kept, which are not encrypted; ``retention``: how
    long anything may be taken back. ``foreign_keys``: whether agents' statements run with foreign
    keys enforced, as SQLite does only when asked; off for a database whose applications do not
    enforce them."""

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        environment: str,
        labels: Mapping[str, str] | None = None,
        limits: SqlLimits | None = None,
        folder: Path,
        spooler: Spooler,
        clock: Clock,
        probe: Probe = no_probe,
        foreign_keys: bool = True,
        plain_journals: bool = True,
        retention: timedelta | None = _RECEIPTS_KEPT,
    ) -> None:
        self._name = name
        self._path = path
        self._environment = environment
        self._labels = dict(labels or {})
        self._limits = limits or SqlLimits()
        self._folder = folder
        self._spooler = spooler
        self._clock = clock
        self._probe = probe
        self._foreign_keys = foreign_keys
        self._journals = Journals(path, folder, plain=plain_journals)
        self._retention = retention
        self._opened: _Opened | None = None

    @property
    def name(self) -> str:
        return self._name

    async def place(self) -> Path | None:
        """Where the data lies."""
        return self._path

    # --- life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Opens all connections and makes the receipt table. Raises ``UpstreamError``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        bound_memory()
        writer, judging = Lane(f"{self._name}-write"), Lane(f"{self._name}-judge")
        lanes = [writer, judging]
        try:
            desk = await writer.run(self._open_desk)
            db = await judging.run(self._open_reader)
            readers: asyncio.Queue[Reader] = asyncio.Queue()
            for number in range(_READERS):
                lane = Lane(f"{self._name}-read-{number}")
                lanes.append(lane)
                reader = await lane.run(self._open_reader)
                readers.put_nowait(Reader(lane, reader, Deadline(reader)))
        except UpstreamError:
            for lane in lanes:
                lane.close()
            raise
        source = Source(
            name=self._name,
            path=self._path,
            limits=self._limits,
            foreign_keys=self._foreign_keys,
            clock=self._clock,
            probe=self._probe,
            desk=desk,
            writer=writer,
            writing=asyncio.Lock(),
            readers=readers,
        )
        judge = Judge(db, foreign_keys=self._foreign_keys)
        self._opened = _Opened(source, judging, db, judge, _identity(self._path))

    def _open_reader(self) -> apsw.Connection:
        return open_reader(
            self._path, busy_s=self._limits.lock_timeout_s, foreign_keys=self._foreign_keys
        )

    def _open_desk(self) -> Desk:
        db = open_writer(
            self._path, busy_s=self._limits.lock_timeout_s, foreign_keys=self._foreign_keys
        )
        try:
            receipts.prepare(db, self._clock.now() - _RECEIPTS_KEPT)
        except apsw.Error as error:
            db.close()
            raise explained(error, "open") from error
        now = self._clock.now()
        longest = None if self._retention is None else max(self._retention, _RECEIPTS_KEPT)
        self._journals.prune(
            receipts=now - _RECEIPTS_KEPT, journals=None if longest is None else now - longest
        )
        return Desk(db, self._open_reader(), Deadline(db), self._journals)

    async def erase(self, call: str) -> None:
        """Removes the kept journal of ``call``, if there is one, also while this is not open.
        Raises ``StoreUnavailable``."""
        try:
            await asyncio.to_thread(self._journals.erase, call)
        except OSError as error:
            raise StoreUnavailable(f"A kept journal cannot be removed: {error}.") from error

    async def close(self) -> None:
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.close()

    async def check(self) -> list[Finding]:
        opened = self._here()
        return await opened.source.writer.run(lambda: self._findings(opened.source.desk))

    def _findings(self, desk: Desk) -> list[Finding]:
        about = f"source {self._name}"
        found: list[Finding] = []
        unsafe = desk.journals.unsafe(desk.db)
        if unsafe is not None:
            message = f"Every write will be refused: {unsafe}."
            found.append(Finding(level="error", about=about, message=message))
        why = desk.journals.whole(desk.db)
        if why is not None and unsafe is None:
            message = f"Changes of the schema, and very large ones, cannot be taken back: {why}."
            found.append(Finding(level="info", about=about, message=message))
        if not os.access(self._path, os.W_OK):
            message = "The file cannot be written: every write will be refused."
            found.append(Finding(level="warning", about=about, message=message))
        return found

    async def prepare(
        self,
        *,
        apply: bool,
        include: frozenset[str],  # noqa: ARG002 - nothing here is a matter of choice
        admin_url: str | None,  # noqa: ARG002 - a file has no roles
    ) -> list[Piece]:
        return await asyncio.to_thread(preparing.prepared, self._path, apply=apply)

    def _here(self) -> _Opened:
        """Raises ``UpstreamError`` when the file is gone, or is another one."""
        opened = self._opened
        if opened is None:
            raise UpstreamError("The source is not open.", reason="upstream.unreachable")
        if _identity(self._path) != opened.identity:
            raise UpstreamError(
                "The database file is gone or was replaced; restart to use the new one.",
                reason="upstream.unreachable",
            )
        return opened

    # --- parse ----------------------------------------------------------------------------

    async def parse(self, call: Call) -> Action | Deny:
        sql = call.request.get("sql")
        if not isinstance(sql, str):
            return Deny(reason="malformed", detail="sql is a string.")
        refusal = unread(call.request.get("stdin"))
        refusal = refusal or check_text(sql, max_bytes=self._limits.max_sql_bytes, dialect="sqlite")
        if refusal is not None:
            return refusal
        opened = self._here()
        params = call.request.get("params")
        return await opened.source.reading(
            opened.judging, lambda: self._parse(opened, call, sql, params), lambda: None
        )

    def _parse(self, opened: _Opened, call: Call, sql: str, params: Json) -> Action | Deny:
        try:
            judgement = opened.judge.judge(sql, params)
            if isinstance(judgement, Deny):
                return judgement
            reversibility, why = self._reversibility(opened, judgement)
        except apsw.Error as error:
            raise explained(error, "parse") from error
        leading = max(judgement.statements, key=lambda s: list(ActionClass).index(s.cls))
        return Action(
            surface=call.surface,
            tool=call.tool,
            name=leading.verb,
            cls=judgement.cls,
            reversibility=reversibility,
            idempotent=judgement.cls is ActionClass.READ,
            digest=call.digest,
            effects=tuple(dict.fromkeys(e for s in judgement.statements for e in s.effects)),
            resource=Resource(
                type="sqlite", id=self._name, environment=self._environment, labels=self._labels
            ),
            sql=_shown(sql, params, judgement),
            why_irreversible=why,
            facts=judgement,
        )

    def _reversibility(
        self, opened: _Opened, judgement: Judgement
    ) -> tuple[Reversibility, str | None]:
        if judgement.cls is ActionClass.READ:
            return Reversibility.NONE, None
        why = self._journals.whole(opened.db)
        if why is not None and not judgement.whole_file:
            # Then only row images are left.
            why = None
            for table in sorted(judgement.written):
                shape = catalog.shape(opened.db, table)
                if shape is not None and not shape.capturable:
                    why = f"the rows of {table} cannot be told apart"
        return (Reversibility.IRREVERSIBLE if why else Reversibility.EXACT), why

    # --- doing and undoing ----------------------------------------------------------------

    @asynccontextmanager
    async def attempt(self, call: Call, action: Action) -> AsyncIterator[SqliteAttempt]:
        source = self._here().source
        if not isinstance(action.facts, Judgement):
            raise TypeError("the action was not parsed by this upstream")
        attempt = SqliteAttempt(source, call, action.facts)
        if action.cls is ActionClass.READ:
            yield attempt
            return
        async with source.alone():
            try:
                yield attempt
            finally:
                await attempt.close()

    @asynccontextmanager
    async def unwind(
        self, call: Call, undos: Sequence[tuple[str, Undo]], on_conflict: OnConflict
    ) -> AsyncIterator[SqliteUnwinding]:
        source = self._here().source
        unwinding = SqliteUnwinding(source, call, undos, on_conflict)
        async with source.alone():
            try:
                yield unwinding
            finally:
                await unwinding.close()

    async def happened(self, receipt: str) -> EffectState:
        source = self._here().source
        return await asyncio.to_thread(source.happened, receipt)

    async def images(self, undo: Undo, *, offset: int, limit: int) -> list[Mapping[str, Json]]:
        tables = undo.manifest.get("tables", ())
        image = await asyncio.to_thread(lambda: b"".join(self._spooler.read(undo)))
        if not image:
            return []
        found = await asyncio.to_thread(unpack, tables, image)
        pairs = list(each(found))[offset : offset + limit]
        return [image.shown(change) for image, change in pairs]


class _Opened:
    """All that ``open`` made. ``identity`` is the file's, not its name's."""

    def __init__(
        self,
        source: Source,
        judging: Lane,
        db: apsw.Connection,
        judge: Judge,
        identity: tuple[int, int] | None,
    ) -> None:
        self.source = source
        self.judging = judging
        self.db = db
        self.judge = judge
        self.identity = identity

    async def close(self) -> None:
        await self.judging.run(self.db.close)
        self.judging.close()
        for _ in range(_READERS):
            reader = await self.source.readers.get()
            await reader.lane.run(reader.db.close)
            reader.lane.close()
        async with self.source.writing:
            await self.source.writer.run(self.source.desk.close)
        self.source.writer.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _shown(sql: str, params: Json, judgement: Judgement) -> SqlAction:
    statements = tuple(
        Statement(
            verb=s.verb,
            tables=tuple(dict.fromkeys(e.name for e in s.effects if e.kind in ("table", "view"))),
            functions=s.functions,
            bounded=s.bounded,
        )
        for s in judgement.statements
    )
    return SqlAction(
        dialect="sqlite", text=sql, statements=statements, params=params if params else ()
    )
