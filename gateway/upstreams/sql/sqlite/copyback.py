"""Takes calls back where one of them kept a copy of the file. All of it is worked out on a copy of
what stands there now, newest call first: a call with row images row by row, one with a copy by that
copy, if the database says what it said right after the call. The outcome then replaces the content
of the file in one transaction of the engine's own backup, which other connections see as any
commit. Everything here blocks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import apsw

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Probe, Watch
from gateway.model import Conflict, OnConflict, Reversibility, Step, Undo
from gateway.upstreams.sql.sqlite import copies, receipts, unwind
from gateway.upstreams.sql.sqlite.connections import explained
from gateway.upstreams.sql.sqlite.functions import RECEIPTS
from gateway.upstreams.sql.sqlite.images import FORMAT
from gateway.upstreams.sql.sqlite.journal import Kept
from gateway.upstreams.sql.sqlite.transaction import Desk, sequence


class CopyBack:
    """``call``: the revert's, which began ``at``; ``undos``: the calls that are taken back, newest
    first."""

    def __init__(
        self,
        desk: Desk,
        call: str,
        at: datetime,
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
        *,
        foreign_keys: bool,
        probe: Probe,
    ) -> None:
        self._desk = desk
        self._call = call
        self._at = at
        self._undos = undos
        self._on_conflict = on_conflict
        self._foreign_keys = foreign_keys
        self._probe = probe
        self._scratch = desk.journals.folder / f"{call}.scratch"
        self._redo = Kept(path=desk.journals.copy(call), counter=0)
        self._version = 0
        self._done = False

    def run(self, watch: Watch | None = None) -> tuple[Step, ...]:
        """Locks everybody else's writes out, and prepares what the file is to hold."""
        try:
            self._desk.db.execute("BEGIN IMMEDIATE")
            self._version = _version(self._desk.peek)
            seal = copies.clone(self._desk.peek, self._redo.path)
            self._redo = replace(self._redo, seal=seal)
            shutil.copyfile(self._redo.path, self._scratch)
            steps = [self._step(call, undo, watch) for call, undo in self._undos]
            if self._on_conflict is OnConflict.ABORT and any(s.state != "reverted" for s in steps):
                return tuple(unwind.left(step) for step in steps)
            self._finish()
        except (apsw.Error, OSError) as error:
            raise explained(error, "revert") from error
        self._probe("sqlite.prepared")
        return tuple(steps)

    def _step(self, call: str, undo: Undo, watch: Watch | None) -> Step:
        if unwind.rowwise(undo):
            with self._opened() as db:
                unwind.loosen(db)
                db.execute("BEGIN IMMEDIATE")
                (step,) = unwind.take_back(
                    db,
                    [(call, undo)],
                    self._on_conflict,
                    foreign_keys=self._foreign_keys,
                    watch=watch,
                )
                db.execute("COMMIT")
            return step
        kept = self._desk.journals.kept(undo.manifest.get("journal") or {})
        step = Step(call=call, upstream=undo.upstream, action="restore", state="failed")
        if kept is None or not kept.after or not kept.path.exists():
            why = "Its copy is gone." if kept is None or kept.after else "It kept a journal only."
            return replace(step, reason="revert.not_revertible", detail=why)
        with self._opened() as db:
            now = copies.digest(db)
            pages = int(str(db.pragma("page_count")))
        if now != kept.after:
            return replace(
                step,
                state="conflict",
                reason="revert.conflict",
                detail="The database was written since; this can only be taken back as its last "
                "change.",
                conflicts=(self._conflict(kept.after, now),),
            )
        # What is not proven never takes the place of what the other calls are worked out on.
        fresh = Path(f"{self._scratch}-new")
        shutil.copyfile(kept.path, fresh)
        if copies.sealed(fresh) != kept.seal:
            detail = "Its copy is not what it was when it was made."
            return replace(step, reason="revert.not_revertible", detail=detail)
        fresh.replace(self._scratch)
        return replace(step, state="reverted", restored=pages)

    def _conflict(self, wanted: str, now: str) -> Conflict:
        return Conflict(
            resource="main",
            key={"file": self._desk.journals.path.name},
            before=None,
            after={"digest": wanted},
            now={"digest": now},
        )

    @contextmanager
    def _opened(self) -> Iterator[apsw.Connection]:
        db = apsw.Connection(str(self._scratch))
        try:
            db.pragma("journal_mode", "memory")  # a crash throws the copy away
            db.pragma("synchronous", 0)
            db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            yield db
        finally:
            db.close()

    def _finish(self) -> None:
        """Receipts are of calls that happened, whatever became of them since; and a number that an
        AUTOINCREMENT gave out is not given out again."""
        peek = self._desk.peek
        known = peek.execute(f"SELECT call, at FROM {RECEIPTS}").fetchall()
        counters = sequence(peek)
        with self._opened() as db:
            with db:
                db.executemany(f"INSERT OR REPLACE INTO {RECEIPTS} VALUES(?, ?)", known)
                receipts.write(db, self._call, self._at)
                for name in sequence(db).keys() & counters.keys():
                    db.execute(
                        "UPDATE main.sqlite_sequence SET seq = max(seq, ?) WHERE name = ?",
                        (counters[name], name),
                    )
            self._redo = replace(self._redo, after=copies.digest(db))

    def capture(self) -> Captured:
        undo = Undo(
            upstream=self._undos[0][1].upstream,
            kind="sqlite",
            reversibility=Reversibility.EXACT,
            manifest={
                "format": FORMAT,
                "tables": [],
                "journal": self._redo.as_json(),
                "rowwise": False,
            },
        )
        return Captured(undo=undo, receipt=self._call)

    def commit(self) -> None:
        """Raises ``UpstreamError``; its ``proves_no_effect`` is false when only the receipt can
        tell what happened."""
        live = self._desk.db
        live.execute("ROLLBACK")
        applied = False
        try:
            with self._opened() as db, live.backup("main", db, "main") as backup:
                backup.step(0)  # nobody else can write from here on
                if _version(self._desk.peek) != self._version:
                    raise UpstreamError("The database was written to while it was taken back.")
                applied = True
                backup.step(-1)
                backup.finish()
        except apsw.Error as error:
            raise UpstreamError(
                f"The database failed while it was taken back: {error}",
                proves_no_effect=not applied,
            ) from error
        self._done = True
        self._probe("sqlite.renamed")

    def close(self) -> None:
        if self._desk.db.in_transaction:
            self._desk.db.execute("ROLLBACK")
        for suffix in ("", "-new", "-journal", "-wal", "-shm"):
            Path(f"{self._scratch}{suffix}").unlink(missing_ok=True)
        if not self._done:
            self._redo.discard()


def _version(peek: apsw.Connection) -> int:
    """Changes with every commit of another connection."""
    return int(str(peek.pragma("data_version")))
