"""Follows every row that a transaction changes, by the engine's own pre-update hook: what the
statement, its triggers and its cascades touch, REPLACE deletions included. Only identities are
noted; the rows are read afterwards, from the file before and from the transaction after.

The hook runs once per row, which takes a good part of the time that the engine itself takes. So
where all that happens is known to be one kind of change of one table, it notes numbers only, and
goes as soon as there are more rows than are kept: the engine's own counter tells the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import apsw

from gateway.model import Measured, RowCounts
from gateway.upstreams.sql.sqlite.catalog import Shape, folded
from gateway.upstreams.sql.sqlite.facts import Sole
from gateway.upstreams.sql.sqlite.functions import RECEIPTS
from gateway.upstreams.sql.sqlite.rows import Key, count

# A share says nothing about a handful of rows.
_SHARE_FROM_ROWS = 10
_SHARE_LEAST = 100
_HOOK = "holdfast"


@dataclass(slots=True)
class Touched:
    """The counts are gross: what the engine did, row by row. ``whole``: some identity could not
    be read, so the whole table has to be compared."""

    keys: set[Key] = field(default_factory=set)
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    whole: bool = False

    @property
    def total(self) -> int:
        return self.inserted + self.updated + self.deleted

    def add(self, verb: str, rows: int) -> None:
        self.inserted += rows * (verb == "insert")
        self.updated += rows * (verb == "update")
        self.deleted += rows * (verb == "delete")


class Recorder:
    """``keyed``: tables WITHOUT ROWID by name, with the places of their key columns. ``sole``: the
    one change that can happen; ``follow``: whether its rows are noted, as far as ``max_rows``.
    Without ``keys`` changes are counted and no more."""

    def __init__(
        self,
        db: apsw.Connection,
        keyed: Mapping[str, Shape],
        *,
        max_rows: int,
        sole: Sole | None = None,
        follow: bool = True,
        keys: bool = True,
    ) -> None:
        self._db = db
        self._places = {
            name: tuple(shape.columns.index(c) for c in shape.key)
            for name, shape in keyed.items()
            if not shape.generated
        }
        self._keyed = frozenset(keyed)
        self._max_rows = max_rows
        self._sole = None if sole is None or sole.table in keyed else sole
        self._follow = follow or self._sole is None
        self._noted = 0
        self._numbers: list[int] = []
        self._before = 0
        self._running = False
        self._tables: dict[str, Touched] = {}
        self.overflowed = not (self._follow and keys)
        self.complete = True

    def start(self) -> None:
        self._before = self._db.total_changes()
        self._running = True
        if self._sole is None:
            self._db.preupdate_hook(self._note, id=_HOOK)
        elif self._follow:
            self._db.preupdate_hook(self._number(self._sole), id=_HOOK)

    def stop(self) -> None:
        """After this, ``complete`` tells whether every change of a row was seen."""
        self._db.preupdate_hook(None, id=_HOOK)
        if not self._running:
            return
        self._running = False
        done = self._db.total_changes() - self._before
        if self._sole is None:
            self.complete = sum(t.total for t in self._tables.values()) >= done
            return
        self._count(self._sole, done)
        moved = 2 if self._sole.verb == "update" else 1
        self.complete = self.overflowed or len(self._numbers) == done * moved
        if done and not self.overflowed:
            self._tables[self._sole.table].keys = {(n,) for n in self._numbers}
        self._numbers.clear()

    @property
    def tables(self) -> dict[str, Touched]:
        """The keys of a sole change are there once it is stopped."""
        if self._running and self._sole is not None:
            self._count(self._sole, self._db.total_changes() - self._before)
        return self._tables

    def _count(self, sole: Sole, rows: int) -> None:
        if rows:
            touched = self._tables[sole.table] = Touched()
            touched.add(sole.verb, rows)

    def lost(self, name: str, rows: int) -> None:
        """Counts the rows that went with their table: the hook sees some of them, or none."""
        touched = self._tables.setdefault(name, Touched())
        touched.deleted = max(touched.deleted, rows)

    def measured(self) -> Measured:
        """The gross counts, and the largest share of a table that was changed or deleted, for
        tables with more than ten touched rows (0.0 otherwise). The rows of a table are counted in
        the transaction, up to a hundred times those: a share below one percent is given as that."""
        tables = self.tables
        share = max((self._share(n, t) for n, t in tables.items()), default=0.0)
        return Measured(
            tables={
                f"main.{name}": RowCounts(inserted=t.inserted, updated=t.updated, deleted=t.deleted)
                for name, t in tables.items()
            },
            share=share,
        )

    def _share(self, name: str, touched: Touched) -> float:
        lost = touched.updated + touched.deleted
        if touched.total <= _SHARE_FROM_ROWS or not lost:
            return 0.0
        try:
            now = count(self._db, name, most=lost * _SHARE_LEAST)
        except apsw.SQLError:
            return 1.0  # the table was dropped
        before = now - touched.inserted + touched.deleted
        return min(1.0, lost / before) if before > 0 else 1.0

    def _number(self, sole: Sole) -> Callable[[apsw.PreUpdate], None]:
        """Notes the row ids of one table, and nothing once there are too many."""
        numbers = self._numbers
        note = numbers.append
        moving = sole.verb == "update"
        most = self._max_rows * 2 if moving else self._max_rows

        def number(update: apsw.PreUpdate) -> None:
            note(update.rowid)
            if moving:
                note(update.rowid_new)
            if len(numbers) > most:
                self.overflowed = True
                numbers.clear()
                self._db.preupdate_hook(None, id=_HOOK)

        return number

    def _note(self, update: apsw.PreUpdate) -> None:
        name = update.table_name
        touched = self._tables.get(name)
        if touched is None:
            if folded(name) == RECEIPTS or name.startswith("sqlite_"):
                return
            touched = self._tables[name] = Touched()
        opcode = update.opcode
        if opcode == apsw.SQLITE_INSERT:
            touched.inserted += 1
        elif opcode == apsw.SQLITE_DELETE:
            touched.deleted += 1
        else:
            touched.updated += 1
        if self.overflowed:
            return
        before = len(touched.keys)
        if name in self._keyed:
            self._note_key(update, touched, self._places.get(name))
        else:
            touched.keys.add((update.rowid,))
            if opcode == apsw.SQLITE_UPDATE:
                touched.keys.add((update.rowid_new,))
        self._noted += len(touched.keys) - before
        self.overflowed = self._noted > self._max_rows

    def _note_key(
        self, update: apsw.PreUpdate, touched: Touched, places: tuple[int, ...] | None
    ) -> None:
        if places is None:
            touched.whole = True
            return
        try:
            for row in (update.old, update.new):
                if row is not None:
                    touched.keys.add(tuple(row[i] for i in places))
        except (apsw.Error, UnicodeDecodeError):
            touched.whole = True
