"""Takes row images back in an open transaction in which foreign keys are off, so that exactly the
images come back and nothing follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pymysql

from gateway.model import LISTED, Conflict, OnConflict
from gateway.upstreams.sql.mysql import catalog, copies, events, rows
from gateway.upstreams.sql.mysql.catalog import Table
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.images import TableImage
from gateway.upstreams.sql.mysql.items import UNDONE, Item, compared, link
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.orphans import References
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row
from gateway.upstreams.sql.mysql.triggers import Way

_TAKEN = frozenset({1062, 1586})
# What the server may say of a row that it does not take; everything else ends the revert.
_UNFIT = frozenset({1048, 1264, 1265, 1292, 1366, 1406, 1364, 3819, 4025, 1416, 3140, 1690})
_AT_ONCE = 1000
_AROUND = 8  # bytes that a value takes beside its own, as NULL or between others


@dataclass(slots=True)
class Restored:
    """``conflicts``: the first ``LISTED`` of the ``found``; ``items``: what was done."""

    rows: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    found: int = 0
    left: int = 0  # rows in conflict that were left as they are
    merged: int = 0
    items: list[Item] = field(default_factory=list)


def restore(
    session: Session,
    images: Sequence[tuple[TableImage, Way]],
    mode: OnConflict,
    tell: Callable[[Conflict], None],
) -> Restored:
    """Restores what can be restored and lists what cannot. Under ``abort`` that is done too, so
    that every conflict is found; the caller rolls back when there is one."""
    items = [item for image, _ in images for item in compared(session, image, mode)]
    ways = {id(image): way for image, way in images}
    if mode is not OnConflict.ABORT:
        link(items)
    while True:
        session.run("SAVEPOINT holdfast_restore")
        if _apply(session, items, ways) and not _orphaned(session, items):
            return _told(items, tell)
        # Somebody's row stands in the way of a restored one: without it, from the start.
        session.run("ROLLBACK TO SAVEPOINT holdfast_restore")
        if mode is not OnConflict.ABORT:
            link(items)


def _apply(session: Session, items: Sequence[Item], ways: dict[int, Way]) -> bool:
    """Puts the targets back: first all rows that are in the way go, then all come, so that swapped
    unique values meet no one. False when a row of somebody else's was met."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        if item.restore:
            groups.setdefault(id(item.image), []).append(item)
    clean = True
    for number, group in groups.items():
        remove(session, group, ways[number])
    for number, group in groups.items():
        clean = put(session, group, ways[number]) and clean
    return clean and all([verified(session, group) for group in groups.values()])


def _orphaned(session: Session, items: Sequence[Item]) -> bool:
    touched = {item.image.table.at for item in items if item.restore}
    return References(session, touched).leave_out(items)


def remove(session: Session, group: Sequence[Item], way: Way) -> None:
    """Takes away what is in the way of the targets of one table."""
    table = group[0].image.table
    there = [
        item for item in group if item.now is not None and (way.replace or item.target is None)
    ]
    if way.silent is not None:
        gone = [item.now for item in there if item.now is not None]
        events.apply(session, way.silent, gone, delete=True)
        return
    if rows.keyed(table):
        keys = [rows.key_of(table, item.now) for item in there if item.now is not None]
        for part in rows.chunks(session, keys):
            session.run(f"DELETE FROM {table.quoted} WHERE {rows.among(table, part)}")
        return
    copies.remove(session, table, Counter(item.now for item in there if item.now is not None))


def put(session: Session, group: Sequence[Item], way: Way) -> bool:
    """Puts the targets of one table there; false when one of them could not."""
    coming = [
        item for item in group if item.target is not None and (way.replace or item.now is None)
    ]
    clean = True
    for part in _parts(coming, session.part):
        clean = _inserted(session, part, way) and clean
    if not way.replace:
        for item in group:
            if item.now is not None and item.target is not None:
                clean = _one(session, item, partial(session.run, _update(item))) and clean
    return clean


def _parts(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """In statements of a bounded size."""
    part: list[Item] = []
    size = 0
    for item in items:
        row = item.target or ()
        more = sum(len(cell) for cell in row if cell is not None) + _AROUND * len(row)
        if part and (len(part) >= _AT_ONCE or size + more > most):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part


def _inserted(session: Session, items: Sequence[Item], way: Way) -> bool:
    table = items[0].image.table

    def insert(*targets: Row | None) -> None:
        coming = [target for target in targets if target is not None]
        if way.silent is not None:
            events.apply(session, way.silent, coming, delete=False)
        else:
            session.run(_insert(table, coming))

    session.run("SAVEPOINT holdfast_part")
    try:
        insert(*(item.target for item in items))
    except pymysql.Error as error:
        if code_of(error) not in _TAKEN | _UNFIT:
            raise
        session.run("ROLLBACK TO SAVEPOINT holdfast_part")
        return all([_one(session, i, partial(insert, i.target)) for i in items])
    return True


def _one(session: Session, item: Item, act: Callable[[], object]) -> bool:
    try:
        act()
    except pymysql.Error as error:
        if code_of(error) in _TAKEN:
            item.leave("unique", _rival(session, item))
        elif code_of(error) in _UNFIT:
            item.leave("inexact")
        else:
            raise
        return False
    return True


def _insert(table: Table, targets: Sequence[Row]) -> str:
    columns = rows.stored(table)
    names = ", ".join(quoted(c.name) for c in columns)
    lines = ", ".join(
        "(" + ", ".join(map(rows.literal, columns, target)) + ")" for target in targets
    )
    return f"INSERT INTO {table.quoted} ({names}) VALUES {lines}"


def _update(item: Item) -> str:
    table = item.image.table
    assert item.target is not None
    assert item.now is not None
    settings = ", ".join(
        f"{quoted(c.name)} = {rows.literal(c, cell)}"
        for c, cell in zip(rows.stored(table), item.target, strict=True)
    )
    at = rows.among(table, [rows.key_of(table, item.now)])
    return f"UPDATE {table.quoted} SET {settings} WHERE {at}"


def verified(session: Session, group: Sequence[Item]) -> bool:
    """Reads every restored row again: a value that did not come back as it was is a conflict."""
    table = group[0].image.table
    if not rows.keyed(table):
        return _verified_copies(session, table, group)
    keys = [key for item in group if (key := item.image.key(item.change)) is not None]
    found = {rows.key_of(table, row): row for row in rows.by_key(session, table, keys)}
    clean = True
    for item, key in zip(group, keys, strict=True):
        if found.get(key) != item.target:
            item.leave("inexact", found.get(key))
            clean = False
    return clean


def _verified_copies(session: Session, table: Table, group: Sequence[Item]) -> bool:
    wanted = Counter(item.target for item in group if item.target is not None)
    there = copies.counted(session, table, wanted, "FOR UPDATE")
    missing = {row for row, count in wanted.items() if there[row] < count}
    for item in group:
        if item.target in missing:
            item.leave("inexact")
    return not missing


def _rival(session: Session, item: Item) -> Row | None:
    """The row that has a unique value of the one to be restored."""
    table, target = item.image.table, item.target
    assert target is not None
    stored = rows.stored(table)
    names = [c.name for c in stored]
    for columns in catalog.unique_keys(session, table.at):
        if not set(columns) <= set(names):
            continue
        cells = [(stored[names.index(c)], target[names.index(c)]) for c in columns]
        if any(cell is None for _, cell in cells):
            continue
        same = " AND ".join(f"{quoted(c.name)} = {rows.literal(c, cell)}" for c, cell in cells)
        found = session.rows(
            f"SELECT {rows.selected(stored)} FROM {table.quoted} WHERE {same} LIMIT 1"
        )
        if found:
            return found[0]
    return None


def _told(items: list[Item], tell: Callable[[Conflict], None]) -> Restored:
    told = Restored(items=items)
    for item in items:
        told.rows += item.restore
        told.merged += item.merged and item.restore
        if item.why is None:
            continue
        conflict = item.conflict()
        tell(conflict)
        told.found += 1
        if len(told.conflicts) < LISTED:
            told.conflicts.append(conflict)
        told.left += not item.restore and item.why != UNDONE
    return told
