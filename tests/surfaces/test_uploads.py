from __future__ import annotations

import hashlib
import time

import pytest

from gateway.errors import Overloaded
from gateway.surfaces.uploads import KEPT_S, Shelf, Upload


async def test_an_upload_is_read_as_often_as_it_is_sent() -> None:
    shelf = Shelf(10_000_000)
    upload = Upload(shelf)
    data = bytes(range(256)) * 4096
    for start in range(0, len(data), 100_000):
        await upload.write(data[start : start + 100_000])
    assert upload.size == len(data)
    assert upload.sha256 == hashlib.sha256(data).hexdigest()
    for _ in range(2):
        pieces = [piece async for piece in upload.chunks()]
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) < len(data)
    upload.close()
    upload.close()
    assert [piece async for piece in upload.chunks()] in ([], [bytes(upload._memory)])


async def test_a_small_upload_needs_no_file() -> None:
    upload = Upload(Shelf(100))
    await upload.write(b"abc")
    assert [piece async for piece in upload.chunks()] == [b"abc"]
    assert upload._file is None
    upload.close()


async def test_an_upload_waits_for_a_person_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf(100)
    first, again = Upload(shelf), Upload(shelf)
    await first.write(b"abc")
    await again.write(b"abc")
    shelf.keep(first)
    shelf.keep(again)
    assert shelf.find(first.sha256) is again
    assert shelf.find("0" * 64) is None
    assert shelf._held == 3
    later = time.monotonic() + KEPT_S + 1
    monkeypatch.setattr("gateway.surfaces.uploads.time.monotonic", lambda: later)
    assert shelf.find(first.sha256) is None
    assert shelf._held == 0


async def test_uploads_share_their_room_and_give_it_back() -> None:
    shelf = Shelf(10)
    first, second = Upload(shelf), Upload(shelf)
    await first.write(b"12345678")
    with pytest.raises(Overloaded):
        await second.write(b"123")
    first.close()
    await second.write(b"123")
    second.close()
