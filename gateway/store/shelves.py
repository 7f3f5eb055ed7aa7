"""Where the files of images lie."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from gateway.errors import ImageDamaged

SUFFIX = ".zst"
IMAGE_NAME = re.compile(r"image-[A-Za-z0-9_-]{1,80}\.(zst|part)")
_CHUNK = 256 * 1024


class Slot(Protocol):
    """One file that is being written. Blocking; raises ``OSError``."""

    name: str

    def write(self, packed: bytes) -> None: ...

    def commit(self) -> None:
        """The file is whole and durable."""
        ...

    def close(self, *, keep: bool) -> None:
        """Ends the slot, with a committed file left or with nothing left."""
        ...


class Shelf(Protocol):
    """Blocking; raises ``OSError`` where nothing else is said."""

    def open(self) -> None: ...

    def slot(self) -> Slot:
        """A new file under a name that nobody else has."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """Raises ``ImageDamaged`` for a file that is not there or cannot be read."""
        ...

    def remove(self, name: str) -> None:
        """Durable when it returns; no error where there is no such file."""
        ...

    def holds(self, name: str) -> bool: ...

    def idle(self) -> list[str]:
        """The files that nobody writes now, finished or not."""
        ...


class FolderShelf:
    """A local folder, made (mode 0700) if it is not there. A file that is written is locked, so
    that no other process takes it for a leftover."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(self._path)

    def slot(self) -> Slot:
        return _FolderSlot(self._path)

    def read(self, name: str) -> Iterator[bytes]:
        try:
            with self._file(name).open("rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise ImageDamaged(f"The stored image is missing: {error.strerror}.") from error

    def remove(self, name: str) -> None:
        self._file(name).unlink(missing_ok=True)
        _sync_folder(self._path)

    def holds(self, name: str) -> bool:
        return self._file(name).exists()

    def idle(self) -> list[str]:
        found = [p for p in self._path.iterdir() if _ours(p.name)]
        return [p.name for p in found if not _locked(p)]

    def _file(self, name: str) -> Path:
        # The name comes from a row: it must not lead out of the folder.
        if not _ours(name):
            raise ImageDamaged("The stored image has a name that no image has.")
        return self._path / name


class _FolderSlot:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # mkstemp: mode 0600 and a name that nobody else has, which the image then keeps.
        self._fd, part = tempfile.mkstemp(prefix="image-", suffix=".part", dir=folder)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._part = Path(part)
        self.name = self._part.with_suffix(SUFFIX).name

    def write(self, packed: bytes) -> None:
        view = memoryview(packed)
        while view:
            view = view[os.write(self._fd, view) :]

    def commit(self) -> None:
        os.fsync(self._fd)
        self._part.rename(self._folder / self.name)
        _sync_folder(self._folder)

    def close(self, *, keep: bool) -> None:
        try:
            if not keep:
                self._part.unlink(missing_ok=True)
                (self._folder / self.name).unlink(missing_ok=True)
        finally:
            os.close(self._fd)


def _ours(name: str) -> bool:
    return IMAGE_NAME.fullmatch(name) is not None


def _locked(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
