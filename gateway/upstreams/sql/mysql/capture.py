"""Images of everything that a call changed, and the proof that they are everything.

Before the commit a second session still sees the rows as they were: those that the call changed
are locked, so nobody else can have changed them meanwhile. Two ways lead to them. By *candidates*:
the statement's own condition (or the keys that it inserts) and the foreign keys that lead on from
there, accepted only when the server's counters show as many changes. And *whole*: every table that
can have been written to, locked and compared row by row, which needs no counters.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pymysql

from gateway.model import Deny, Measured, RowCounts
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.catalog import ForeignKey, Name, Table
from gateway.upstreams.sql.mysql.closure import Closure
from gateway.upstreams.sql.mysql.counters import Handled, rows_modified
from gateway.upstreams.sql.mysql.failures import code_of, lost
from gateway.upstreams.sql.mysql.grammar import Single
from gateway.upstreams.sql.mysql.images import Summary, TableImage, paired
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row

_LOCK = "LOCK IN SHARE MODE"
_READ = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranged:
    """The one statement of a call, where candidates can be named. ``affected`` and ``first``: what
    the server answered, ``first`` being the first number it gave out. ``strict``: the condition
    may find other rows now than it did then."""

    verb: str
    single: Single
    table: Table
    affected: int
    first: int
    handled: Handled
    strict: bool


@dataclass(slots=True)
class _Found:
    """Rows of one table before and after, by key where they differ."""

    table: Table
    before: dict[rows.Key, Row] = field(default_factory=dict)
    after: dict[rows.Key, Row] = field(default_factory=dict)

    def put_before(self, found: Iterable[Row]) -> None:
        self.before = {rows.key_of(self.table, row): row for row in found}

    def put_after(self, found: Iterable[Row]) -> None:
        self.after = {rows.key_of(self.table, row): row for row in found}


UNTOLD = (
    "A JSON value here holds a decimal, a time or bytes, which its text does not tell, so that it "
    "could not be put back as it was."
)


class TooMany(Exception):
    """More rows would have to be looked at than may be."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"What this may have changed cannot be compared within {most} rows "
            "(snapshots.max_rows). A condition on the primary key needs less."
        )


class Capture:
    """``own``: the session of the call, in its transaction; ``peer``: another one, outside of any.
    Both read exact bytes. ``written``: rows of the gateway's own in this transaction."""

    def __init__(self, own: Session, peer: Session, *, limits: SqlLimits, written: int) -> None:
        self._own = own
        self._peer = peer
        self._most = limits.max_capture_rows
        self._written = written

    def take(self, reach: Closure, ranged: Ranged | None) -> tuple[TableImage, ...] | Deny:
        """Blocks; may wait for locks. ``undo.unavailable`` where it would be too much."""
        try:
            found = self._tried(reach, ranged) if ranged is not None else None
            images = found if found is not None else self._whole(reach)
        except TooMany as error:
            return Deny(reason="undo.unavailable", detail=str(error))
        except pymysql.Error as error:
            if code_of(error) != rows.UNTOLD:
                raise
            return Deny(reason="undo.unavailable", detail=UNTOLD)
        return tuple(image for image in images if image.changes)

    # --- by candidates --------------------------------------------------------------------

    def _tried(self, reach: Closure, ranged: Ranged) -> list[TableImage] | None:
        try:
            return self._candidates(reach, ranged)
        except pymysql.Error as error:
            # What the condition says there it may not say here; that of the connection stands.
            if lost(error) or not self._own.in_transaction:
                raise
            return None

    def _candidates(self, reach: Closure, ranged: Ranged) -> list[TableImage] | None:
        if reach.fired or not all(map(rows.keyed, reach.tables.values())):
            return None
        table = ranged.table
        where = condition(ranged, numbered(self._own))
        if where is None:
            return None
        alias = ranged.single.alias or table.name
        columns = rows.selected(rows.stored(table), alias)
        source = f"FROM {table.quoted} AS {quoted(alias)} WHERE {where}"
        target = _Found(table)
        target.put_before(self._limited(self._peer, f"SELECT {columns} {source}"))
        lock = _LOCK if ranged.strict else ""
        if ranged.verb == "insert":
            target.put_after(self._limited(self._own, f"SELECT {columns} {source} {lock}"))
        elif ranged.strict or ranged.handled != Handled(0, 0, len(target.before)):
            self._read_after(target, lock)
        if ranged.strict:
            # Nothing of this can change any more: what differs now is the call's.
            keys = list({**target.before, **target.after})
            target.put_before(rows.by_key(self._peer, table, keys))
        image = _image(target)
        images = {table.at: image}
        together = self._own.counts_cascades
        if not together and not accounted(ranged, image.summary().counts()):
            return None
        if reach.cascades and not self._cascade(reach, images, target):
            return None
        if together and not accounted(ranged, _total(images.values())):
            return None
        return list(images.values())

    def _cascade(self, reach: Closure, images: dict[Name, TableImage], target: _Found) -> bool:
        """Adds what foreign keys did; false when the engine counted something else. A table may
        refer to itself, so that its rows come in more than one round."""
        found = {name: _Found(reach.tables[name]) for name in reach.tables}
        found[target.table.at] = target
        waiting = list(images)
        while waiting:
            name = waiting.pop()
            for key in reach.cascades:
                if key.parent == name and self._children(key, images[name], found[key.child]):
                    self._read_after(found[key.child])
                    images[key.child] = _image(found[key.child])
                    waiting.append(key.child)
        counted = rows_modified(self._own)
        changed = sum(len(image.changes) for image in images.values())
        return counted is None or counted == changed + self._written

    def _children(self, key: ForeignKey, parent: TableImage, into: _Found) -> bool:
        """Rows that referred to values which are no longer there; whether any is new."""
        places = _places(parent.table, key.references)
        lost = dict.fromkeys(
            tuple(change.before[i] for i in places)
            for change in parent.changes
            if change.before is not None
            and (change.after is None or any(change.after[i] != change.before[i] for i in places))
        )
        columns = [c for n in key.references for c in parent.table.columns if c.name == n]
        names = ", ".join(quoted(c) for c in key.columns)
        child = into.table
        new = False
        values = [v for v in lost if None not in v]
        for start in range(0, len(values), 400):
            listed = ", ".join(
                "(" + ", ".join(map(rows.literal, columns, value)) + ")"
                for value in values[start : start + 400]
            )
            query = (
                f"SELECT {rows.selected(rows.stored(child))} FROM {child.quoted} "
                f"WHERE ({names}) IN ({listed})"
            )
            for row in self._limited(self._peer, query):
                at = rows.key_of(child, row)
                new = new or at not in into.before
                into.before[at] = row
        return new

    def _read_after(self, found: _Found, lock: str = "") -> None:
        found.put_after(rows.by_key(self._own, found.table, list(found.before), lock))

    def _limited(self, session: Session, query: str) -> list[Row]:
        stream = session.streamed(query)
        found: list[Row] = []
        while part := stream.take(_READ):
            found += part
            if len(found) > self._most:
                stream.abandon()
                raise TooMany(self._most)
        return found

    # --- whole ----------------------------------------------------------------------------

    def _whole(self, reach: Closure) -> list[TableImage]:
        images = [self._compared(table) for _, table in sorted(reach.tables.items())]
        counted = rows_modified(self._own) if reach.fired or reach.cascades else None
        changed = sum(image.summary().counts().total for image in images)
        if counted is not None and counted < changed:
            # The engine saw less than we did: somebody else's rows are among ours.
            raise TooMany(self._most)
        return images

    def _compared(self, table: Table) -> TableImage:
        """Locks every row and every gap of the table, then reads it as it was."""
        query = f"SELECT {rows.selected(rows.stored(table))} FROM {table.quoted}"
        ours: Counter[bytes] = Counter()
        for row in self._scanned(self._own, f"{query} {_LOCK}"):
            ours[_digest(row)] += 1
        before: list[Row] = []
        for row in self._scanned(self._peer, query):
            digest = _digest(row)
            if not ours[digest]:
                del ours[digest]
                before.append(row)
            else:
                ours[digest] -= 1
        ours = +ours
        after: list[Row] = []
        if ours:
            for row in self._scanned(self._own, f"{query} {_LOCK}"):
                digest = _digest(row)
                if ours[digest] > 0:
                    ours[digest] -= 1
                    after.append(row)
        return paired(table, before, after)

    def _scanned(self, session: Session, query: str) -> Iterator[Row]:
        stream = session.streamed(query)
        count = 0
        while part := stream.take(_READ):
            count += len(part)
            if count > self._most:
                stream.abandon()
                raise TooMany(self._most)
            yield from part


def _digest(row: Row) -> bytes:
    parts = (b"-" if cell is None else b"%d:%b" % (len(cell), cell) for cell in row)
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def _total(images: Iterable[TableImage]) -> RowCounts:
    counts = [image.summary().counts() for image in images]
    return RowCounts(
        inserted=sum(c.inserted for c in counts),
        updated=sum(c.updated for c in counts),
        deleted=sum(c.deleted for c in counts),
    )


def _image(found: _Found) -> TableImage:
    return paired(found.table, found.before.values(), found.after.values())


def _places(table: Table, names: Sequence[str]) -> list[int]:
    stored = [c.name for c in rows.stored(table)]
    return [stored.index(name) for name in names]


def condition(ranged: Ranged, step: int) -> str | None:
    """What finds all rows that the statement can have touched, and more."""
    single, table = ranged.single, ranged.table
    if ranged.verb != "insert":
        return single.condition or "TRUE"
    given = _given(single, table)
    if given is not None:
        return f"({', '.join(quoted(k) for k in table.key)}) IN ({', '.join(given)})"
    if table.counter is not None and table.key == (table.counter,) and ranged.first:
        last = ranged.first + max(0, ranged.affected - 1) * step
        return f"{quoted(table.counter)} BETWEEN {ranged.first} AND {last}"
    return None


def numbered(session: Session) -> int:
    """How far apart the numbers are that the server gives out."""
    return int(session.rows("SELECT @@auto_increment_increment")[0][0] or 1)


def _given(single: Single, table: Table) -> list[str] | None:
    """The keys that an INSERT ... VALUES spells out."""
    columns = single.columns or tuple(c.name for c in table.columns)
    folded = [c.lower() for c in columns]
    if not single.rows or not all(k.lower() in folded for k in table.key):
        return None
    if any(len(row) != len(columns) for row in single.rows):
        return None
    places = [folded.index(k.lower()) for k in table.key]
    keys = [tuple(row[i] for i in places) for row in single.rows]
    if any(cell.lower() in _NOT_GIVEN for key in keys for cell in key):
        return None
    return ["(" + ", ".join(key) + ")" for key in keys]


_NOT_GIVEN = frozenset({"default", "null", "0", "'0'", '"0"', "''"})


def accounted(ranged: Ranged, seen: RowCounts) -> bool:
    """Whether the images hold exactly the changes that the server counted."""
    counted = ranged.handled
    if ranged.verb != "insert":
        return (seen.inserted, seen.updated, seen.deleted) == (
            counted.written,
            counted.updated,
            counted.deleted,
        )
    return (
        seen.deleted == counted.deleted == 0
        and seen.updated == counted.updated
        and seen.inserted + 2 * seen.updated == ranged.affected
    )


def measured(summaries: Sequence[Summary], sizes: Mapping[Name, int]) -> Measured:
    """The extent; ``sizes``: rows of each table before the call, where its share matters."""
    share = 0.0
    for one in summaries:
        counts = one.counts()
        changed = counts.updated + counts.deleted
        if one.table.at in sizes and changed:
            share = max(share, min(1.0, changed / max(1, sizes[one.table.at])))
    return Measured(tables={one.table.resource: one.counts() for one in summaries}, share=share)


_SHARE_FROM = 10  # a share of a handful of rows says nothing
_SMALL_SHARE = 50


def sizes(peer: Session, summaries: Sequence[Summary]) -> dict[Name, int]:
    """Rows of the tables before the call: counted where the estimate leaves room for a share that
    matters."""
    found: dict[Name, int] = {}
    for one in summaries:
        counts = one.counts()
        changed = counts.updated + counts.deleted
        if not changed:
            continue
        estimate = _estimate(peer, one.table)
        if estimate > changed * _SMALL_SHARE:
            found[one.table.at] = estimate
            continue
        exact = int(peer.rows(f"SELECT COUNT(*) FROM {one.table.quoted}")[0][0] or 0)
        if exact > _SHARE_FROM:
            found[one.table.at] = exact
    return found


def _estimate(peer: Session, table: Table) -> int:
    found = peer.texts(
        "SELECT table_rows FROM information_schema.tables WHERE table_schema = "
        f"{_text(table.schema)} AND table_name = {_text(table.name)}"
    )
    return int(found[0][0] or 0) if found else 0


def _text(name: str) -> str:
    return f"_utf8mb4 X'{name.encode().hex()}'"
