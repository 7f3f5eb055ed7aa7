"""References that a revert would leave without their row. Foreign keys are off while it runs, so
that nothing cascades; before it commits, every one that it could have broken is checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway.model import Deny
from gateway.upstreams.sql.mysql import catalog, rows
from gateway.upstreams.sql.mysql.catalog import Column, ForeignKey, Name, Table
from gateway.upstreams.sql.mysql.images import TableImage
from gateway.upstreams.sql.mysql.items import Item
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row

_AT_ONCE = 400

Values = tuple[bytes | None, ...]


class References:
    """The foreign keys that leave or reach ``touched`` tables."""

    def __init__(self, session: Session, touched: Iterable[Name]) -> None:
        self._session = session
        keys = catalog.foreign_keys(session, list(touched))
        names = {name for key in keys for name in (key.child, key.parent)}
        tables = catalog.tables(session, sorted(names))
        self._keys = [
            (key, tables[key.child]) for key in keys if key.child in tables and key.parent in tables
        ]

    def leave_out(self, items: Sequence[Item]) -> bool:
        """Leaves the items alone that broke a reference; whether there was one."""
        return any([_check(self._session, key, child, items) for key, child in self._keys])


def broken(session: Session, key: ForeignKey) -> bool:
    """Whether the key stands over what it forbids, as it can where foreign keys were off: then it
    could not be added again. ``session`` is shown both tables."""
    if key.parent not in catalog.relations(session, [key.parent]):
        return True
    wanted = [name.lower() for name in key.references]
    indexes = catalog.indexes(session, key.parent)
    if not any([name.lower() for name in index[: len(wanted)]] == wanted for index in indexes):
        return True
    child = catalog.tables(session, [key.child])[key.child]
    return bool(_without_row(session, key, child))


def standing(peer: Session, keys: Sequence[ForeignKey], image: TableImage) -> Deny | None:
    """The refusal where rows that referred to nothing before the call are concerned: it changed or
    deleted one, or made what it refers to. A revert leaves no orphan, so not these either. ``peer``
    reads exact bytes, as they stand committed."""
    stored = {column.name for column in rows.stored(image.table)}
    for key in keys:
        own = key.columns if image.table.at == key.child else ()
        own += key.references if image.table.at == key.parent else ()
        if not stored.issuperset(own):
            return _unavailable(key, "concerns generated columns")
        values = _concerned(key, image)
        if not values:
            continue
        child = image.table
        if child.at != key.child:
            shown = catalog.tables(peer, [key.child])
            if key.child not in shown:
                return _unavailable(
                    key, "concerns rows that are not shown to the gateway's account"
                )
            child = shown[key.child]
        for start in range(0, len(values), _AT_ONCE):
            if _without_row(peer, key, child, values[start : start + _AT_ONCE], lock=""):
                return _unavailable(
                    key, "concerns rows that refer to nothing, and a revert leaves no such rows"
                )
    return None


def _unavailable(key: ForeignKey, why: str) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This cannot be undone exactly: by the foreign key {key.name!r} of "
        f"{'.'.join(key.child)} it {why}. Nothing was changed.",
    )


def _concerned(key: ForeignKey, image: TableImage) -> list[Values]:
    table, found = image.table, dict[Values, None]()
    if table.at == key.child:
        for change in image.changes:
            if change.before is not None:
                found[_cells(table, key.columns, change.before)] = None
    if table.at == key.parent:
        had = {_cells(table, key.references, c.before) for c in image.changes if c.before}
        for change in image.changes:
            if change.after is not None:
                value = _cells(table, key.references, change.after)
                if value not in had:
                    found[value] = None
    return [value for value in found if None not in value]


def _check(session: Session, key: ForeignKey, child: Table, items: Sequence[Item]) -> bool:
    suspects = list(_suspects(key, items))
    values = list(dict.fromkeys(value for _, value, _ in suspects))
    broken: set[Values] = set()
    for start in range(0, len(values), _AT_ONCE):
        broken |= _without_row(session, key, child, values[start : start + _AT_ONCE])
    if not broken:
        return False
    guilty = [one for one in suspects if one[1] in broken] or suspects
    for item, _, why in guilty:
        if item.restore:
            item.leave(why)
    return True


def _suspects(key: ForeignKey, items: Sequence[Item]) -> Iterator[tuple[Item, Values, str]]:
    """Items with a value that their child row now needs, or that their parent row gave up."""
    for item in items:
        at: Name = item.image.table.at
        if not item.restore:
            continue
        if at == key.child and item.target is not None:
            value = _cells(item.image.table, key.columns, item.target)
            if None not in value:
                yield item, value, "orphan"
        if at == key.parent and item.now is not None:
            value = _cells(item.image.table, key.references, item.now)
            kept = item.target is not None and (
                _cells(item.image.table, key.references, item.target) == value
            )
            if not kept and None not in value:
                yield item, value, "referenced"


def _cells(table: Table, names: Sequence[str], row: Row) -> Values:
    stored = [c.name for c in rows.stored(table)]
    return tuple(row[stored.index(name)] for name in names)


def _without_row(
    session: Session,
    key: ForeignKey,
    child: Table,
    values: Sequence[Values] | None = None,
    *,
    lock: str = "LOCK IN SHARE MODE",
) -> set[Values]:
    """Those of ``values`` that rows of the child have and none of the parent; without them, one
    of all that there are."""
    columns = [_column(child, name) for name in key.columns]
    names = ", ".join(quoted("c", c.name) for c in columns)
    joined = " AND ".join(
        f"{quoted('p', to)} = {quoted('c', of)}"
        for of, to in zip(key.columns, key.references, strict=True)
    )
    if values is None:
        meant = " AND ".join(f"{quoted('c', c.name)} IS NOT NULL" for c in columns)
        end = "LIMIT 1"
    else:
        listed = ", ".join(
            "(" + ", ".join(map(rows.literal, columns, value)) + ")" for value in values
        )
        meant, end = f"({names}) IN ({listed})", lock
    found = session.rows(
        f"SELECT {rows.selected(columns, 'c')} FROM {quoted(*key.child)} AS c "
        f"WHERE {meant} AND NOT EXISTS "
        f"(SELECT 1 FROM {quoted(*key.parent)} AS p WHERE {joined}) {end}"
    )
    return set(found)


def _column(table: Table, name: str) -> Column:
    return next(c for c in table.columns if c.name == name)
