from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.model import Reversibility, Undo
from gateway.store.images import Images
from gateway.store.shelves import FolderShelf
from gateway.upstreams.sql.postgres.session import TooMuch
from gateway.upstreams.sql.postgres.sink import Sink, opening


@pytest.mark.parametrize("sizes", [[], [10, 20], [20_000], [16_000, 16_000, 5]])
async def test_what_was_written_comes_back(tmp_path: Path, sizes: list[int]) -> None:
    images = Images(FolderShelf(tmp_path), inline_bytes=100)
    with ExitStack() as stack:
        sink = Sink(opening(images, stack, most=1 << 20))
        for number, size in enumerate(sizes):
            sink.write(bytes([number]) * size)
        assert sink.size == sum(sizes)
        image = await sink.finish()
        assert ("spooled" in image) == (sum(sizes) > 16 * 1024)
        undo = Undo(upstream="app", kind="k", reversibility=Reversibility.EXACT, **image)
        expected = b"".join(bytes([n]) * size for n, size in enumerate(sizes))
        assert b"".join(images.read(undo)) == expected


def test_a_full_spool_is_too_much(tmp_path: Path) -> None:
    images = Images(FolderShelf(tmp_path))
    with ExitStack() as stack:
        sink = Sink(opening(images, stack, most=30_000))
        sink.write(bytes(20_000))
        with pytest.raises(TooMuch):
            sink.write(bytes(20_000))
    assert list(tmp_path.glob("image-*")) == []
