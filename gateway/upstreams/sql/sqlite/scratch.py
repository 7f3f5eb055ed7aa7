"""A copy of the database file in which a part of a revert is worked out, and the pages in which it
then differs from the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from gateway.upstreams.sql.sqlite.pages import DatabaseFile, Pages

_BLOCK_PAGES = 64


class Scratch:
    """At ``path``; nothing of it is needed after the revert, whatever became of that."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def opened(self, file: DatabaseFile, pages: Pages | None) -> Iterator[apsw.Connection]:
        """A connection to a copy of ``file`` with ``pages`` put over it."""
        size = file.page_size()
        count = pages.count if pages is not None else file.count(size)
        images: Mapping[int, bytes] = pages.images if pages is not None else {}
        with self._path.open("wb") as copy:
            for number in range(1, count + 1):
                copy.write(images.get(number) or file.page(number, size))
        db = apsw.Connection(str(self._path))
        try:
            db.pragma("synchronous", 0)  # a crash throws the copy away
            db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            yield db
        finally:
            db.close()

    def differing(self, file: DatabaseFile) -> Pages | None:
        """What takes ``file`` to the copy; ``None`` where they are the same."""
        size = file.page_size()
        count = self._path.stat().st_size // size
        there = file.count(size)
        numbers: list[int] = []
        with self._path.open("rb") as copy:
            for start in range(1, count + 1, _BLOCK_PAGES):
                for number in range(start, min(start + _BLOCK_PAGES, count + 1)):
                    page = copy.read(size)
                    if number > there or page != file.page(number, size):
                        numbers.append(number)
        if not numbers and count == there:
            return None
        images = _InFile(self._path, sorted({1, *numbers}), size)
        return Pages(size=size, count=count, images=images)

    def discard(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


class _InFile(Mapping[int, bytes]):
    """Pages of a file that nobody holds open."""

    def __init__(self, path: Path, numbers: Sequence[int], size: int) -> None:
        self._path = path
        self._numbers = dict.fromkeys(numbers)
        self._size = size

    def __getitem__(self, number: int) -> bytes:
        if number not in self._numbers:
            raise KeyError(number)
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._size)
            return file.read(self._size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
