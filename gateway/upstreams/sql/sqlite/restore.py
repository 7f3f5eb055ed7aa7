"""Takes row images back, comparing before, after and now. Runs in an open transaction in which
triggers and foreign keys are off, so that exactly the images come back and nothing follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import apsw

from gateway.model import LISTED, Conflict, OnConflict
from gateway.upstreams.sql.altered import altered, gone
from gateway.upstreams.sql.merging import merged
from gateway.upstreams.sql.sqlite import catalog, orphans, rows
from gateway.upstreams.sql.sqlite.adoption import Orphans
from gateway.upstreams.sql.sqlite.catalog import Shape, quoted
from gateway.upstreams.sql.sqlite.cells import Row, fetch, same, same_cell, shown_row
from gateway.upstreams.sql.sqlite.images import Change, TableImage
from gateway.upstreams.sql.sqlite.rows import Key

# Somebody put this row back already: listed like every row that others touched, since what they
# did may have met rows that the call had put in its place; there is just nothing to restore.
UNDONE = "undone"

_TOLD_ROWS = 1_000
_TAKEN = frozenset(
    {
        apsw.SQLITE_CONSTRAINT_UNIQUE,
        apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
        apsw.SQLITE_CONSTRAINT_ROWID,
    }
)


class Ears(Protocol):
    def conflict(self, conflict: Conflict) -> None: ...

    def rows(self, count: int) -> None: ...


@dataclass(slots=True)
class Item:
    """One change and what is there now. ``target``: what is to stand there, the before-image or,
    where somebody changed other columns since, a merged row. ``why``: the conflict, if any;
    ``restore``: whether the target is put back."""

    image: TableImage
    change: Change
    now: Row | None
    target: Row | None
    why: str | None = None
    other: Row | None = None
    restore: bool = True

    def conflict(self) -> Conflict:
        columns = self.image.shape.columns
        present = self.other if self.other is not None else self.now
        return Conflict(
            resource=self.image.resource(),
            key=self.image.key_shown(self.change),
            before=shown_row(columns, self.change.before),
            after=shown_row(columns, self.change.after),
            now=shown_row(columns, present),
            why=self.why or "changed",
        )

    def leave(self, why: str, other: Row | None = None) -> None:
        self.restore = False
        self.why = why
        self.other = other


@dataclass(slots=True)
class Restored:
    """``conflicts``: the first ``LISTED`` of the ``found``."""

    rows: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    found: int = 0
    left: int = 0  # rows in conflict that were left as they are
    merged: int = 0


def schema_change(db: apsw.Connection, images: Sequence[TableImage]) -> str | None:
    """What is no longer as it was when the images were taken; ``None`` when nothing is."""
    for image in images:
        shape = catalog.shape(db, image.shape.name)
        rows = len(image.changes)
        if shape is None:
            return gone(image.shape.name, rows)
        if shape.fingerprint != image.shape.fingerprint:
            return altered(image.shape.name, _types(image.shape), _types(shape), rows)
    return None


def _types(shape: Shape) -> dict[str, str]:
    declared = shape.types or ("",) * len(shape.columns)
    return dict(zip(shape.columns, declared, strict=True))


def restore(
    db: apsw.Connection,
    images: Sequence[TableImage],
    on_conflict: OnConflict,
    *,
    foreign_keys: bool,
    known: Orphans,
    told: Ears,
) -> Restored:
    """Restores what can be restored and lists what cannot. Under ``abort`` that is done too, so
    that every conflict is found; the caller rolls back when there is one. ``told`` hears of each
    conflict. ``known``: rows that were orphans before the call."""
    items = [item for image in images for item in _compared(db, image, on_conflict)]
    if on_conflict is OnConflict.FORCE:
        items = [item for item in items if item.why != UNDONE]
    keys = catalog.foreign_keys(db) if foreign_keys else []
    while True:
        db.execute("SAVEPOINT holdfast_restore")
        clean = _apply(db, items, told) and not orphans.leave_out(db, keys, items, known)
        if clean:
            db.execute("RELEASE holdfast_restore")
            return _told(items, told)
        # Somebody's row stands in the way of a restored one: without it, from the start.
        db.execute("ROLLBACK TO holdfast_restore")
        db.execute("RELEASE holdfast_restore")


def _compared(db: apsw.Connection, image: TableImage, on_conflict: OnConflict) -> list[Item]:
    found = rows.by_key(db, image.shape, [change.key for change in image.changes])
    items: list[Item] = []
    for change in image.changes:
        now = found.get(change.key)
        if same(now, change.after):
            items.append(Item(image, change, now, change.before))
        elif same(now, change.before):
            items.append(Item(image, change, now, change.before, why=UNDONE, restore=False))
        else:
            items.append(_touched(image, change, now, on_conflict))
    return items


def _touched(image: TableImage, change: Change, now: Row | None, on_conflict: OnConflict) -> Item:
    """A row that somebody changed since."""
    if on_conflict is OnConflict.MERGE:
        row = merged(change.before, change.after, now, same_cell)
        if row is not None:
            return Item(image, change, now, row)
    why = "missing" if now is None else "present" if change.after is None else "changed"
    forced = on_conflict is OnConflict.FORCE
    return Item(image, change, now, change.before, why=why, restore=forced)


def _apply(db: apsw.Connection, items: Sequence[Item], told: Ears) -> bool:
    """Puts the before-images back: first all rows that are in the way go, then all come, so that
    swapped unique values meet no one. False when a row of somebody else's was met."""
    chosen = [item for item in items if item.restore]
    clean = True
    groups = _grouped(chosen)
    for shape, group in groups:
        rows.delete(db, shape, [_there(shape, i) for i in group if i.now is not None])
    for shape, group in groups:
        inserter = rows.Inserter(db, shape)
        for start in range(0, len(group), _TOLD_ROWS):
            part = group[start : start + _TOLD_ROWS]
            clean &= _insert(db, inserter, part)
            told.rows(len(part))
    return clean and all(_verified(db, shape, group) for shape, group in groups)


def _insert(db: apsw.Connection, inserter: rows.Inserter, part: Sequence[Item]) -> bool:
    """All at once; one by one where somebody's row is in the way of one of them."""
    found = [(item.change.key, item.target) for item in part if item.target is not None]
    db.execute("SAVEPOINT holdfast_insert")
    try:
        inserter.insert_all(found)
    except apsw.ConstraintError:
        db.execute("ROLLBACK TO holdfast_insert")
    else:
        return True
    finally:
        db.execute("RELEASE holdfast_insert")
    clean = True
    for item in part:
        if item.target is None:
            continue
        try:
            inserter.insert(item.change.key, item.target)
        except apsw.ConstraintError as error:
            if getattr(error, "extendedresult", 0) in _TAKEN:
                item.leave("unique", _rival(db, item))
            else:
                item.leave("inexact")
            clean = False
    return clean


def _grouped(items: Sequence[Item]) -> list[tuple[Shape, list[Item]]]:
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(id(item.image), []).append(item)
    return [(group[0].image.shape, group) for group in groups.values()]


def _there(shape: Shape, item: Item) -> Key:
    """The identity of the row that is there now."""
    assert item.now is not None
    return rows.key_of(shape, item.now) if shape.without_rowid else item.change.key


def _verified(db: apsw.Connection, shape: Shape, group: Sequence[Item]) -> bool:
    """Reads every restored row again: a value that did not come back as it was is a conflict."""
    clean = True
    found = rows.by_key(db, shape, [item.change.key for item in group])
    for item in group:
        now = found.get(item.change.key)
        if not same(now, item.target) and not _moved(item, now, group):
            item.leave("inexact", now)
            clean = False
    return clean


def _moved(item: Item, now: Row | None, group: Sequence[Item]) -> bool:
    # A key that differs only by what its collation ignores finds the row of another change.
    if item.target is not None or not item.image.shape.without_rowid:
        return False
    return any(same(now, other.target) for other in group)


def _rival(db: apsw.Connection, item: Item) -> Row | None:
    """The row that has the identity or a unique value of the one to be restored."""
    shape, before = item.image.shape, item.target
    assert before is not None
    there = rows.by_key(db, shape, [item.change.key]).get(item.change.key)
    if there is not None:
        return there
    for columns in catalog.unique_keys(db, shape.name):
        if not set(columns) <= set(shape.columns):
            continue
        cells = tuple(before[shape.columns.index(c)] for c in columns)
        if None in cells:
            continue
        source = f"FROM main.{quoted(shape.name)} WHERE {rows.matching(columns, cells)} LIMIT 1"
        found = fetch(db, [quoted(c) for c in shape.columns], source, rows.plain(cells))
        if found:
            return found[0]
    return None


def _told(items: Sequence[Item], ears: Ears) -> Restored:
    told = Restored()
    for item in items:
        told.rows += item.restore
        told.merged += item.restore and item.target is not item.change.before
        if item.why is not None:
            conflict = item.conflict()
            ears.conflict(conflict)
            told.found += 1
            if told.found <= LISTED:
                told.conflicts.append(conflict)
            told.left += not item.restore and item.why != UNDONE
    return told
