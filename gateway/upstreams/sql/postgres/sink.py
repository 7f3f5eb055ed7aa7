"""Where the images of one call go: small ones into the undo itself, larger ones into a spool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from gateway.interfaces import Spool, Spooler, SpoolFull
from gateway.upstreams.sql.postgres.session import TooMuch

_SMALL = 16 * 1024


class Sink:
    """``spool`` is opened when it is first needed, and is the caller's to close."""

    def __init__(self, spool: Callable[[], Spool]) -> None:
        self._open = spool
        self._spool: Spool | None = None
        self._head = bytearray()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Blocking, from any thread. Raises ``SnapshotFailed``, and ``TooMuch`` when the spool is
        full."""
        self.size += len(chunk)
        try:
            if self._spool is not None:
                self._spool.write(chunk)
            elif len(self._head) + len(chunk) <= _SMALL:
                self._head += chunk
            else:
                self._spool = self._open()
                self._spool.write(bytes(self._head) + chunk)
                self._head.clear()
        except SpoolFull as error:
            raise TooMuch("bytes") from error

    async def finish(self) -> dict[str, Any]:
        """What the undo is given: its ``image`` or what was ``spooled``."""
        if self._spool is None:
            return {"image": bytes(self._head)}
        return {"spooled": await asyncio.to_thread(self._spool.finish)}


def opening(spooler: Spooler, stack: ExitStack, *, most: int) -> Callable[[], Spool]:
    """Opens a spool that stays open until ``stack`` is left."""

    def open_spool() -> Spool:
        return stack.enter_context(spooler.spool(most=most))

    return open_spool
