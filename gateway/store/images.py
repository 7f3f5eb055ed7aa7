"""Where the bytes of images are kept: small ones in the row, large ones in files beside the store,
all compressed, each with the hash of what it was."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zstandard

from gateway.errors import ImageDamaged, SnapshotFailed, StoreUnavailable

INLINE_BYTES = 64 * 1024
# Below this, compressing takes less time than handing the work to a thread.
_AT_ONCE = 8 * 1024
_SUFFIX = ".zst"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """``size`` and ``sha256`` (hex) are those of the image as it was given; exactly one of
    ``inline`` and ``file`` is set and holds it compressed."""

    sha256: str
    size: int
    inline: bytes | None = None
    file: str | None = None


class Images(Protocol):
    async def open(self, known: set[str]) -> None:
        """Removes every file that no row knows. Raises ``StoreUnavailable``."""
        ...

    async def put(self, image: bytes) -> StoredImage:
        """Durable when it returns, as far as it is not inline. Raises ``SnapshotFailed``."""
        ...

    async def get(self, stored: StoredImage) -> bytes:
        """Raises ``ImageDamaged``."""
        ...

    async def remove(self, file: str) -> None:
        """Raises ``StoreUnavailable``."""
        ...


def compressed(image: bytes) -> StoredImage:
    packed = zstandard.ZstdCompressor(level=3).compress(image)
    return StoredImage(sha256=hashlib.sha256(image).hexdigest(), size=len(image), inline=packed)


def restored(packed: bytes, stored: StoredImage) -> bytes:
    """The image, proven to be the recorded one. Raises ``ImageDamaged``."""
    try:
        # The recorded length bounds the output, whatever the damaged bytes claim.
        stream = zstandard.ZstdDecompressor().stream_reader(packed)
        image = stream.read(stored.size + 1) if stored.size else b""
    except zstandard.ZstdError as error:
        raise ImageDamaged("The stored image cannot be read: it was damaged.") from error
    if len(image) != stored.size or hashlib.sha256(image).hexdigest() != stored.sha256:
        raise ImageDamaged("The stored image is not the one that was recorded.")
    return image


class InlineImages:
    """Keeps every image in its row."""

    async def open(self, known: set[str]) -> None:
        if known:
            raise StoreUnavailable("There are images in files, but no folder for them.")

    async def put(self, image: bytes) -> StoredImage:
        if len(image) <= _AT_ONCE:
            return compressed(image)
        return await asyncio.to_thread(compressed, image)

    async def get(self, stored: StoredImage) -> bytes:
        if stored.inline is None:
            raise ImageDamaged("The stored image is missing.")
        return await asyncio.to_thread(restored, stored.inline, stored)

    async def remove(self, file: str) -> None:
        raise StoreUnavailable(f"There is no folder that could hold {file!r}.")


class ImageFolder:
    """``path`` is made (mode 0700) if it is not there. It must not lie on what it protects.
    Images over ``inline_bytes`` become files."""

    def __init__(self, path: Path, *, inline_bytes: int = INLINE_BYTES) -> None:
        self._path = path
        self._inline_bytes = inline_bytes
        self._inline = InlineImages()

    async def open(self, known: set[str]) -> None:
        try:
            await asyncio.to_thread(self._sweep, known)
        except OSError as error:
            raise StoreUnavailable(f"The image folder cannot be used: {error}.") from error

    def _sweep(self, known: set[str]) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for found in self._path.iterdir():
            if found.name not in known and _ours(found.name):
                found.unlink()
        _sync_folder(self._path)

    async def put(self, image: bytes) -> StoredImage:
        if len(image) <= self._inline_bytes:
            return await self._inline.put(image)
        try:
            return await asyncio.to_thread(self._write, image)
        except OSError as error:
            raise SnapshotFailed(f"The images could not be stored: {error.strerror}.") from error

    def _write(self, image: bytes) -> StoredImage:
        ready = compressed(image)
        # mkstemp: mode 0600 and a name that nobody else has, which the image then keeps.
        handle, name = tempfile.mkstemp(prefix="image-", suffix=".part", dir=self._path)
        part = Path(name)
        final = part.with_suffix(_SUFFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(ready.inline or b"")
                file.flush()
                os.fsync(file.fileno())
            part.rename(final)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(self._path)
        return StoredImage(sha256=ready.sha256, size=ready.size, file=final.name)

    async def get(self, stored: StoredImage) -> bytes:
        if stored.file is None:
            return await self._inline.get(stored)
        return await asyncio.to_thread(self._read, stored.file, stored)

    def _read(self, file: str, stored: StoredImage) -> bytes:
        try:
            packed = (self._path / file).read_bytes()
        except OSError as error:
            raise ImageDamaged(f"The stored image is missing: {error.strerror}.") from error
        return restored(packed, stored)

    async def remove(self, file: str) -> None:
        try:
            await asyncio.to_thread(self._unlink, file)
        except OSError as error:
            raise StoreUnavailable(f"An image could not be removed: {error}.") from error

    def _unlink(self, file: str) -> None:
        (self._path / file).unlink(missing_ok=True)
        _sync_folder(self._path)


def _ours(name: str) -> bool:
    return name.startswith("image-") and name.endswith((_SUFFIX, ".part"))


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
