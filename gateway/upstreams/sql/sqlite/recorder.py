"""Follows every row that a transaction changes, by the engine's own pre-update hook: what the
statement, its triggers and its cascades touch, REPLACE deletions included. Only identities are
noted; the rows are read afterwards, from the file before and from the transaction after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import apsw

from gateway.model import Measured, RowCounts
from gateway.upstreams.sql.sqlite.catalog import Shape, folded
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


class Recorder:
    """``keyed``: tables WITHOUT ROWID by name, with the places of their key columns."""

    def __init__(self, db: apsw.Connection, keyed: Mapping[str, Shape], *, max_rows: int) -> None:
        self._db = db
        self._places = {
            name: tuple(shape.columns.index(c) for c in shape.key)
            for name, shape in keyed.items()
            if not shape.generated
        }
        self._keyed = frozenset(keyed)
        self._max_rows = max_rows
        self._noted = 0
        self.events = 0
        self.tables: dict[str, Touched] = {}

    @property
    def overflowed(self) -> bool:
        return self._noted > self._max_rows

    def start(self) -> None:
        self._db.preupdate_hook(self._note, id=_HOOK)

    def stop(self) -> None:
        self._db.preupdate_hook(None, id=_HOOK)

    def lost(self, name: str, rows: int) -> None:
        """Counts the rows that went with their table: the hook sees some of them, or none."""
        touched = self.tables.setdefault(name, Touched())
        touched.deleted = max(touched.deleted, rows)

    def measured(self) -> Measured:
        """The gross counts, and the largest share of a table that was changed or deleted, for
        tables with more than ten touched rows (0.0 otherwise). The rows of a table are counted in
        the transaction, up to a hundred times those: a share below one percent is given as that."""
        share = max((self._share(n, t) for n, t in self.tables.items()), default=0.0)
        return Measured(
            tables={
                f"main.{name}": RowCounts(inserted=t.inserted, updated=t.updated, deleted=t.deleted)
                for name, t in self.tables.items()
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

    def _note(self, update: apsw.PreUpdate) -> None:
        name = update.table_name
        touched = self.tables.get(name)
        if touched is None:
            if folded(name) == RECEIPTS or name.startswith("sqlite_"):
                return
            touched = self.tables[name] = Touched()
        self.events += 1
        opcode = update.opcode
        if opcode == apsw.SQLITE_INSERT:
            touched.inserted += 1
        elif opcode == apsw.SQLITE_DELETE:
            touched.deleted += 1
        else:
            touched.updated += 1
        if self._noted > self._max_rows:
            return
        before = len(touched.keys)
        if name in self._keyed:
            self._note_key(update, touched, self._places.get(name))
        else:
            touched.keys.add((update.rowid,))
            if opcode == apsw.SQLITE_UPDATE:
                touched.keys.add((update.rowid_new,))
        self._noted += len(touched.keys) - before

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
