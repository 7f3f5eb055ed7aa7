"""One change of a call, compared with what is there now, and what is to become of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model import Conflict, OnConflict
from gateway.upstreams.sql.merging import merged
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.copies import counted
from gateway.upstreams.sql.mysql.images import Change, TableImage
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row

# Somebody put this row back already: listed like every row that others touched; there is just
# nothing to restore.
UNDONE = "undone"


@dataclass(slots=True)
class Item:
    """``target``: what is to stand there, the before-image or a merged row. ``why``: the conflict,
    if any; ``restore``: whether the target is put back; ``linked``: one side of a row that may
    have moved."""

    image: TableImage
    change: Change
    now: Row | None
    target: Row | None
    why: str | None = None
    other: Row | None = None
    restore: bool = True
    merged: bool = False

    @property
    def one_sided(self) -> bool:
        return self.change.before is None or self.change.after is None

    def conflict(self) -> Conflict:
        table = self.image.table
        present = self.other if self.other is not None else self.now
        return Conflict(
            resource=table.resource,
            key=rows.shown_key(table, self.image.key(self.change)),
            before=rows.shown(table, self.change.before),
            after=rows.shown(table, self.change.after),
            now=rows.shown(table, present),
            why=self.why or "changed",
        )

    def leave(self, why: str, other: Row | None = None) -> None:
        self.restore = False
        self.why = why
        self.other = other


def compared(session: Session, image: TableImage, mode: OnConflict) -> list[Item]:
    """Locks the rows concerned and says what each one needs."""
    if not rows.keyed(image.table):
        return _compared_copies(session, image)
    keys = [key for change in image.changes if (key := image.key(change)) is not None]
    now = rows.by_key(session, image.table, keys, "FOR UPDATE")
    found = {rows.key_of(image.table, row): row for row in now}
    items: list[Item] = []
    for change, key in zip(image.changes, keys, strict=True):
        there = found.get(key)
        if there == change.after:
            items.append(Item(image, change, there, change.before))
        elif there == change.before:
            items.append(Item(image, change, there, change.before, why=UNDONE, restore=False))
        else:
            items.append(_touched(image, change, there, mode))
    if mode is OnConflict.FORCE:
        items = [item for item in items if item.why != UNDONE]
    return items


def _touched(image: TableImage, change: Change, now: Row | None, mode: OnConflict) -> Item:
    if mode is OnConflict.MERGE:
        row = merged(change.before, change.after, now, lambda one, other: one == other)
        if row is not None:
            return Item(image, change, now, row, merged=True)
    why = "missing" if now is None else "present" if change.after is None else "changed"
    return Item(image, change, now, change.before, why=why, restore=mode is OnConflict.FORCE)


def _compared_copies(session: Session, image: TableImage) -> list[Item]:
    """Without a key, copies of a row are alike: as many have to be there as the call left."""
    left = [change.after for change in image.changes if change.after is not None]
    there = counted(session, image.table, left, "FOR UPDATE")
    items: list[Item] = []
    for change in image.changes:
        row = change.after
        if row is None:
            items.append(Item(image, change, None, change.before))
        elif there[row] > 0:
            there[row] -= 1
            items.append(Item(image, change, row, None))
        else:
            items.append(Item(image, change, None, None, why="missing", restore=False))
    return items


def link(items: Sequence[Item]) -> bool:
    """A row whose key changed is one change that left and one that came: both are put back or
    neither. Whether anything more is left alone now."""
    tables: dict[int, list[Item]] = {}
    for item in items:
        if item.one_sided:
            tables.setdefault(id(item.image), []).append(item)
    more = False
    for group in tables.values():
        came = any(item.change.before is None for item in group)
        went = any(item.change.after is None for item in group)
        if not (came and went) or all(item.restore for item in group):
            continue
        for item in group:
            if item.restore:
                item.leave("linked")
                more = True
    return more
