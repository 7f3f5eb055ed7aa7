"""The seam through which images reach their store and come back: piece by piece, never whole in
memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from gateway.model import Spooled, Undo


class SpoolFull(Exception):
    """The image got larger than the spool may be. What that means is up to whoever captures."""


class Spool(Protocol):
    """One image on its way to the store. Blocking, from any thread, but one at a time."""

    def write(self, chunk: bytes) -> None:
        """Appends; chunks of 16 KiB and more go fastest. Raises ``SnapshotFailed`` and
        ``SpoolFull``: after either the spool is of no use any more."""
        ...

    def finish(self) -> Spooled:
        """The whole image, durable (or inline when it is small, and then durable with the permit).
        Syncs to disk: not for the event loop. Raises ``SnapshotFailed``."""
        ...


class Spooler(Protocol):
    def spool(self, *, most: int) -> AbstractContextManager[Spool]:
        """A spool for at most ``most`` bytes. Stays open until the attempt has ended: when the
        context is left and no permit was asked for with the finished image, it is discarded."""
        ...

    def read(self, undo: Undo) -> Iterator[bytes]:
        """The images of ``undo``, spooled or whole, in pieces of up to some 100 KiB. Blocking.
        What is stored is proven to be what was recorded before the first piece is given; raises
        ``ImageDamaged`` then, and also at the end if it was changed while it was read: whatever
        was made of the pieces must not be committed before the iterator is exhausted."""
        ...
