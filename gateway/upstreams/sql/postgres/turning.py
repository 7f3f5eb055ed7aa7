"""The images of a revert that went straight back: those of the call, turned round.

Every row that it ended was compared with the call's after-image as a whole, and every row that it
made was copied from the before-image; the transaction's own counters say that there were no others.
So nothing has to be read from the tables again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from gateway.errors import SnapshotFailed
from gateway.interfaces import Captured, Spool, Spooler
from gateway.model import Reversibility, Undo
from gateway.upstreams.sql.postgres.copying import Segments
from gateway.upstreams.sql.postgres.extent import Extent
from gateway.upstreams.sql.postgres.images import KIND, Rows, TableImage, encode
from gateway.upstreams.sql.postgres.restore import Restore
from gateway.upstreams.sql.postgres.session import TooMuch
from gateway.upstreams.sql.postgres.sink import Sink

_MOST_TABLES = 4  # the image is read once for each side of each


async def turned(
    restores: Sequence[Restore],
    extent: Extent,
    undos: Sequence[tuple[str, Undo]],
    *,
    source: str,
    receipt: str,
    spooler: Spooler,
    spool: Callable[[], Spool],
) -> Captured | None:
    """``None`` where it is not proven that these are the images of what the transaction did.
    ``undos``: what was taken back. Raises ``SnapshotFailed`` and ``ImageDamaged``."""
    if (
        len(undos) != 1
        or not restores
        or len(restores) > _MOST_TABLES
        or not _counted(restores, extent)
    ):
        return None
    sink = Sink(spool)
    read = partial(spooler.read, undos[0][1])
    images: list[TableImage] = []
    try:
        for restore in restores:
            assert restore.met is not None
            image = restore.image
            before = await asyncio.to_thread(_copied, read, image.after, sink)
            after = await asyncio.to_thread(_copied, read, image.before, sink)
            images.append(replace(image, before=before, after=after, updated=restore.met.updated))
        stored = await sink.finish()
    except TooMuch as error:
        raise SnapshotFailed("The images of the revert take too many bytes.") from error
    manifest = encode(images, xid=receipt)
    manifest["sequences"] = list(extent.sequences)
    undo = Undo(
        upstream=source,
        kind=KIND,
        reversibility=Reversibility.EXACT,
        manifest=manifest,
        **stored,
    )
    return Captured(undo=undo, receipt=receipt)


def _counted(restores: Sequence[Restore], extent: Extent) -> bool:
    """Whether the transaction did to its tables what the restores say that they did, and no more
    to anything."""
    if not restores or len(restores) > _MOST_TABLES:
        return False
    if extent.refusal is not None or extent.schema_changed is not None:
        return False
    did = {t.oid: (t.inserted, t.updated, t.deleted) for t in extent.tables}
    said: dict[int, tuple[int, int, int]] = {}
    for restore in restores:
        met = restore.met
        if met is None:
            return False
        if met.rows:
            said[restore.table.oid] = (met.inserted, met.updated, met.deleted)
    return did == said


def _copied(read: Callable[[], Iterator[bytes]], rows: Rows, sink: Sink) -> Rows:
    at = sink.size
    if rows.count:
        segments = Segments(read())
        for piece in segments.part(rows.offset, rows.size):
            sink.write(piece)
        segments.drain()
    return Rows(count=rows.count, offset=at, size=sink.size - at)
