"""One write transaction on the source, from BEGIN IMMEDIATE to its end: recorded row by row,
measured, captured. Everything here blocks and runs in the writer's own thread."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import apsw

from gateway.errors import UpstreamError
from gateway.interfaces import Captured
from gateway.model import Deny, Json, Measured, Reversibility, Undo
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite import catalog, images, receipts, rehearsal
from gateway.upstreams.sql.sqlite.catalog import Shape
from gateway.upstreams.sql.sqlite.cells import Row, exact, same
from gateway.upstreams.sql.sqlite.connections import Deadline, explained
from gateway.upstreams.sql.sqlite.functions import RECEIPTS
from gateway.upstreams.sql.sqlite.images import Change, TableImage
from gateway.upstreams.sql.sqlite.journal import Journals, Kept, unavailable
from gateway.upstreams.sql.sqlite.pages import DatabaseFile
from gateway.upstreams.sql.sqlite.recorder import Recorder, Touched
from gateway.upstreams.sql.sqlite.rows import Key, by_key, count, everything

# Both images of every row are held in memory while they are packed.
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
        self._changes = 0
        self._sequence: dict[str, int] = {}
        self._undo: Undo | None = None
        self._rowwise = False
        self._most = min(limits.max_capture_rows, _ROWS_HELD)
        self.recorder = Recorder(desk.db, {}, max_rows=self._most)

    @property
    def db(self) -> apsw.Connection:
        return self._db

    def begin(self) -> None:
        """Takes the write lock and starts recording. Raises ``UpstreamError``."""
        why = self._desk.journals.unsafe(self._db)
        if why is not None:
            raise UpstreamError(
                f"Nothing is written here, as it could not be taken back: {why}.",
                reason="undo.unavailable",
            )
        try:
            self._db.execute("BEGIN IMMEDIATE")
            keyed = _without_rowid(self._db)
            self._sequence = _sequence(self._db)
        except apsw.Error as error:
            self.rollback()
            raise explained(error, "begin") from error
        most = self._most
        if self._desk.journals.keepable(self._db) is None:
            most = min(most, self._limits.row_images)
        self.recorder = Recorder(self._db, keyed, max_rows=most)
        self._changes = self._db.total_changes()
        self.recorder.start()

    def measured(self, dropped: Iterable[str] = ()) -> Measured:
        """The rows of ``dropped`` tables count as deleted. Also shows, before COMMIT would, that
        deferred constraints hold."""
        if not self._db.in_transaction:
            raise UpstreamError("The statement rolled its own transaction back.")
        unresolved, _ = self._db.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)
        if unresolved:
            raise UpstreamError(
                "The database refused (run): FOREIGN KEY constraint failed at the end of the call"
            )
        for name in dropped:
            shape = catalog.shape(self._desk.peek, name)
            if shape is not None:
                self.recorder.lost(shape.name, count(self._desk.peek, shape.name))
        return self.recorder.measured()

    def capture(self, at: datetime, *, whole_file: bool) -> Captured | Deny:
        """The way back, once everything has run. ``whole_file``: the schema changed, or rows
        cannot be told apart, so that only the kept journal takes it back."""
        self.recorder.stop()
        done = self._db.total_changes() - self._changes
        why: Deny | None = None
        if not whole_file and not self.recorder.overflowed:
            seen = self.recorder.events >= done
            found = self._images() if seen else unavailable("not every changed row was seen")
            if isinstance(found, Deny):
                why, packed = found, None
            else:
                packed = images.pack(found, max_bytes=self._limits.max_capture_bytes)
            if packed is not None and not isinstance(found, Deny):
                receipts.write(self._db, self._call, at)
                self._kept = self._desk.journals.extend(self._db, self._call)
                self._rowwise = True
                return self._captured(found, packed)
        receipts.write(self._db, self._call, at)
        kept = self._desk.journals.keep(self._db, self._call)
        if isinstance(kept, Deny):
            return why or kept
        self._kept = kept
        return self._captured([], b"")

    def _captured(self, found: list[TableImage], packed: bytes) -> Captured:
        undo = Undo(
            upstream=self._upstream,
            kind="sqlite",
            reversibility=Reversibility.EXACT,
            manifest={
                "format": images.FORMAT,
                "tables": images.manifest_of(found),
                "journal": {} if self._kept is None else self._kept.as_json(),
                "rowwise": self._rowwise,
                "sequence": self._counters(),
            },
            image=packed,
        )
        self._undo = undo
        return Captured(undo=undo, receipt=self._call)

    def rehearse(self, *, foreign_keys: bool) -> Deny | None:
        """See ``Rehearsing``, after ``capture``. Raises ``apsw.Error``."""
        assert self._undo is not None
        if not self._rowwise and self._kept is not None:
            with DatabaseFile(self._desk.journals.path) as file:
                return rehearsal.of_journal(file, self._kept)
        undo = (self._call, self._undo)
        touched = self.recorder.tables
        return rehearsal.of_rows(
            self._db, self._desk.peek, undo, touched, foreign_keys=foreign_keys
        )

    def _counters(self) -> dict[str, Json]:
        now = _sequence(self._db)
        return {n: [self._sequence.get(n), s] for n, s in now.items() if self._sequence.get(n) != s}

    def _images(self) -> list[TableImage] | Deny:
        found: list[TableImage] = []
        for name, touched in sorted(self.recorder.tables.items()):
            shape = catalog.shape(self._db, name)
            if shape is None or not shape.capturable:
                return unavailable(f"the rows of {name} cannot be told apart")
            pair = self._both(shape, touched)
            if pair is None:
                return unavailable(f"{name} is too large to be compared as a whole")
            before, after = pair
            changes = _net(before, after, touched, distinct=shape.without_rowid)
            if changes:
                found.append(TableImage(shape=shape, changes=tuple(changes)))
        return found

    def _both(
        self, shape: Shape, touched: Touched
    ) -> tuple[Mapping[Key, Row], Mapping[Key, Row]] | None:
        if not touched.whole:
            return (
                by_key(self._desk.peek, shape, touched.keys),
                by_key(self._db, shape, touched.keys),
            )
        sizes = count(self._desk.peek, shape.name), count(self._db, shape.name)
        if max(sizes) > self._most:
            return None
        return everything(self._desk.peek, shape), everything(self._db, shape)

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
    names = db.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND wr "
        "AND name <> ?",
        (RECEIPTS,),
    ).fetchall()
    shapes = [catalog.shape(db, str(name)) for (name,) in names]
    return {shape.name: shape for shape in shapes if shape is not None}


def _sequence(db: apsw.Connection) -> dict[str, int]:
    """The AUTOINCREMENT counters. The hook does not see them, and a revert never turns one
    back; they are kept for whoever looks into an undo."""
    if not db.table_exists("main", "sqlite_sequence"):
        return {}
    rows = db.execute("SELECT name, seq FROM main.sqlite_sequence").fetchall()
    return {str(name): seq for name, seq in rows if isinstance(seq, int)}


def _net(
    before: Mapping[Key, Row], after: Mapping[Key, Row], touched: Touched, *, distinct: bool
) -> list[Change]:
    """``distinct``: two keys may name one row, where they differ only by what the column's
    collation ignores."""
    keys = {**before, **after} if touched.whole else touched.keys
    changes: list[Change] = []
    seen: set[object] = set()
    for key in sorted(keys) if not distinct else keys:
        old, new = before.get(key), after.get(key)
        if same(old, new):
            continue
        if distinct:
            pair = (old and exact(old), new and exact(new))
            if pair in seen:
                continue
            seen.add(pair)
        changes.append(Change(key, old, new))
    return changes
