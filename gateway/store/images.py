"""Images on their way into the store and back: packed, hashed, small ones in the row, large ones in
files on a shelf."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard

from gateway.errors import ImageDamaged, SnapshotFailed, StoreUnavailable
from gateway.interfaces import Spool, Spooler, SpoolFull
from gateway.model import Spooled, Undo
from gateway.store.sealing import Keys, Sealer, missing, opened
from gateway.store.shelves import Shelf, Slot

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

INLINE_BYTES = 64 * 1024
# Below this, compressing takes less time than handing the work to a thread.
_AT_ONCE = 8 * 1024
_PIECE = 128 * 1024
_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the rows refer to: files, and names of keys."""

    files: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


class Images:
    """``interfaces.Spooler``, and what the store itself does with images. Those over
    ``inline_bytes`` become files on ``shelf``; without one every image stays in its row. With
    ``keys`` every new image is encrypted, wherever it stays. ``elsewhere``: other shelves by
    place, which the names of their files begin with (see ``at``)."""

    def __init__(
        self,
        shelf: Shelf | None = None,
        *,
        inline_bytes: int = INLINE_BYTES,
        keys: Keys | None = None,
        elsewhere: Mapping[str, Shelf] | None = None,
    ) -> None:
        self._shelf = shelf
        self._elsewhere = dict(elsewhere or {})
        self._inline_bytes = inline_bytes
        self.keys = keys
        self._spools: dict[str, _Spool] = {}  # finished, and nobody asked for a permit yet

    async def open(self, known: Callable[[], Awaitable[Known]]) -> None:
        """Removes every file that is on no row and that nobody is writing. Raises
        ``StoreUnavailable``, also when a key is missing that a kept image needs."""
        without = [id for id in (await known()).keys if self.keys is None or id not in self.keys]
        if without:
            raise missing(sorted(without))
        for other in self._elsewhere.values():
            # A target that is down stops no start; what is left over there is swept at another.
            with contextlib.suppress(OSError):
                await self._sweep(other, known)
        shelf = self._shelf
        if shelf is None:
            if any("/" not in file for file in (await known()).files):
                raise StoreUnavailable("There are images in files, but no place for them.")
            return
        try:
            await self._sweep(shelf, known)
        except OSError as error:
            raise StoreUnavailable(f"The place for images cannot be used: {error}.") from error

    async def _sweep(self, shelf: Shelf, known: Callable[[], Awaitable[Known]]) -> None:
        await asyncio.to_thread(shelf.open)
        # In this order: a file that is idle now gets no row any more, or has it already.
        idle = await asyncio.to_thread(shelf.idle)
        for name in set(idle) - (await known()).files:
            await asyncio.to_thread(shelf.remove, name)

    # --- in

    def at(self, place: str) -> Spooler:
        """For a source whose images lie in a place of their own."""
        return _Elsewhere(self, self._elsewhere[place])

    def spool(self, *, most: int) -> AbstractContextManager[_Spool]:
        return self.spooling(self._shelf, most=most)

    @contextlib.contextmanager
    def spooling(self, shelf: Shelf | None, *, most: int) -> Iterator[_Spool]:
        sealer = None if self.keys is None else Sealer()
        spool = _Spool(shelf, self._inline_bytes, most, sealer, self._spools)
        try:
            yield spool
        finally:
            spool.close()

    @contextlib.asynccontextmanager
    async def placing(self, undo: Undo) -> AsyncIterator[Spooled]:
        """The stored image of ``undo``, durable as far as it is not inline. From now on it stays:
        a row may refer to it. Raises ``SnapshotFailed``."""
        if undo.spooled is not None:
            self._keep(undo.spooled)
            yield undo.spooled
            return
        with self.spool(most=len(undo.image)) as spool:
            if len(undo.image) <= min(_AT_ONCE, self._inline_bytes):
                stored = spool.whole(undo.image)
            else:
                stored = await asyncio.to_thread(spool.whole, undo.image)
            self._keep(stored)
            yield stored

    def _keep(self, stored: Spooled) -> None:
        if stored.file is None:
            return
        spool = self._spools.get(stored.file)
        if spool is None:
            raise SnapshotFailed("The images were discarded before they could be recorded.")
        spool.kept = True

    # --- back

    def read(self, undo: Undo) -> Iterator[bytes]:
        if undo.spooled is None:
            return iter((undo.image,) if undo.image else ())
        return self.pieces(undo.spooled)

    def pieces(self, stored: Spooled) -> Iterator[bytes]:
        """See ``Spooler.read``."""
        if stored.key is not None:
            for _ in opened(stored.key, self._packed(stored)):
                continue  # proves the whole image; nothing of it is given away before
            yield from _unpacked(opened(stored.key, self._packed(stored)), stored)
            return
        if stored.seal is None:
            for _ in _unpacked(self._packed(stored), stored):
                continue
        else:
            digest = hashlib.sha256()
            for chunk in self._packed(stored):
                digest.update(chunk)
            if digest.hexdigest() != stored.seal:
                raise ImageDamaged("The stored image is not the one that was recorded.")
        yield from _unpacked(self._packed(stored), stored)

    async def get(self, stored: Spooled) -> bytes:
        """Raises ``ImageDamaged``."""
        return await asyncio.to_thread(lambda: b"".join(self.pieces(stored)))

    def _packed(self, stored: Spooled) -> Iterator[bytes]:
        if stored.inline is not None:
            return iter((stored.inline,))
        shelf = None if stored.file is None else self._shelf_of(stored.file)
        if stored.file is None or shelf is None:
            raise ImageDamaged("The stored image is missing, or its place is not configured.")
        return shelf.read(stored.file)

    def _shelf_of(self, file: str) -> Shelf | None:
        place = file.rpartition("/")[0]
        return self._elsewhere.get(place) if place else self._shelf

    # --- out

    async def remove(self, file: str) -> None:
        """Looks for the file afterwards: raises ``StoreUnavailable`` unless it is gone."""
        shelf = self._shelf_of(file)
        if shelf is None:
            raise StoreUnavailable(f"There is no place that could hold {file!r}.")
        try:
            await asyncio.to_thread(shelf.remove, file)
            left = await asyncio.to_thread(shelf.holds, file)
        except OSError as error:
            raise StoreUnavailable(f"An image could not be removed: {error}.") from error
        if left:
            raise StoreUnavailable("An image was removed, but is still there.")


class _Elsewhere:
    """``interfaces.Spooler`` that puts what is new on one of the other shelves."""

    def __init__(self, images: Images, shelf: Shelf) -> None:
        self._images = images
        self._shelf = shelf

    def spool(self, *, most: int) -> AbstractContextManager[Spool]:
        return self._images.spooling(self._shelf, most=most)

    def read(self, undo: Undo) -> Iterator[bytes]:
        return self._images.read(undo)


class _Spool:
    """``interfaces.Spool``."""

    def __init__(
        self,
        shelf: Shelf | None,
        inline_bytes: int,
        most: int,
        sealer: Sealer | None,
        noted: dict[str, _Spool],
    ) -> None:
        self._shelf = shelf
        self._inline_bytes = inline_bytes
        self._most = most
        self._noted = noted
        self._size = self._packed = 0
        self._sha256, self._seal = hashlib.sha256(), hashlib.sha256()
        self._sealer = sealer
        self._packer = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._head = bytearray()  # packed, while the image may still stay inline
        self._slot: Slot | None = None
        self._ended = False
        self.kept = False

    def write(self, chunk: bytes) -> None:
        if self._ended:
            raise SnapshotFailed("The spool was finished already.")
        self._size += len(chunk)
        if self._size > self._most:
            self._ended = True
            raise SpoolFull(f"The image takes more than {self._most} bytes.")
        self._sha256.update(chunk)
        packed = self._packer.compress(chunk)
        self._put(packed if self._sealer is None else self._sealer.add(packed))

    def finish(self) -> Spooled:
        if self._ended:
            raise SnapshotFailed("The spool was finished already.")
        packed = self._packer.flush()
        if self._sealer is not None:
            packed = self._sealer.add(packed) + self._sealer.end()
        self._put(packed)
        self._ended = True
        if self._slot is None:
            return self._spooled(inline=bytes(self._head))
        try:
            self._slot.commit()
        except OSError as error:
            raise _failed(error) from error
        self._noted[self._slot.name] = self
        return self._spooled(file=self._slot.name)

    def whole(self, image: bytes) -> Spooled:
        """``write`` and ``finish`` in one."""
        self.write(image)
        return self.finish()

    def close(self) -> None:
        slot, self._slot, self._ended = self._slot, None, True
        if slot is None:
            return
        self._noted.pop(slot.name, None)
        # What cannot be removed now is swept at the next open; the call's fate is another matter.
        with contextlib.suppress(OSError):
            slot.close(keep=self.kept)

    def _put(self, packed: bytes) -> None:
        self._packed += len(packed)
        self._seal.update(packed)
        if self._slot is None and (self._shelf is None or self._size <= self._inline_bytes):
            self._head += packed
            return
        try:
            if self._slot is None:
                self._slot = self._first()
            self._slot.write(packed)
        except OSError as error:
            self._ended = True
            raise _failed(error) from error

    def _first(self) -> Slot:
        if self._shelf is None:
            raise SnapshotFailed("There is no place for images.")
        slot = self._shelf.slot()
        self._slot = slot
        slot.write(bytes(self._head))
        self._head.clear()
        return slot

    def _spooled(self, *, inline: bytes | None = None, file: str | None = None) -> Spooled:
        return Spooled(
            size=self._size,
            sha256=self._sha256.hexdigest(),
            inline=inline,
            file=file,
            seal=self._seal.hexdigest(),
            packed=self._packed,
            key=None if self._sealer is None else self._sealer.key,
        )


def _failed(error: OSError) -> SnapshotFailed:
    return SnapshotFailed(f"The images could not be stored: {error.strerror or error}.")


class _Source(io.RawIOBase):
    """A file to read over an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        room = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = next(self._chunks, b"")
        given = self._rest[: len(room)]
        self._rest = self._rest[len(given) :]
        room[: len(given)] = given
        return len(given)


def _unpacked(packed: Iterator[bytes], stored: Spooled) -> Iterator[bytes]:
    """The image in pieces; ``ImageDamaged`` at the first sign that it is not the recorded one."""
    size, digest = 0, hashlib.sha256()
    try:
        stream = zstandard.ZstdDecompressor().stream_reader(io.BufferedReader(_Source(packed)))
        while piece := stream.read(_PIECE):
            size += len(piece)
            if size > stored.size:  # the recorded length bounds what damaged bytes can become
                break
            digest.update(piece)
            yield piece
    except zstandard.ZstdError as error:
        raise ImageDamaged("The stored image cannot be read: it was damaged.") from error
    if size != stored.size or digest.hexdigest() != stored.sha256:
        raise ImageDamaged("The stored image is not the one that was recorded.")
