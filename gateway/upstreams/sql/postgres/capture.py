"""Images of what an open transaction changed, proven complete before it commits.

``own`` is the transaction; ``peer`` a second connection which still sees the committed old
versions of its rows. ``peek`` says how these are found and why that is everything; ``glance`` does
the same for a few rows with fewer questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import psycopg

from gateway.errors import SnapshotFailed
from gateway.interfaces import Captured, Spool
from gateway.model import Deny, Reversibility, Undo
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.catalog import ForeignKey, Table
from gateway.upstreams.sql.postgres.extent import Extent, Touched
from gateway.upstreams.sql.postgres.fitness import Source, Unfit, readable, source, unfit
from gateway.upstreams.sql.postgres.glance import KNOWN, copied, glanced_at, known_of, seen
from gateway.upstreams.sql.postgres.images import (
    BINARY,
    KIND,
    TEXT,
    Rows,
    TableImage,
    encode,
)
from gateway.upstreams.sql.postgres.peek import Budget, Incomplete, Peek, View
from gateway.upstreams.sql.postgres.pins import PIN
from gateway.upstreams.sql.postgres.questions import Answer
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from gateway.upstreams.sql.postgres.signing import NotPrepared, Signer, signer
from gateway.upstreams.sql.postgres.sink import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Where old versions of the rows of ``table`` (a bare name) should be: a condition."""

    table: str
    condition: str


class Capture:
    """Reads the images of one open transaction into what ``spool`` opens."""

    def __init__(
        self,
        source: str,
        own: Session,
        peer: Session,
        *,
        limits: SqlLimits,
        replica: bool,
        spool: Callable[[], Spool],
        hint: Hint | None = None,
        spare: Callable[[], AbstractAsyncContextManager[Session | None]] | None = None,
    ) -> None:
        self._source = source
        self._own = own
        self._peer = peer
        self._limits = limits
        self._replica = replica
        self._sink = Sink(spool)
        self._hint = hint
        self._spare = spare
        self._signer: Signer | None = None
        self.loose: tuple[ForeignKey, ...] = ()  # those that are NOT VALID, once it was taken

    async def take(self, extent: Extent, xid: str) -> Captured | Deny:
        """``undo.unavailable`` where exact images or an exact way back cannot be had,
        ``limit.rows`` where they would be too many. Raises ``SnapshotFailed`` beyond other
        budgets."""
        if extent.refusal is not None:
            return _unavailable(f"{extent.refusal}.")
        if extent.schema_changed is not None:
            return _unavailable(f"{extent.schema_changed}, beyond rows of tables.")
        if sum(table.rows for table in extent.tables) > self._limits.max_capture_rows:
            return self._too_many()
        try:
            images = await self._images(extent, xid)
            image = await self._sink.finish()
        except Unfit as error:
            return _unavailable(str(error))
        except Incomplete as error:
            return _unavailable(f"the images of {error} could not be proven complete.")
        except TooMuch as error:
            raise SnapshotFailed(
                f"The images take more than {self._limits.max_capture_bytes} bytes."
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            return _unavailable(f"{error.diag.message_primary}.")
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise SnapshotFailed("The before-images could not be read in time.") from error
        except psycopg.OperationalError as error:
            raise SnapshotFailed("The connection that reads images was lost.") from error
        manifest = encode(images, xid=xid)
        manifest["sequences"] = list(extent.sequences)
        undo = Undo(
            upstream=self._source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest=manifest,
            **image,
        )
        return Captured(undo=undo, receipt=xid)

    def _too_many(self) -> Deny:
        return Deny(
            reason="limit.rows",
            detail=f"It changes more than the {self._limits.max_capture_rows} rows that may be "
            "captured at once. It was rolled back and nothing changed.",
        )

    async def _images(self, extent: Extent, xid: str) -> tuple[TableImage, ...]:
        if not extent.tables:
            return ()
        budget = Budget(bytes=self._limits.max_capture_bytes)
        images = await self._glance(extent, xid, budget)
        if images is not None:
            return images
        oids = [t.oid for t in extent.tables]
        await self._own.run(PIN)
        own_readable = await readable(self._own, oids)
        found, keys, known = known_of(await self._peer.kept(KNOWN, oids=oids))
        self.loose = tuple(key for key in keys if not key.valid)
        family = frozenset(oid for table in found.values() for oid in table.ancestors)
        tables: list[TableImage] = []
        for touched in extent.tables:
            table = found.get(touched.oid)
            if table is None:
                raise Unfit(f"{touched.resource} is not seen by the capture role.")
            await unfit(self._peer, table, keys, touched=family, replica=self._replica, known=known)
            own = await self._own_view(table, own_readable, xid)
            peer = source(table, known.readable, "capture")
            tables.append(await self._table(touched, table, own, peer, xid, budget))
        return _related(tables)

    async def _glance(
        self, extent: Extent, xid: str, budget: Budget
    ) -> tuple[TableImage, ...] | None:
        near = self._hint.condition if self._hint is not None else None
        touched = glanced_at(extent, xid, self._own, near)
        if touched is None or (self._hint is not None and self._hint.table != touched.name):
            return None
        found = await seen(self._peer, touched, xid, near)
        table = found.tables.get(touched.oid) if found is not None else None
        if found is None or table is None:
            return None
        self.loose = tuple(key for key in found.keys if not key.valid)
        await unfit(
            self._peer,
            table,
            found.keys,
            touched=frozenset(table.ancestors),
            replica=self._replica,
            known=found.standing,
        )
        if source(table, found.standing.readable, "capture").condition:
            return None
        rows = await copied(self._own, table, touched, found, xid, self._sink, budget)
        return None if rows is None else (_image(touched, table, *rows),)

    async def _own_view(self, table: Table, readable: Answer, xid: str) -> View:
        """As the agents' role, or where that does not see every row, with the gateway's rights."""
        try:
            own = source(table, readable, "agent")
        except Unfit as error:
            try:
                self._signer = self._signer or await signer(self._own, self._peer, xid)
            except NotPrepared as missing:
                raise Unfit(f"{str(error).rstrip('.')}, or {missing}.") from None
            return View(
                session=self._own, source=f"ONLY {table.quoted}", only="", signer=self._signer
            )
        return View(session=self._own, source=own.text, only=own.condition)

    async def _table(
        self,
        touched: Touched,
        table: Table,
        own: View,
        peer: Source,
        xid: str,
        budget: Budget,
    ) -> TableImage:
        peek = Peek(
            own=own,
            peer=View(session=self._peer, source=peer.text, only=peer.condition),
            table=table,
            touched=touched,
            xid=xid,
            coding=BINARY if table.binary else TEXT,
            near=self._near(table),
            sink=self._sink,
            budget=budget,
            spare=self._spare,
        )
        before, pages = await peek.ended()
        return _image(touched, table, before, await peek.made(pages))

    def _near(self, table: Table) -> str | None:
        """The hint, for the table that it speaks of or a part of it."""
        if self._hint is None:
            return None
        if self._hint.table == table.name or len(table.ancestors) > 1:
            return self._hint.condition
        return None


def _image(touched: Touched, table: Table, before: Rows, after: Rows) -> TableImage:
    return TableImage.of(
        table,
        before=before,
        after=after,
        updated=touched.updated,
        coding=BINARY if table.binary else TEXT,
    )


def _related(images: Sequence[TableImage]) -> tuple[TableImage, ...]:
    """Rows move between the partitions of one tree."""
    families = Counter(image.family for image in images)
    return tuple(replace(image, spread=families[image.family] > 1) for image in images)


def _unavailable(why: str) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This cannot be undone exactly: {why} It was rolled back and nothing changed.",
    )
