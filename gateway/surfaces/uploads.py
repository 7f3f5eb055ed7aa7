"""Bodies that are not JSON: kept aside as they arrive, hashed, and never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator
from typing import IO

from gateway.errors import Overloaded

_IN_MEMORY = 262_144
_PIECE = 262_144
# Seconds in which a person has to decide about a call whose body is kept here.
KEPT_S = 3_600.0


class Shelf:
    """Where uploads lie while their calls are carried out. ``most`` bounds them all together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._waiting: dict[str, tuple[Upload, float]] = {}

    def claim(self, size: int) -> None:
        """Raises ``Overloaded`` when there is no room left."""
        self._sweep()
        if self._held + size > self._most:
            raise Overloaded("Too much is being uploaded. Nothing was done; try again shortly.")
        self._held += size

    def free(self, size: int) -> None:
        self._held -= size

    def keep(self, upload: Upload) -> None:
        """For the call that waits for a person, as long as that may take."""
        self._sweep()
        earlier = self._waiting.pop(upload.sha256, None)
        if earlier is not None:
            earlier[0].close()
        self._waiting[upload.sha256] = (upload, time.monotonic() + KEPT_S)

    def find(self, sha256: str) -> Upload | None:
        self._sweep()
        found = self._waiting.get(sha256)
        return None if found is None else found[0]

    def _sweep(self) -> None:
        now = time.monotonic()
        for sha256, (upload, until) in list(self._waiting.items()):
            if until <= now:
                del self._waiting[sha256]
                upload.close()


class Upload:
    """``Payload``: written once, then read as often as it is sent. ``close`` throws it away."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._hash = hashlib.sha256()
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._size = 0
        self._closed = False

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def size(self) -> int:
        return self._size

    async def write(self, data: bytes) -> None:
        """Raises ``Overloaded``."""
        self._shelf.claim(len(data))
        self._size += len(data)
        self._hash.update(data)
        self._memory += data
        if len(self._memory) > _IN_MEMORY:
            piece, self._memory = bytes(self._memory), bytearray()
            await asyncio.to_thread(self._append, piece)

    def _append(self, piece: bytes) -> None:
        if self._file is None:
            # Without a name: it is gone with the process, whatever ends that.
            self._file = tempfile.TemporaryFile(prefix="holdfast-")  # noqa: SIM115 - until close
        self._file.seek(0, 2)
        self._file.write(piece)

    async def chunks(self) -> AsyncIterator[bytes]:
        at = 0
        while self._file is not None:
            piece = await asyncio.to_thread(self._piece, at)
            if not piece:
                break
            at += len(piece)
            yield piece
        if self._memory:
            yield bytes(self._memory)

    def _piece(self, at: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(at)
        return self._file.read(_PIECE)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._shelf.free(self._size)
        if self._file is not None:
            self._file.close()
            self._file = None
