"""One write transaction on the source, from BEGIN IMMEDIATE to its end: recorded row by row,
measured, captured. Everything here blocks and runs in the writer's own thread."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import apsw

from gateway.errors import UpstreamError
from gateway.interfaces import Captured
from gateway.model import Deny, Json, Measured, Reversibility, Undo
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.rehearsed import cannot
from gateway.upstreams.sql.sqlite import catalog, copies, images, receipts, rehearsal
from gateway.upstreams.sql.sqlite.adoption import orphans_before
from gateway.upstreams.sql.sqlite.catalog import Shape
from gateway.upstreams.sql.sqlite.connections import Deadline, explained, spill_from, spilled
from gateway.upstreams.sql.sqlite.facts import Judgement, Sole
from gateway.upstreams.sql.sqlite.functions import RECEIPTS
from gateway.upstreams.sql.sqlite.journal import Journals, Kept, unavailable
from gateway.upstreams.sql.sqlite.netting import Packed, Sides
from gateway.upstreams.sql.sqlite.pages import DatabaseFile
from gateway.upstreams.sql.sqlite.recorder import Recorder
from gateway.upstreams.sql.sqlite.rows import count

# The keys of all rows are held in memory, and a revert holds the rows.
_ROWS_HELD = 200_000


@dataclass(slots=True)
class Desk:
    """What a writer works with: its connection, and a second, read-only one that goes on seeing
    the file as it was before the transaction until that is committed."""

    db: apsw.Connection
    peek: apsw.Connection
    deadline: Deadline
    journals: Journals

    def close(self) -> None:
        self.peek.close()
        self.db.close()


class Transaction:
    def __init__(self, desk: Desk, call: str, limits: SqlLimits, upstream: str) -> None:
        self._desk = desk
        self._db = desk.db
        self._call = call
        self._limits = limits
        self._upstream = upstream
        self._kept: Kept | None = None
        self._counter = 0
        self._spilled = 0
        self._lost: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        self._undo: Undo | None = None
        self._rowwise = False
        self._most = min(limits.max_capture_rows, _ROWS_HELD)
        self.recorder = Recorder(desk.db, {}, max_rows=self._most)

    @property
    def db(self) -> apsw.Connection:
        return self._db

    def begin(self, judgement: Judgement | None = None) -> None:
        """Takes the write lock and starts recording what ``judgement`` lets happen, or anything.
        Raises ``UpstreamError``."""
        why = self._desk.journals.unsafe(self._db)
        if why is not None:
            raise UpstreamError(
                f"Nothing is written here, as it could not be taken back: {why}.",
                reason="undo.unavailable",
            )
        try:
            pages = self._desk.journals.keepable(self._db) is None
            # Once some went to the file, the second connection cannot read what stood there: then
            # pages are the only way back. The engine takes this in only between transactions.
            spill_from(self._db, self._limits.max_page_bytes if pages else None)
            self._db.execute("BEGIN IMMEDIATE")
            keyed = _without_rowid(self._db)
            self._sequence = sequence(self._db)
            self._counter = self._desk.journals.counter()
            self._spilled = spilled(self._db)
            # Now, as it may not be possible later.
            self._lost = self._counted(() if judgement is None else judgement.dropped)
            self.recorder = self._recorder(keyed, judgement, pages)
        except apsw.Error as error:
            self.rollback()
            raise explained(error, "begin") from error
        self.recorder.start()

    def _recorder(
        self, keyed: Mapping[str, Shape], judgement: Judgement | None, pages: bool
    ) -> Recorder:
        sole = None if judgement is None else judgement.sole
        most, follow = self._most, True
        if judgement is not None and judgement.whole_file:
            # Names and keys may mean something else by the end, and nothing needs them then.
            return Recorder(self._db, {}, max_rows=most, keys=False)
        if pages:
            most = min(most, self._limits.row_images)
            follow = sole is None or not self._surely_over(sole, most)
        return Recorder(self._db, keyed, max_rows=most, sole=sole, follow=follow)

    def _surely_over(self, sole: Sole, most: int) -> bool:
        """Whether it meets every row of its table, and these are too many to be noted one by one:
        then nothing has to watch, and the engine may empty the table in one go."""
        return sole.every and count(self._desk.peek, sole.table, most=most + 1) > most

    def _counted(self, tables: Iterable[str]) -> dict[str, int]:
        shapes = (catalog.shape(self._desk.peek, name) for name in tables)
        return {s.name: count(self._desk.peek, s.name) for s in shapes if s is not None}

    def measured(self) -> Measured:
        """The rows of dropped tables count as deleted. Also shows, before COMMIT would, that
        deferred constraints hold."""
        if not self._db.in_transaction:
            raise UpstreamError("The statement rolled its own transaction back.")
        unresolved, _ = self._db.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)
        if unresolved:
            message = "FOREIGN KEY constraint failed"
            raise UpstreamError(
                f"The database refused (run): {message} at the end of the call",
                code=apsw.SQLITE_CONSTRAINT_FOREIGNKEY,
                message=message,
            )
        for name, rows in self._lost.items():
            self.recorder.lost(name, rows)
        return self.recorder.measured()

    def capture(self, at: datetime, *, whole_file: bool) -> Captured | Deny:
        """The way back, once everything has run. ``whole_file``: the schema changed, or rows
        cannot be told apart, so that only the kept journal takes it back."""
        self.recorder.stop()
        why: Deny | None = None
        if not whole_file and not self.recorder.overflowed and not self.spilled:
            packed = self._packed()
            orphans = orphans_before(self._desk.peek, self._db, self.recorder.tables)
            if isinstance(packed, Packed) and orphans is None:
                packed = unavailable("it concerns too many rows that refer to nothing")
            if isinstance(packed, Packed):
                receipts.write(self._db, self._call, at)
                self._kept = self._desk.journals.extend(self._db, self._call, self._counter)
                self._rowwise = True
                return self._captured(packed, orphans or ())
            why = packed
        receipts.write(self._db, self._call, at)
        kept = self._desk.journals.keep(self._db, self._call, self._counter)
        if isinstance(kept, Deny) and self._desk.journals.copyable(self._db) is None:
            kept = copies.keep(
                self._db,
                self._desk.peek,
                self._desk.journals,
                self._call,
                most=self._limits.max_capture_bytes,
            )
        if isinstance(kept, Deny):
            return why or kept
        self._kept = kept
        return self._captured(Packed(tables=[], image=b""))

    def _packed(self) -> Packed | Deny | None:
        if not self.recorder.complete:
            return unavailable("not every changed row was seen")
        sides = Sides(before=self._desk.peek, after=self._db, max_rows=self._most)
        return sides.pack(self.recorder.tables, max_bytes=self._limits.max_capture_bytes)

    def _captured(self, packed: Packed, orphans: Sequence[str] = ()) -> Captured:
        undo = Undo(
            upstream=self._upstream,
            kind="sqlite",
            reversibility=Reversibility.EXACT,
            manifest={
                "format": images.FORMAT,
                "tables": packed.tables,
                "journal": {} if self._kept is None else self._kept.as_json(),
                "rowwise": self._rowwise,
                "sequence": self._counters(),
                "orphans": list(orphans),
            },
            image=packed.image,
        )
        self._undo = undo
        return Captured(undo=undo, receipt=self._call)

    @property
    def spilled(self) -> bool:
        """Whether the file holds some of the transaction's pages already."""
        return spilled(self._db) != self._spilled

    def rehearse(self, *, demanded: bool, foreign_keys: bool) -> Deny | None:
        """See ``Rehearsing``, after ``capture``. Raises ``apsw.Error``."""
        assert self._undo is not None
        if self.spilled:
            why = (
                "it changes more pages than are held in memory, so the file is no longer as before"
            )
            return cannot(why) if demanded else None
        if not self._rowwise and self._kept is not None and self._kept.after:
            return rehearsal.of_copy(self._desk.peek, self._kept)
        if not self._rowwise and self._kept is not None:
            with DatabaseFile(self._desk.journals.path) as file:
                return rehearsal.of_journal(file, self._kept)
        undo = (self._call, self._undo)
        touched = self.recorder.tables
        return rehearsal.of_rows(
            self._db, self._desk.peek, undo, touched, foreign_keys=foreign_keys
        )

    def _counters(self) -> dict[str, Json]:
        now = sequence(self._db)
        return {n: [self._sequence.get(n), s] for n, s in now.items() if self._sequence.get(n) != s}

    def commit(self) -> None:
        """Raises ``UpstreamError``; its ``proves_no_effect`` is false when only the receipt can
        tell what happened."""
        self.recorder.stop()
        self._desk.deadline.clear()
        until = time.monotonic() + self._limits.lock_timeout_s
        while True:
            try:
                self._db.execute("COMMIT")
            except apsw.BusyError as error:
                if time.monotonic() < until:
                    continue
                self.rollback()
                raise explained(error, "commit") from error
            except apsw.ConstraintError as error:
                self.rollback()
                raise explained(error, "commit") from error
            except apsw.Error as error:
                self._kept = None  # it may have happened after all: the way back stays
                self.rollback()
                raise UpstreamError(
                    f"The database failed while it committed: {error}", proves_no_effect=False
                ) from error
            else:
                self._desk.journals.landed(self._kept, rowwise=self._rowwise)
                self._kept = None
                return

    def rollback(self) -> None:
        """Ends the transaction without an effect; nothing to do when it has ended."""
        self.recorder.stop()
        self._desk.deadline.clear()
        self._db.authorizer = None
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if self._kept is not None:
            self._kept.discard()
            self._kept = None


def _without_rowid(db: apsw.Connection) -> dict[str, Shape]:
    names = [n for n, kind in catalog.listed(db).items() if kind == "table" and n != RECEIPTS]
    shapes = [catalog.shape(db, name) for name in names if catalog.without_rowid(db, name)]
    return {shape.name: shape for shape in shapes if shape is not None}


def sequence(db: apsw.Connection) -> dict[str, int]:
    """The AUTOINCREMENT counters. The hook does not see them, and a revert never turns one
    back; they are kept for whoever looks into an undo."""
    if not db.table_exists("main", "sqlite_sequence"):
        return {}
    rows = db.execute("SELECT name, seq FROM main.sqlite_sequence").fetchall()
    return {str(name): seq for name, seq in rows if isinstance(seq, int)}
