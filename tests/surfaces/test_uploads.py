from __future__ import annotations

import hashlib

import pytest

from gateway.errors import Overloaded
from gateway.surfaces.uploads import Shelf, Upload


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


async def test_uploads_share_their_room_and_give_it_back() -> None:
    shelf = Shelf(10)
    first, second = Upload(shelf), Upload(shelf)
    await first.write(b"12345678")
    with pytest.raises(Overloaded):
        await second.write(b"123")
    first.close()
    await second.write(b"123")
    second.close()
