"""What a revert did, net over all of its calls: the images of the revert itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.catalog import Name, Table
from gateway.upstreams.sql.mysql.images import Change, TableImage
from gateway.upstreams.sql.mysql.items import Item
from gateway.upstreams.sql.mysql.streams import Row


class Ledger:
    """Keyed tables: the first state and the last of each key. Others: copies that came, less those
    that went."""

    def __init__(self) -> None:
        self._tables: dict[Name, Table] = {}
        self._first: dict[Name, dict[rows.Key, Row | None]] = {}
        self._last: dict[Name, dict[rows.Key, Row | None]] = {}
        self._copies: dict[Name, Counter[Row]] = {}

    def add(self, items: Iterable[Item]) -> None:
        """Items that were put back, in the order in which that was done."""
        for item in items:
            if not item.restore:
                continue
            table = item.image.table
            self._tables[table.at] = table
            if rows.keyed(table):
                key = item.image.key(item.change)
                assert key is not None
                self._first.setdefault(table.at, {}).setdefault(key, item.now)
                self._last.setdefault(table.at, {})[key] = item.target
                continue
            copies = self._copies.setdefault(table.at, Counter())
            if item.now is not None:
                copies[item.now] -= 1
            if item.target is not None:
                copies[item.target] += 1

    def images(self) -> tuple[TableImage, ...]:
        made = [TableImage(table=t, changes=self._changes(t)) for t in self._tables.values()]
        return tuple(image for image in made if image.changes)

    def _changes(self, table: Table) -> tuple[Change, ...]:
        if table.at in self._copies:
            return tuple(
                Change(row, None) if count < 0 else Change(None, row)
                for row, count in self._copies[table.at].items()
                for _ in range(abs(count))
            )
        first, last = self._first.get(table.at, {}), self._last.get(table.at, {})
        return tuple(
            Change(before, last[key]) for key, before in first.items() if before != last[key]
        )
