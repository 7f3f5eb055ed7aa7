"""What a transaction changed, net: its rows before, from the connection that still sees the file as
it was, beside those after, from the transaction itself. Read and packed a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apsw

from gateway.model import Deny, Json
from gateway.upstreams.sql.sqlite import catalog
from gateway.upstreams.sql.sqlite.catalog import Shape
from gateway.upstreams.sql.sqlite.cells import Row, exact, same
from gateway.upstreams.sql.sqlite.images import LINE_ROWS, Packer
from gateway.upstreams.sql.sqlite.journal import unavailable
from gateway.upstreams.sql.sqlite.recorder import Touched
from gateway.upstreams.sql.sqlite.rows import Key, by_key, chunks, count, everything

Pair = tuple[Key, Row | None, Row | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """``tables`` for the manifest, and their images."""

    tables: list[Json]
    image: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """``max_rows``: of a table that has to be compared as a whole."""

    before: apsw.Connection
    after: apsw.Connection
    max_rows: int

    def pack(self, tables: Mapping[str, Touched], *, max_bytes: int) -> Packed | Deny | None:
        """``None`` where the images would take more than ``max_bytes``."""
        packer = Packer(max_bytes=max_bytes)
        for name, touched in sorted(tables.items()):
            shape = catalog.shape(self.after, name)
            if shape is None or not shape.capturable:
                return unavailable(f"the rows of {name} cannot be told apart")
            packer.table(shape)
            if touched.whole and not self._comparable(shape):
                return unavailable(f"{name} is too large to be compared as a whole")
            for changes in _lines(self._net(shape, touched)):
                if not packer.add(changes):
                    return None
        told, image = packer.finish()
        return Packed(tables=told, image=image)

    def _comparable(self, shape: Shape) -> bool:
        sizes = count(self.before, shape.name), count(self.after, shape.name)
        return max(sizes) <= self.max_rows

    def _net(self, shape: Shape, touched: Touched) -> Iterator[Sequence[Pair]]:
        """Two keys of a table WITHOUT ROWID may name one row, where they differ only by what the
        column's collation ignores."""
        if touched.whole:
            before, after = everything(self.before, shape), everything(self.after, shape)
            yield _distinct(differing({**before, **after}, before, after), set())
            return
        seen: set[object] = set()
        keys = list(touched.keys) if shape.without_rowid else sorted(touched.keys)
        for some in chunks(keys, LINE_ROWS):
            net = differing(some, by_key(self.before, shape, some), by_key(self.after, shape, some))
            yield _distinct(net, seen) if shape.without_rowid else net


def differing(
    keys: Iterable[Key], before: Mapping[Key, Row], after: Mapping[Key, Row]
) -> list[Pair]:
    """The rows that are not the same in type and value."""
    found: list[Pair] = []
    for key in keys:
        old, new = before.get(key), after.get(key)
        # Unequal is surely not the same, and quickly told.
        if old != new or not same(old, new):
            found.append((key, old, new))
    return found


def _distinct(net: Iterable[Pair], seen: set[object]) -> list[Pair]:
    found: list[Pair] = []
    for key, old, new in net:
        pair = (old and exact(old), new and exact(new))
        if pair not in seen:
            seen.add(pair)
            found.append((key, old, new))
    return found


def _lines(parts: Iterable[Sequence[Pair]]) -> Iterator[Sequence[Pair]]:
    for part in parts:
        for start in range(0, len(part), LINE_ROWS):
            yield part[start : start + LINE_ROWS]
