"""Rollback journals as files: what SQLite keeps of a transaction's pages, read and written in its
own format (the "rollback journal" section of the file format)."""

from __future__ import annotations

import os
import secrets
import struct
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import apsw

_MAGIC = bytes.fromhex("d9d505f920a163d7")
_NOT_YET = bytes(8)
_HEADER = struct.Struct(">8sIIIII")
_NUMBER = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_SECTOR = 512
_UNCOUNTED = 0xFFFFFFFF
_LOCK_BYTE = 0x40000000
_COUNTER, _FREE, _COOKIE, _COUNTER_AGAIN = 24, 32, 40, 92


class JournalDamaged(Exception):
    """The file is not a whole rollback journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Page images by number, of a file that has ``count`` pages of ``size`` bytes."""

    size: int
    count: int
    images: Mapping[int, bytes]


class _File:
    """Bytes at places of a file, which is closed when nobody needs them any more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, at)


class _Kept(Mapping[int, bytes]):
    """Pages in a journal, read one by one: it can be as large as its database."""

    def __init__(self, data: _File, size: int) -> None:
        self._data = data
        self._size = size
        self._places: dict[int, int] = {}

    def add(self, number: int, at: int) -> None:
        self._places.setdefault(number, at)  # the first image is the oldest

    def __getitem__(self, number: int) -> bytes:
        return self._data.read(self._places[number], self._size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_journal(path: Path, *, growing: bool = False) -> Pages:
    """``growing``: of a transaction that is still open, whose last header is not filled in yet and
    whose first page may come only with COMMIT.
    Raises ``JournalDamaged`` and ``OSError``."""
    data = _File(path)
    if data.size < _HEADER.size:
        raise JournalDamaged("it is empty")
    images = _Kept(data, 0)
    at, size, count, step = 0, 0, 0, _SECTOR
    while at + _HEADER.size <= data.size:
        header = _HEADER.unpack(data.read(at, _HEADER.size))
        magic, records, nonce, pages, sector, page_size = header
        unsynced = growing and magic == _NOT_YET and not records and page_size
        if magic != _MAGIC and not unsynced:
            break
        if at == 0:
            size, count = page_size or 0, pages
            if size < 512 or sector < 32:
                raise JournalDamaged("its header is not whole")
            step, images = sector, _Kept(data, size)
        start = at + step
        whole = (data.size - start) // (size + 8)
        records = whole if records == _UNCOUNTED or unsynced else records
        if records > whole:
            raise JournalDamaged("it ends too early")
        for number, place in _records(data, start, records, size, nonce):
            images.add(number, place)
        at = -(-(start + records * (size + 8)) // step) * step
    if 1 not in images and not growing:
        raise JournalDamaged("it does not hold the first page")
    return Pages(size=size, count=count, images=images)


def _records(
    data: _File, start: int, records: int, size: int, nonce: int
) -> Iterator[tuple[int, int]]:
    """Number and place of each page."""
    for index in range(records):
        at = start + index * (size + 8)
        record = data.read(at, size + 8)
        if _NUMBER.unpack_from(record, 4 + size)[0] != _checksum(record[4 : 4 + size], nonce):
            raise JournalDamaged("a page does not have its checksum")
        yield _NUMBER.unpack_from(record)[0], at + 4


def _checksum(image: bytes, nonce: int) -> int:
    return (nonce + sum(image[len(image) - 200 : 0 : -200])) & 0xFFFFFFFF


def write_journal(path: Path, pages: Pages) -> None:
    """A journal that takes a file to ``pages``: durable when this returns."""
    nonce = secrets.randbits(32)
    # The engine would take the page of the lock for the end of the journal.
    numbers = [n for n in pages.images if n != locked_page(pages.size)]
    header = _HEADER.pack(_MAGIC, len(numbers), nonce, pages.count, _SECTOR, pages.size)
    with path.open("wb") as file:
        file.write(header.ljust(_SECTOR, b"\0"))
        for number in numbers:
            image = pages.images[number]
            checksum = _NUMBER.pack(_checksum(image, nonce))
            file.write(_NUMBER.pack(number) + image + checksum)
        file.flush()
        os.fsync(file.fileno())


def locked_page(size: int) -> int:
    """The page that holds no data, as bytes of it are locked, in a file with pages of ``size``."""
    return _LOCK_BYTE // size + 1


def counter_of(first_page: bytes) -> int:
    """The file change counter."""
    return int(_NUMBER.unpack_from(first_page, _COUNTER)[0])


def renewed(pages: Pages, now: bytes) -> Pages:
    """``pages`` with a first page that every open connection notices: change counter and schema
    cookie go on from ``now``, the first page of today, where they would fall back."""
    first = bytearray(pages.images[1])
    counter = _NUMBER.pack((counter_of(now) + 1) & 0xFFFFFFFF)
    cookie = _NUMBER.pack((_NUMBER.unpack_from(now, _COOKIE)[0] + 1) & 0xFFFFFFFF)
    first[_COUNTER : _COUNTER + 4] = counter
    first[_COUNTER_AGAIN : _COUNTER_AGAIN + 4] = counter
    first[_COOKIE : _COOKIE + 4] = cookie
    images = ChainMap({1: bytes(first)}, cast(MutableMapping[int, bytes], pages.images))
    return Pages(size=pages.size, count=pages.count, images=images)


def overlaid(newer: Pages | None, older: Pages) -> Pages:
    """The pages of two journals of one file, of which the second ends where the first begins."""
    if newer is None:
        return older
    maps = (older.images, newer.images)
    images = ChainMap(*(cast(MutableMapping[int, bytes], each) for each in maps))
    return Pages(size=older.size, count=older.count, images=images)


class DatabaseFile:
    """The bytes of a database file, read through SQLite's own file layer: closing a descriptor of
    ours would drop the locks that this process holds on the file."""

    def __init__(self, path: Path) -> None:
        flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY
        self._file = apsw.VFSFile("", str(path), [flags, 0])

    def __enter__(self) -> DatabaseFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.xClose()

    def page_size(self) -> int:
        (size,) = _SHORT.unpack(self._file.xRead(2, 16))
        return 65536 if size == 1 else int(size)

    def counter(self) -> int:
        return counter_of(self._file.xRead(100, 0))

    def now(self, kept: Pages) -> Pages:
        """What stands today where ``kept`` would be put back: the way back from that. With what is
        in use today and would be free then, as whoever needs a page next writes over it."""
        count = self.count(kept.size)
        numbers = {*kept.images, *range(kept.count + 1, count + 1)}
        numbers |= self.free_under(kept) - self.free_under(None)
        wanted = sorted(n for n in numbers if n <= count and n != locked_page(kept.size))
        return Pages(size=kept.size, count=count, images=_Read(self, wanted, kept.size))

    def free_under(self, pages: Pages | None) -> set[int]:
        """The pages that nothing uses once ``pages`` are put over the file, but for those that
        list others. Raises ``JournalDamaged``."""
        size = self.page_size() if pages is None else pages.size
        images = {} if pages is None else pages.images
        count = self.count(size) if pages is None else pages.count

        def page(number: int) -> bytes:
            return images[number] if number in images else self.page(number, size)

        trunk = int(_NUMBER.unpack_from(page(1), _FREE)[0])
        seen: set[int] = set()
        free: set[int] = set()
        while trunk:
            if trunk in seen or trunk > count:
                raise JournalDamaged("its list of free pages is none")
            seen.add(trunk)
            listed = page(trunk)
            trunk, length = struct.unpack_from(">II", listed)
            if length > size // 4 - 2:
                raise JournalDamaged("its list of free pages is none")
            free.update(struct.unpack_from(f">{length}I", listed, 8))
        return free

    def count(self, size: int) -> int:
        return self._file.xFileSize() // size

    def page(self, number: int, size: int) -> bytes:
        return self._file.xRead(size, (number - 1) * size)


class _Read(Mapping[int, bytes]):
    """Pages of an open file, read one by one."""

    def __init__(self, file: DatabaseFile, numbers: Sequence[int], size: int) -> None:
        self._file = file
        self._numbers = dict.fromkeys(numbers)
        self._size = size

    def __getitem__(self, number: int) -> bytes:
        if number not in self._numbers:
            raise KeyError(number)
        return self._file.page(number, self._size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def sync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
