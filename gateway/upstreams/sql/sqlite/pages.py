"""Rollback journals as files: what SQLite keeps of a transaction's pages, read and written in its
own format (the "rollback journal" section of the file format)."""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

_MAGIC = bytes.fromhex("d9d505f920a163d7")
_HEADER = struct.Struct(">8sIIIII")
_NUMBER = struct.Struct(">I")
_SECTOR = 512
_UNCOUNTED = 0xFFFFFFFF
_LOCK_BYTE = 0x40000000
_COUNTER, _COOKIE, _COUNTER_AGAIN = 24, 40, 92


class JournalDamaged(Exception):
    """The file is not a whole rollback journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Page images by number, of a file that has ``count`` pages of ``size`` bytes."""

    size: int
    count: int
    images: dict[int, bytes]


def read_journal(path: Path) -> Pages:
    """Raises ``JournalDamaged`` and ``OSError``."""
    data = path.read_bytes()
    images: dict[int, bytes] = {}
    at, size, count = 0, 0, 0
    while at + _HEADER.size <= len(data):
        magic, records, nonce, pages, sector, page_size = _HEADER.unpack_from(data, at)
        if magic != _MAGIC:
            break
        if at == 0:
            size, count = page_size or 0, pages
            if size < 512 or sector < 32:
                raise JournalDamaged("its header is not whole")
            step = sector
        start = at + step
        whole = (len(data) - start) // (size + 8)
        records = whole if records == _UNCOUNTED else records
        if records > whole:
            raise JournalDamaged("it ends too early")
        for number, image in _records(data, start, records, size, nonce):
            images.setdefault(number, image)  # the first image is the oldest
        at = -(-(start + records * (size + 8)) // step) * step
    if 1 not in images:
        raise JournalDamaged("it does not hold the first page")
    return Pages(size=size, count=count, images=images)


def _records(
    data: bytes, start: int, records: int, size: int, nonce: int
) -> Iterator[tuple[int, bytes]]:
    for index in range(records):
        at = start + index * (size + 8)
        image = data[at + 4 : at + 4 + size]
        if _NUMBER.unpack_from(data, at + 4 + size)[0] != _checksum(image, nonce):
            raise JournalDamaged("a page does not have its checksum")
        yield _NUMBER.unpack_from(data, at)[0], image


def _checksum(image: bytes, nonce: int) -> int:
    return (nonce + sum(image[i] for i in range(len(image) - 200, 0, -200))) & 0xFFFFFFFF


def write_journal(path: Path, pages: Pages) -> None:
    """A journal that takes a file to ``pages``: durable when this returns."""
    nonce = secrets.randbits(32)
    header = _HEADER.pack(_MAGIC, len(pages.images), nonce, pages.count, _SECTOR, pages.size)
    with path.open("wb") as file:
        file.write(header.ljust(_SECTOR, b"\0"))
        for number, image in pages.images.items():
            checksum = _NUMBER.pack(_checksum(image, nonce))
            file.write(_NUMBER.pack(number) + image + checksum)
        file.flush()
        os.fsync(file.fileno())


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
    return Pages(size=pages.size, count=pages.count, images={**pages.images, 1: bytes(first)})


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

    def counter(self) -> int:
        return counter_of(self._file.xRead(100, 0))

    def now(self, kept: Pages) -> Pages:
        """What stands today where ``kept`` would be put back: the way back from that."""
        count = self._file.xFileSize() // kept.size
        numbers: Iterable[int] = sorted({*kept.images, *range(kept.count + 1, count + 1)})
        locked = _LOCK_BYTE // kept.size + 1
        images = {n: self._page(n, kept.size) for n in numbers if n <= count and n != locked}
        return Pages(size=kept.size, count=count, images=images)

    def _page(self, number: int, size: int) -> bytes:
        return self._file.xRead(size, (number - 1) * size)


def sync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
