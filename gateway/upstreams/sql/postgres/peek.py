"""The rows of one table that an open transaction ended and made, found and copied, proven complete.

``own`` is the transaction; ``peer`` a second connection which still sees the committed old
versions of its rows. Three ways, the next one where the one before could not prove its answer:

near
    Few rows are looked for where they should be: old versions by the statement's own condition, new
    ones on the same pages and at the end of the table.
exact
    One scan of each side by transaction id. A version with our id in xmax was ended or merely
    locked by us; that ``own`` sees no version with it excludes the second. A version with our id in
    xmin, or with that of one of our savepoints, was made by us.
diff
    A version that ``peer`` sees, ``own`` no longer sees and ``peer`` sees again afterwards was
    ended by ``own`` and nobody else; one that ``own`` sees, ``peer`` does not and ``own`` sees
    again was made by it. True whatever happened, in windows of pages.

The first two are complete when they found as many versions as the transaction's own counters say
were ended or made; those also count what a rolled back savepoint or a second change of a row left
behind, so that the numbers then differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import psycopg

from gateway.upstreams.sql.postgres.catalog import Column, Table
from gateway.upstreams.sql.postgres.copying import copy_all, copy_out
from gateway.upstreams.sql.postgres.extent import Touched
from gateway.upstreams.sql.postgres.images import BINARY, Rows
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.signing import Signer, places
from gateway.upstreams.sql.postgres.sink import Sink

Row = tuple[str, str]  # ctid, xmin
Spans = tuple[tuple[int, int], ...]  # first and last page of each

_FEW = 5_000  # versions that are looked for one by one
_CHUNK = 20_000  # ctids in one query
_SPANS = 32  # of pages, in which new versions are looked for beside their old ones
_GAP = 8  # pages without any that do not end a span
_TAIL = 32  # pages at the end of a table where new rows are looked for
_SHARED = 20_000  # versions from which on two connections copy them
_STRETCHES = 16  # of a table's pages, every other one for each of the two
_WINDOW = 256  # pages that are compared at once
TID_RANGES = 140000  # the first version that scans a range of pages
EPOCH = 1 << 32


class Incomplete(Exception):
    """The images cannot be shown to be everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How one connection reads one table: its own name, or a partitioned parent that it may
    read, narrowed to this partition. ``signer``: where it reads with the gateway's rights."""

    session: Session
    source: str
    only: str  # a condition, or ""
    signer: Signer | None = None

    async def rows(self, where: str) -> set[Row]:
        query = f"SELECT x.ctid::text, x.xmin::text {self.found(where)}"
        return {(ctid, xmin) for ctid, xmin in await self.session.rows(query)}

    async def among(self, rows: set[Row]) -> set[Row]:
        """Those of ``rows`` that are visible now."""
        seen: set[Row] = set()
        for some in _chunks(rows):
            seen |= await self.rows(_these(some))
        return seen & rows

    async def listed(self, where: str) -> tuple[int, str, str]:
        """How many rows, and their places and the ids of their makers as arrays in text."""
        query = (
            "SELECT count(*), pg_catalog.array_agg(x.ctid)::text, "
            f"pg_catalog.array_agg(DISTINCT x.xmin::text)::text {self.found(where)}"
        )
        number, places, makers = await self.session.one(query)
        return int(number), places or "{}", makers or "{}"

    async def any(self, where: str) -> bool:
        query = f"SELECT EXISTS (SELECT {self.found(where)})"
        return bool((await self.session.one(query))[0])

    def found(self, condition: str, columns: Sequence[Column] = ()) -> str:
        """FROM what, and WHERE: rows ``x`` with their system columns and at least ``columns``."""
        both = " AND ".join(c for c in (self.only, condition) if c)
        found = f"FROM {self.source} AS x{f' WHERE {both}' if both else ''}"
        if self.signer is None:
            return found
        selected, typed = places(columns)
        return f"FROM {self.signer.rows(f'SELECT {selected} {found}', typed)}"


@dataclass
class Budget:
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """One table. ``near``: a condition that the old versions should meet, harmless to evaluate
    and never trusted. ``spare``: another session like the peer's, where one is free."""

    own: View
    peer: View
    table: Table
    touched: Touched
    xid: str
    coding: str
    near: str | None
    sink: Sink
    budget: Budget
    spare: Callable[[], AbstractAsyncContextManager[Session | None]] | None = None

    async def ended(self) -> tuple[Rows, Spans]:
        """The old versions, and the pages on which they stand where these are few."""
        counted = self.touched.updated + self.touched.deleted
        if not counted:
            return Rows(), ()
        if self.near is not None and counted <= _FEW:
            found = await self._ended_near(self.near, counted)
            rows = await self._these(self.peer, found)
            if rows.count == counted:
                return rows, spans_of(found)
        exact = f"x.xmax = '{self._short}'::pg_catalog.xid"
        mine = self._short
        locked = f"{exact} AND x.xmin <> '{mine}'::pg_catalog.xid" if self._unique else exact
        if not await self.own.any(locked):
            rows = await self._copy_shared(exact, counted)
            if rows.count == counted and await self._no_multixact():
                return rows, ()
        return await self._diff(self.peer, self.own, "x.xmax <> '0'::pg_catalog.xid", counted)

    async def made(self, pages: Spans) -> Rows:
        """The new versions; ``pages``: of the old ones, as far as known."""
        counted = self.touched.inserted + self.touched.updated
        if not counted:
            return Rows()
        exact = f"x.xmin = '{self._short}'::pg_catalog.xid"
        if self._unique and counted <= _FEW and self.own.session.version >= TID_RANGES:
            rows = await self._made_near(exact, pages, counted)
            if rows is not None:
                return rows
        if self._unique or not await self.peer.any(exact):
            rows = await self._copy(self.own, exact)
            if rows.count == counted:
                return rows
        if self._unique:
            within = await self._made_within()
            (there,) = await self.own.session.one(f"SELECT count(*) {self.own.found(within)}")
            if there == counted:
                rows = await self._copy(self.own, within)
                if rows.count == counted:
                    return rows
        return (await self._diff(self.own, self.peer, self._recent("xmin"), counted))[0]

    async def _made_within(self) -> str:
        """The condition of versions made by us or within our savepoints, whose ids are others: of
        transactions that are still in progress, ``own`` sees none but its own."""
        found = await self.own.session.rows(
            "SELECT q.id FROM (SELECT DISTINCT x.xmin::text AS id "
            f"{self.own.found(self._recent('xmin'))}) AS q "
            "WHERE pg_catalog.pg_xact_status(q.id::pg_catalog.xid8) = 'in progress'"
        )
        ids = ",".join(id for (id,) in found)
        return f"x.xmin = ANY('{{{ids}}}'::pg_catalog.xid[])"

    # --- near -----------------------------------------------------------------------------

    async def _ended_near(self, near: str, counted: int) -> set[Row]:
        try:
            seen = await self.peer.rows(f"({near}) AND {self._recent('xmax')} LIMIT {2 * _FEW}")
        except (psycopg.DataError, psycopg.ProgrammingError):
            return set()  # it means something else to this role
        gone = seen - await self.own.among(seen)
        return gone if len(gone) == counted else set()

    async def _made_near(self, exact: str, pages: Spans, counted: int) -> Rows | None:
        own = self.own
        stored = self.table.stored
        # Asked once: the table may grow meanwhile, and no row may be given twice.
        (edge,) = await own.session.one(f"SELECT {tail(self.table.oid, counted)}::text")
        last = f"'{edge}'::pg_catalog.tid"
        parts = [f"SELECT {self._columns} {own.found(f'{exact} AND x.ctid >= {last}', stored)}"]
        for span in pages:
            before = f"{exact} AND {within(span)} AND x.ctid < {last}"
            parts.append(f"SELECT {self._columns} {own.found(before, stored)}")
        draft = bytearray()
        copied = await copy_out(
            own.session,
            " UNION ALL ".join(parts),
            draft.extend,
            binary=self.coding == BINARY,
            budget=self.budget.bytes,
        )
        if copied.rows != counted:
            return None
        at = self.sink.size
        await asyncio.to_thread(self.sink.write, bytes(draft))
        self.budget.bytes -= copied.size
        return Rows(count=copied.rows, offset=at, size=copied.size)

    # --- exact ----------------------------------------------------------------------------

    async def _no_multixact(self) -> bool:
        """Whether no list of lockers can have borne our number: those are counted apart."""
        (age,) = await self.peer.session.one(
            f"SELECT pg_catalog.mxid_age('{self._short}'::pg_catalog.xid)"
        )
        return int(age) <= 0

    @property
    def _unique(self) -> bool:
        """Whether nobody before us had our short id, as happens after four thousand million
        transactions: old versions keep their xmin for ever."""
        return int(self.xid) < EPOCH

    @property
    def _short(self) -> int:
        return int(self.xid) % EPOCH

    def _recent(self, column: str) -> str:
        """Ids given no earlier than ours: those of its savepoints are."""
        mine = f"'{self._short}'::pg_catalog.xid"
        return f"pg_catalog.age(x.{column}) <= pg_catalog.age({mine})"

    # --- diff -----------------------------------------------------------------------------

    async def _diff(self, sees: View, other: View, where: str, counted: int) -> tuple[Rows, Spans]:
        count, size, at = 0, 0, self.sink.size
        async for window in self._windows(sees):
            rows = await self._window(sees, other, " AND ".join(c for c in (window, where) if c))
            count += rows.count
            size += rows.size
            if count > counted:
                raise Incomplete(self.touched.resource)
        return Rows(count=count, offset=at, size=size), ()

    async def _window(self, sees: View, other: View, where: str) -> Rows:
        """The versions of one window. Most often ``other`` sees none of them at all, and then
        their places need not be told apart one by one."""
        number, places, makers = await sees.listed(where)
        if not number:
            return Rows(offset=self.sink.size)
        these = placed(places, makers)
        if (
            number <= _CHUNK
            and not await other.any(these)
            and (await sees.listed(these))[0] == number
        ):
            rows = await self._copy(sees, these)
            if rows.count != number:
                raise Incomplete(self.touched.resource)
            return rows
        seen = await sees.rows(where)
        mine = seen - await other.among(seen)
        found = mine & await sees.among(mine)
        rows = await self._these(sees, found)
        if rows.count != len(found):
            raise Incomplete(self.touched.resource)
        return rows

    async def _windows(self, view: View) -> AsyncIterator[str]:
        if view.session.version < TID_RANGES:
            yield ""
            return
        (pages,) = await view.session.one(
            f"SELECT pg_catalog.pg_relation_size({self.table.oid}::oid)"
            " / pg_catalog.current_setting('block_size')::int8"
        )
        for start in range(0, pages, _WINDOW):
            yield f"x.ctid >= '({start},0)' AND x.ctid < '({start + _WINDOW},0)'"
        past = (pages + _WINDOW - 1) // _WINDOW * _WINDOW
        yield f"x.ctid >= '({past},0)'"

    # --- copying --------------------------------------------------------------------------

    @property
    def _columns(self) -> str:
        return ", ".join(
            f"x.{c.quoted}::{c.reg}" if c.reg and self.coding != BINARY else f"x.{c.quoted}"
            for c in self.table.stored
        )

    async def _copy(self, view: View, where: str) -> Rows:
        at = self.sink.size
        copied = await copy_out(
            view.session,
            self._selected(view, where),
            self.sink.write,
            binary=self.coding == BINARY,
            budget=self.budget.bytes,
        )
        self.budget.bytes -= copied.size
        return Rows(count=copied.rows, offset=at, size=copied.size)

    async def _copy_shared(self, where: str, counted: int) -> Rows:
        """Many rows, by two connections at once: one server process is slower than its reader.
        The versions that our transaction ended are seen by every snapshot until it commits, so the
        two need not share one; that nothing is there twice or missing is up to the count."""
        if counted < _SHARED or self.peer.session.version < TID_RANGES or self.spare is None:
            return await self._copy(self.peer, where)
        async with self.spare() as other:
            if other is None:
                return await self._copy(self.peer, where)
            parts = [
                (
                    session,
                    " UNION ALL ".join(self._selected(self.peer, f"{where} AND {s}") for s in half),
                )
                for session, half in zip(
                    (self.peer.session, other), await self._halves(), strict=True
                )
            ]
            at = self.sink.size
            copied = await copy_all(
                parts,
                self.sink.write,
                binary=self.coding == BINARY,
                budget=self.budget.bytes,
            )
        self.budget.bytes -= copied.size
        return Rows(count=copied.rows, offset=at, size=copied.size)

    async def _halves(self) -> tuple[list[str], list[str]]:
        """Conditions of the table's pages, every other stretch of them in either half."""
        (pages,) = await self.peer.session.one(
            f"SELECT pg_catalog.pg_relation_size({self.table.oid}::oid)"
            " / pg_catalog.current_setting('block_size')::int8"
        )
        step = pages // _STRETCHES + 1
        stretches = [
            f"x.ctid >= '({start},0)' AND x.ctid < '({start + step},0)'"
            for start in range(0, step * _STRETCHES, step)
        ]
        stretches.append(f"x.ctid >= '({step * _STRETCHES},0)'")
        return stretches[::2], stretches[1::2]

    def _selected(self, view: View, where: str) -> str:
        return f"SELECT {self._columns} {view.found(where, self.table.stored)}"

    async def _these(self, view: View, rows: set[Row]) -> Rows:
        """Those of ``rows`` that ``view`` still sees."""
        count, size, at = 0, 0, self.sink.size
        for some in _chunks(rows):
            copied = await self._copy(view, _these(some))
            count += copied.count
            size += copied.size
        return Rows(count=count, offset=at, size=size)


def _chunks(rows: set[Row]) -> Iterable[list[Row]]:
    ordered = sorted(rows)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _these(rows: list[Row]) -> str:
    places = ",".join(f'"{ctid}"' for ctid, _ in rows)
    return placed(f"{{{places}}}", "{" + ",".join({xmin for _, xmin in rows}) + "}")


def tail(oid: int, rows: int) -> str:
    """The place from which on ``rows`` new ones stand that were put at the end of a table."""
    return (
        "(SELECT pg_catalog.format('(%s,0)', greatest(0, pg_catalog.pg_relation_size("
        f"{oid}::oid) / pg_catalog.current_setting('block_size')::int8"
        f" - {_TAIL + rows}))::pg_catalog.tid)"
    )


def placed(places: str, makers: str) -> str:
    """A place may have been given to a newer version, whose xmin none of the old ones has."""
    return (
        f"x.ctid = ANY('{places}'::pg_catalog.tid[]) AND x.xmin = ANY('{makers}'::pg_catalog.xid[])"
    )


def spans_of(rows: Iterable[Row]) -> Spans:
    """The pages of ``rows``, where they are few stretches."""
    spans: list[tuple[int, int]] = []
    for page in sorted({int(ctid[1:].partition(",")[0]) for ctid, _ in rows}):
        if spans and page - spans[-1][1] <= _GAP:
            spans[-1] = spans[-1][0], page
        else:
            spans.append((page, page))
    return tuple(spans) if len(spans) <= _SPANS else ()


def within(span: tuple[int, int]) -> str:
    return f"x.ctid >= '({span[0]},0)' AND x.ctid < '({span[1] + 1},0)'"
