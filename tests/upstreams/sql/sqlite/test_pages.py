"""Rollback journals are read and written as SQLite does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.upstreams.sql.sqlite.pages import (
    DatabaseFile,
    JournalDamaged,
    Pages,
    counter_of,
    locked_page,
    read_journal,
    renewed,
    write_journal,
)
from tests.upstreams.sql.sqlite.driving import change

PAGES = Pages(size=512, count=3, images={1: bytes(range(256)) * 2, 3: b"\x07" * 512})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_journal(tmp_path / "j", PAGES)
    assert read_journal(tmp_path / "j") == PAGES


def test_the_page_of_the_lock_is_not_written(tmp_path: Path) -> None:
    # The engine stops at its number when it plays a journal back.
    locked = locked_page(65536)
    assert locked == 16385
    image = bytes(65536)
    images = {1: image, locked: image, locked + 1: image}
    write_journal(tmp_path / "j", Pages(size=65536, count=locked + 1, images=images))
    assert list(read_journal(tmp_path / "j").images) == [1, locked + 1]


@pytest.mark.parametrize("at", [0, 9, 17, 600, 900, 1030])
def test_a_changed_byte_is_noticed(tmp_path: Path, at: int) -> None:
    # Checksums sample every 200th byte of a page: only those places and the header are tried.
    path = tmp_path / "j"
    write_journal(path, PAGES)
    data = bytearray(path.read_bytes())
    sampled = {600: 512 + 4 + 312, 900: 512 + 4 + 112, 1030: 512 + 4 + 512 + 3}.get(at, at)
    data[sampled] ^= 0x55
    path.write_bytes(bytes(data))
    try:
        assert read_journal(path) != PAGES
    except JournalDamaged:
        return


def test_the_first_page_goes_on_from_today() -> None:
    today = bytearray(512)
    today[24:28] = (41).to_bytes(4, "big")
    first = renewed(PAGES, bytes(today)).images[1]
    assert counter_of(first) == 42
    assert first[92:96] == first[24:28]


def test_the_counter_moves_with_every_write(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    change(path, "CREATE TABLE t(a)")
    with DatabaseFile(path) as file:
        before = file.counter()
    change(path, "INSERT INTO t VALUES(1)")
    with DatabaseFile(path) as file:
        assert file.counter() == before + 1
