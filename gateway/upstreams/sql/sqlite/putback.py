"""Takes a call back as a whole file: puts its kept journal where SQLite looks for a hot one, so
that the engine's own recovery restores every page. Only while nobody has written since.

The rename of the prepared journal to ``<database>-journal`` is the commit: before it nothing has
happened, after it any process that opens the file finishes the job. Everything here blocks.
"""

from __future__ import annotations

import os

import apsw

from gateway.errors import UpstreamError
from gateway.interfaces import Captured
from gateway.model import Conflict, Reversibility, Step, Undo
from gateway.upstreams.sql.sqlite.connections import explained, recover
from gateway.upstreams.sql.sqlite.images import FORMAT
from gateway.upstreams.sql.sqlite.journal import RECEIPT, Kept
from gateway.upstreams.sql.sqlite.pages import (
    DatabaseFile,
    JournalDamaged,
    Pages,
    read_journal,
    renewed,
    sync_folder,
    write_journal,
)
from gateway.upstreams.sql.sqlite.transaction import Desk


class PutBack:
    """``call``: the revert's; ``target``: the call that is taken back."""

    def __init__(self, desk: Desk, call: str, target: tuple[str, Undo]) -> None:
        self._desk = desk
        self._call = call
        self._target, self._undo = target
        self._waiting = desk.journals.putback(call)
        self._redo = Kept(path=desk.journals.folder / f"{call}.journal", counter=0)
        self._done = False

    def run(self) -> Step:
        """Locks the file against everybody, compares, and prepares both ways."""
        try:
            self._desk.db.execute("BEGIN EXCLUSIVE")
        except apsw.Error as error:
            raise explained(error, "revert") from error
        kept = self._desk.journals.kept(self._undo.manifest["journal"])
        if kept is None or not kept.path.exists():
            return self._failed("Its journal is gone.")
        with DatabaseFile(self._desk.journals.path) as file:
            counter = file.counter()
            if counter != kept.counter:
                return self._conflict(kept.counter, counter)
            try:
                pages = read_journal(kept.path)
            except (JournalDamaged, OSError) as error:
                return self._failed(f"Its journal cannot be used: {error}.")
            self._prepare(pages, file.now(pages), counter)
        return self._step("reverted", restored=len(pages.images))

    def _prepare(self, pages: Pages, today: Pages, counter: int) -> None:
        try:
            write_journal(self._waiting, renewed(pages, today.images[1]))
            write_journal(self._redo.path, today)
            sync_folder(self._desk.journals.folder)
        except OSError as error:
            raise UpstreamError(f"The journal cannot be prepared: {error.strerror}") from error
        self._redo = Kept(path=self._redo.path, counter=counter + 1)

    def capture(self) -> Captured:
        undo = Undo(
            upstream=self._undo.upstream,
            kind="sqlite",
            reversibility=Reversibility.EXACT,
            manifest={"format": FORMAT, "tables": [], "journal": self._redo.as_json()},
        )
        return Captured(undo=undo, receipt=f"{RECEIPT}{self._call}")

    def commit(self) -> None:
        """Raises ``UpstreamError``, which then proves that nothing happened."""
        journal = self._desk.db.filename_journal
        try:
            os.rename(self._waiting, journal)
        except OSError as error:
            raise UpstreamError(f"The journal cannot be put back: {error.strerror}") from error
        self._done = True
        sync_folder(self._desk.journals.path.parent)
        self._desk.db.execute("ROLLBACK")
        recover(self._desk.db)

    def close(self) -> None:
        if self._desk.db.in_transaction:
            self._desk.db.execute("ROLLBACK")
        if not self._done:
            self._waiting.unlink(missing_ok=True)
            self._redo.discard()

    def _failed(self, detail: str) -> Step:
        return self._step("failed", reason="revert.not_revertible", detail=detail)

    def _conflict(self, wanted: int, counter: int) -> Step:
        conflict = Conflict(
            resource="main",
            key={"file": self._desk.journals.path.name},
            before=None,
            after={"change_counter": wanted},
            now={"change_counter": counter},
        )
        detail = "The file was written since; it can only be taken back as its last change."
        return self._step("conflict", (conflict,), reason="revert.conflict", detail=detail)

    def _step(
        self,
        state: str,
        conflicts: tuple[Conflict, ...] = (),
        *,
        restored: int = 0,
        reason: str | None = None,
        detail: str | None = None,
    ) -> Step:
        """``restored`` counts pages: rows are not told apart here."""
        return Step(
            call=self._target,
            upstream=self._undo.upstream,
            action="restore",
            state=state,
            restored=restored,
            conflicts=conflicts,
            reason=reason,
            detail=detail,
        )
