"""Images of what an open transaction changed, proven complete before it commits.

``own`` is the transaction; ``peer`` a second connection which still sees the committed old
versions of its rows. A row that ``peer`` sees, ``own`` no longer sees and ``peer`` sees again
afterwards was ended by ``own`` and nobody else; a row that ``own`` sees, ``peer`` does not and
``own`` sees again was made by it. Row identity is (ctid, xmin). Which rows are compared is first
narrowed by xmin and xmax; the transaction's own counters prove that nothing was missed, and where
the numbers differ (a row changed twice, a rolled back savepoint) everything is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import psycopg

from gateway.errors import SnapshotFailed
from gateway.interfaces import Captured
from gateway.model import Deny, Reversibility, Undo
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres import catalog
from gateway.upstreams.sql.postgres.catalog import Table
from gateway.upstreams.sql.postgres.extent import Extent, Touched
from gateway.upstreams.sql.postgres.fitness import Unfit, sources, unfit
from gateway.upstreams.sql.postgres.images import KIND, ImageColumn, Rows, TableImage, encode
from gateway.upstreams.sql.postgres.session import Session, TooMuch

Row = tuple[str, str]  # ctid, xmin

_CHUNK = 50_000
# A search path that names nothing makes names in values (regclass and such) unambiguous.
_PINS = {
    "search_path": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "xmloption": "content",
    "row_security": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How one connection reads one table: its own name, or a partitioned parent that it may
    read, narrowed to this partition."""

    session: Session
    source: str
    only: str  # a condition, or ""

    async def rows(self, where: str) -> set[Row]:
        query = f"SELECT x.ctid::text, x.xmin::text FROM {self.source} AS x{self._where(where)}"
        return {(ctid, xmin) for ctid, xmin in await self.session.rows(query)}

    async def among(self, rows: set[Row]) -> set[Row]:
        """Those of ``rows`` that are visible now."""
        seen: set[Row] = set()
        for ctids in _chunks(rows):
            seen |= await self.rows(f"x.ctid = ANY('{ctids}'::tid[])")
        return seen & rows

    async def images(self, table: Table, rows: set[Row], budget: int) -> bytes:
        columns = ", ".join(
            f"x.{c.quoted}::{c.reg}" if c.reg else f"x.{c.quoted}" for c in table.stored
        )
        parts: list[bytes] = []
        for ctids in _chunks(rows):
            where = self._where(f"x.ctid = ANY('{ctids}'::tid[])")
            query = f"SELECT {columns} FROM {self.source} AS x{where}"
            parts.append(await self.session.copy_out(query, budget))
            budget -= len(parts[-1])
        return b"".join(parts)

    def _where(self, condition: str) -> str:
        both = " AND ".join(c for c in (self.only, condition) if c)
        return f" WHERE {both}" if both else ""


def _chunks(rows: Iterable[Row]) -> Iterable[str]:
    ctids = sorted(ctid for ctid, _ in rows)
    for start in range(0, len(ctids), _CHUNK):
        yield "{" + ",".join(f'"{ctid}"' for ctid in ctids[start : start + _CHUNK]) + "}"


class _Incomplete(Exception):
    """The images cannot be shown to be everything."""


@dataclass
class _Budget:
    rows: int
    bytes: int

    def take(self, rows: int, size: int) -> None:
        self.rows -= rows
        self.bytes -= size
        if self.rows < 0 or self.bytes < 0:
            raise TooMuch


class Capture:
    """Reads the images of one open transaction."""

    def __init__(
        self, source: str, own: Session, peer: Session, *, limits: SqlLimits, replica: bool
    ) -> None:
        self._source = source
        self._own = own
        self._peer = peer
        self._limits = limits
        self._replica = replica

    async def take(self, extent: Extent, xid: str) -> Captured | Deny:
        """``undo.unavailable`` where exact images or an exact way back cannot be had."""
        if extent.refusal is not None:
            return _unavailable(f"{extent.refusal}.")
        if extent.schema_changed is not None:
            return _unavailable(f"{extent.schema_changed}, beyond rows of tables.")
        try:
            images = await self._images(extent, xid)
        except Unfit as error:
            return _unavailable(str(error))
        except _Incomplete as error:
            return _unavailable(f"the images of {error} could not be proven complete.")
        except TooMuch:
            return _unavailable(
                f"it changes more than may be captured at once ({self._limits.max_capture_rows} "
                f"rows, {self._limits.max_capture_bytes} bytes)."
            )
        except psycopg.errors.InsufficientPrivilege as error:
            return _unavailable(f"{error.diag.message_primary}.")
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise SnapshotFailed("The before-images could not be read in time.") from error
        except psycopg.OperationalError as error:
            raise SnapshotFailed("The connection that reads images was lost.") from error
        manifest, image = encode(images, xid=xid)
        manifest["sequences"] = list(extent.sequences)
        undo = Undo(
            upstream=self._source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest=manifest,
            image=image,
        )
        return Captured(undo=undo, receipt=xid)

    async def _images(self, extent: Extent, xid: str) -> tuple[TableImage, ...]:
        if not extent.tables:
            return ()
        pins = ", ".join(f"pg_catalog.set_config('{n}', '{v}', true)" for n, v in _PINS.items())
        await self._own.rows(f"SELECT {pins}")
        found = await catalog.tables(self._peer, [t.oid for t in extent.tables])
        keys = await catalog.foreign_keys(self._peer, list(found.values()))
        family = frozenset(oid for table in found.values() for oid in table.ancestors)
        budget = _Budget(rows=self._limits.max_capture_rows, bytes=self._limits.max_capture_bytes)
        images: list[TableImage] = []
        for touched in extent.tables:
            table = found.get(touched.oid)
            if table is None:
                raise Unfit(f"{touched.resource} is not seen by the capture role.")
            await unfit(self._peer, table, keys, touched=family, replica=self._replica)
            images.append(await self._table(touched, table, xid, budget))
        return _related(images)

    async def _table(self, touched: Touched, table: Table, xid: str, budget: _Budget) -> TableImage:
        own_source, peer_source = await sources(self._own, self._peer, table)
        own = View(session=self._own, source=own_source.text, only=own_source.condition)
        peer = View(session=self._peer, source=peer_source.text, only=peer_source.condition)
        before = await self._ended(touched, own, peer, xid)
        after = await self._made(touched, own, peer, xid)
        budget.take(len(before) + len(after), 0)
        before_rows = await _read(peer, table, before, budget)
        after_rows = await _read(own, table, after, budget)
        return TableImage(
            oid=table.oid,
            schema=table.schema,
            name=table.name,
            fingerprint=table.fingerprint,
            columns=tuple(ImageColumn(name=c.name, type=c.type, reg=c.reg) for c in table.stored),
            key=table.key.columns if table.key else (),
            before=before_rows,
            after=after_rows,
            updated=touched.updated,
            spread=False,
            family=table.ancestors[-1],
        )

    async def _ended(self, touched: Touched, own: View, peer: View, xid: str) -> set[Row]:
        counted = touched.updated + touched.deleted
        if not counted:
            return set()
        found: set[Row] = set()
        # xmax may be a multixact, whose number has nothing to do with transaction ids: then the
        # first condition misses the row and the second finds it.
        for where in (_recent("xmax", xid), "x.xmax <> '0'::pg_catalog.xid", ""):
            seen = await self._bounded(peer, where)
            gone = seen - await _visible(own, seen, everything=not where)
            found = gone & await peer.among(gone)
            if len(found) == counted:
                return found
        if len(found) > counted:
            raise _Incomplete(touched.resource)
        return found

    async def _made(self, touched: Touched, own: View, peer: View, xid: str) -> set[Row]:
        counted = touched.inserted + touched.updated
        if not counted:
            return set()
        found: set[Row] = set()
        for where in (_recent("xmin", xid), ""):
            seen = await self._bounded(own, where)
            new = seen - await _visible(peer, seen, everything=not where)
            found = new & await own.among(new)
            if len(found) == counted:
                return found
        if len(found) > counted:
            raise _Incomplete(touched.resource)
        return found

    async def _bounded(self, view: View, where: str) -> set[Row]:
        rows = await view.rows(where)
        if len(rows) > max(self._limits.max_capture_rows, 1000):
            raise TooMuch
        return rows


def _recent(column: str, xid: str) -> str:
    short = int(xid) & 0xFFFFFFFF
    return f"pg_catalog.age(x.{column}) <= pg_catalog.age('{short}'::pg_catalog.xid)"


async def _visible(view: View, rows: set[Row], *, everything: bool) -> set[Row]:
    if everything and len(rows) > _CHUNK:
        return await view.rows("")
    return await view.among(rows)


async def _read(view: View, table: Table, rows: set[Row], budget: _Budget) -> Rows:
    if not rows:
        return Rows()
    data = await view.images(table, rows, budget.bytes)
    budget.take(0, len(data))
    if data.count(b"\n") != len(rows):
        raise _Incomplete(table.resource)
    return Rows(count=len(rows), data=data)


def _related(images: Sequence[TableImage]) -> tuple[TableImage, ...]:
    """Rows move between the partitions of one tree."""
    families = Counter(image.family for image in images)
    return tuple(replace(image, spread=families[image.family] > 1) for image in images)


def _unavailable(why: str) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This cannot be undone exactly: {why} It was rolled back and nothing changed.",
    )
