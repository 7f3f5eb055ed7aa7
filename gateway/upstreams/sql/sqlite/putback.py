"""Takes calls back as a whole file: puts kept journals where SQLite looks for a hot one, so that
the engine's own recovery restores every page. Newest first, as far as the journals reach down from
the file as it is now; calls before that come back row by row, on a copy of the file, and what the
copy then differs in joins the same journal. So one rename is the commit of all of it.

The rename of the prepared journal to ``<database>-journal`` is that commit: before it nothing has
happened, after it any process that opens the file finishes the job. Everything here blocks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import apsw

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Probe, Watch
from gateway.model import Conflict, OnConflict, Reversibility, Step, Undo
from gateway.upstreams.sql.sqlite import unwind
from gateway.upstreams.sql.sqlite.connections import explained, recover
from gateway.upstreams.sql.sqlite.images import FORMAT
from gateway.upstreams.sql.sqlite.journal import RECEIPT, Kept
from gateway.upstreams.sql.sqlite.pages import (
    DatabaseFile,
    JournalDamaged,
    Pages,
    overlaid,
    read_journal,
    renewed,
    sync_folder,
    write_journal,
)
from gateway.upstreams.sql.sqlite.scratch import Scratch
from gateway.upstreams.sql.sqlite.transaction import Desk


class PutBack:
    """``call``: the revert's; ``undos``: the calls that are taken back, newest first."""

    def __init__(
        self,
        desk: Desk,
        call: str,
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
        *,
        foreign_keys: bool,
        probe: Probe,
    ) -> None:
        self._desk = desk
        self._probe = probe
        self._undos = undos
        self._on_conflict = on_conflict
        self._foreign_keys = foreign_keys
        self._waiting = desk.journals.putback(call)
        self._receipt = f"{RECEIPT}{call}"
        self._redo = Kept(path=desk.journals.folder / f"{call}.journal", counter=0)
        self._scratch = Scratch(desk.journals.folder / f"{call}.scratch")
        self._base = 0
        self._done = False

    def run(self, watch: Watch | None = None) -> tuple[Step, ...]:
        """Locks the file against everybody, compares, and prepares both ways."""
        try:
            self._desk.db.execute("BEGIN EXCLUSIVE")
        except apsw.Error as error:
            raise explained(error, "revert") from error
        with DatabaseFile(self._desk.journals.path) as file:
            counter = file.counter()
            pages, steps = self._by_journal(file, counter)
            rest = self._undos[len(steps) :]
            if rest:
                pages, more = self._by_row(file, pages, rest, counter, watch)
                steps += more
            stopped = self._on_conflict is OnConflict.ABORT and any(
                s.state != "reverted" for s in steps
            )
            if stopped or pages is None:
                return tuple(unwind.left(s) for s in steps) if stopped else tuple(steps)
            try:
                self._prepare(pages, file.now(pages), counter)
            except JournalDamaged as error:
                raise UpstreamError(f"The database file cannot be used: {error}.") from error
        self._probe("sqlite.prepared")
        return tuple(steps)

    def _by_journal(self, file: DatabaseFile, counter: int) -> tuple[Pages | None, list[Step]]:
        """The pages as they were before the newest calls, as far as each call's journal begins
        where that of the next one ends."""
        pages: Pages | None = None
        steps: list[Step] = []
        ends = self._desk.journals.like(counter)
        for call, undo in self._undos:
            kept = self._desk.journals.kept(undo.manifest.get("journal") or {})
            if kept is None or kept.counter not in ends or not kept.path.exists():
                break
            try:
                older = read_journal(kept.path)
                reached = overlaid(pages, older)
                untouched = pages is None and kept.counter == counter
                if not untouched and _written_over(file, pages, older, reached):
                    break
            except (JournalDamaged, OSError):
                break
            pages = reached
            steps.append(_step(call, undo, "reverted", restored=len(older.images)))
            self._base = kept.counter - 1
            ends = self._desk.journals.like(self._base)
        return pages, steps

    def _by_row(
        self,
        file: DatabaseFile,
        pages: Pages | None,
        rest: Sequence[tuple[str, Undo]],
        counter: int,
        watch: Watch | None,
    ) -> tuple[Pages | None, list[Step]]:
        """The calls below, by their row images. Those that have none are conflicts."""
        steps = {call: self._unreached(call, undo, counter) for call, undo in rest}
        rowwise = [(call, undo) for call, undo in rest if steps[call] is None]
        if rowwise:
            taken, pages = self._on_copy(file, pages, rowwise, watch)
            steps.update({step.call: step for step in taken})
        self._base = 0  # no earlier journal begins at what is made here
        return pages, [step for step in steps.values() if step is not None]

    def _on_copy(
        self,
        file: DatabaseFile,
        pages: Pages | None,
        rowwise: Sequence[tuple[str, Undo]],
        watch: Watch | None,
    ) -> tuple[tuple[Step, ...], Pages | None]:
        try:
            with self._scratch.opened(file, pages) as db:
                unwind.loosen(db)
                db.execute("BEGIN IMMEDIATE")
                steps = unwind.take_back(
                    db, rowwise, self._on_conflict, foreign_keys=self._foreign_keys, watch=watch
                )
                db.execute("COMMIT")
        except (apsw.Error, OSError) as error:
            raise explained(error, "revert") from error
        return steps, self._scratch.differing(file)

    def _unreached(self, call: str, undo: Undo, counter: int) -> Step | None:
        """Why a call that its journal does not reach cannot come back; ``None`` where its rows
        can."""
        if unwind.rowwise(undo):
            return None
        kept = self._desk.journals.kept(undo.manifest.get("journal") or {})
        if kept is None or not kept.path.exists():
            return _failed(call, undo, "Its journal is gone.")
        try:
            read_journal(kept.path)
        except (JournalDamaged, OSError) as error:
            return _failed(call, undo, f"Its journal cannot be used: {error}.")
        return self._conflict(call, undo, kept.counter, counter)

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
            upstream=self._undos[0][1].upstream,
            kind="sqlite",
            reversibility=Reversibility.EXACT,
            manifest={"format": FORMAT, "tables": [], "journal": self._redo.as_json()},
        )
        return Captured(undo=undo, receipt=self._receipt)

    def commit(self) -> None:
        """Raises ``UpstreamError``, which then proves that nothing happened."""
        journal = self._desk.db.filename_journal
        try:
            os.rename(self._waiting, journal)
        except OSError as error:
            raise UpstreamError(f"The journal cannot be put back: {error.strerror}") from error
        self._done = True
        self._probe("sqlite.renamed")
        sync_folder(self._desk.journals.path.parent)
        self._desk.db.execute("ROLLBACK")
        recover(self._desk.db)
        self._desk.journals.put_back(self._redo.counter, self._base)

    def close(self) -> None:
        if self._desk.db.in_transaction:
            self._desk.db.execute("ROLLBACK")
        self._scratch.discard()
        if not self._done:
            self._waiting.unlink(missing_ok=True)
            self._redo.discard()

    def _conflict(self, call: str, undo: Undo, wanted: int, counter: int) -> Step:
        conflict = Conflict(
            resource="main",
            key={"file": self._desk.journals.path.name},
            before=None,
            after={"change_counter": wanted},
            now={"change_counter": counter},
        )
        detail = "The file was written since; it can only be taken back as its last change."
        step = _step(call, undo, "conflict", reason="revert.conflict", detail=detail)
        return replace(step, conflicts=(conflict,))


def _written_over(
    file: DatabaseFile, newer: Pages | None, older: Pages, reached: Pages
) -> set[int]:
    """Pages that the call of ``older`` freed and its journal does not hold: a call since may have
    needed them. There are none where the call ran under ``secure_delete``."""
    freed = file.free_under(newer) - file.free_under(reached) - set(older.images)
    return {number for number in freed if number <= older.count}


def _failed(call: str, undo: Undo, detail: str) -> Step:
    return _step(call, undo, "failed", reason="revert.not_revertible", detail=detail)


def _step(
    call: str,
    undo: Undo,
    state: str,
    *,
    restored: int = 0,
    reason: str | None = None,
    detail: str | None = None,
) -> Step:
    """``restored`` counts pages: rows are not told apart here."""
    return Step(
        call=call,
        upstream=undo.upstream,
        action="restore",
        state=state,
        restored=restored,
        reason=reason,
        detail=detail,
    )
