"""Images on their way to where they are kept, and back from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from gateway.interfaces import Spool, Spooler, SpoolFull
from gateway.model import Deny, Spooled, Undo
from gateway.upstreams.sql.mysql import images
from gateway.upstreams.sql.mysql.images import (
    MAGIC,
    RowTooLong,
    Summary,
    TableImage,
    pack,
    packed,
    summed,
    unpack,
)
from gateway.upstreams.sql.mysql.sweep import Sweep


class Keeper:
    """Of one call or revert. Blocks; raises ``SnapshotFailed``, ``SpoolFull`` and
    ``RowTooLong``."""

    def __init__(self, spooler: Spooler, most: int) -> None:
        self._spooler = spooler
        self._most = most
        self._spools = ExitStack()
        self._swept: Spool | None = None

    def close(self) -> None:
        """Gives up images that no permit was asked for."""
        self._spools.close()

    def written(self, found: Iterable[TableImage], packet: int) -> Spooled:
        spool = self._spools.enter_context(self._spooler.spool(most=self._most))
        for piece in pack(found, packet):
            spool.write(piece)
        return spool.finish()

    def swept(self, sweep: Sweep, packet: int) -> Summary | None:
        """What was written of a statement, if it is everything; ``finish`` is still to come."""
        for way in sweep.ways():
            with ExitStack() as trial:
                spool = trial.enter_context(self._spooler.spool(most=self._most))
                spool.write(MAGIC)

                def put(image: TableImage, spool: Spool = spool) -> None:
                    for piece in packed(image, packet):
                        spool.write(piece)

                found = way(put)
                if found is not None:
                    self._spools.enter_context(trial.pop_all())
                    self._swept = spool
                    return found
        return None

    def finish(self) -> Spooled:
        """What was swept."""
        assert self._swept is not None
        return self._swept.finish()


def refusal(error: SpoolFull | RowTooLong) -> Deny:
    if isinstance(error, RowTooLong):
        return Deny(reason="undo.unavailable", detail=str(error))
    return Deny(
        reason="snapshot.failed",
        detail="The images are larger than snapshots.max_bytes allows.",
    )


class Kept:
    """The images of a call, read from where they are kept as often as wanted. Blocks; raises
    ``ImageDamaged``."""

    def __init__(self, undo: Undo, spooler: Spooler) -> None:
        self._undo = undo
        self._spooler = spooler

    @property
    def large(self) -> bool:
        """Whether there are more rows than should be held at once."""
        return images.size(self._undo) > images.PART

    def parts(self) -> Iterator[TableImage]:
        return images.parts(self._undo, self._spooler.read(self._undo))

    def whole(self) -> tuple[TableImage, ...]:
        return unpack(self._undo, self._spooler.read(self._undo))

    def summaries(self) -> tuple[Summary, ...]:
        found = images.noted(self._undo)
        return summed(self.parts()) if found is None else found
