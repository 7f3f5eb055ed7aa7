"""Images in rows and in files."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ImageDamaged, SnapshotFailed, StoreUnavailable
from gateway.store.images import ImageFolder, InlineImages, compressed, restored


@given(st.binary(max_size=5000))
def test_what_is_packed_comes_back(image: bytes) -> None:
    stored = compressed(image)
    assert stored.inline is not None
    assert restored(stored.inline, stored) == image


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_byte_never_passes_for_the_image(image: bytes, data: st.DataObject) -> None:
    stored = compressed(image)
    packed = bytearray(stored.inline or b"")
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    try:
        passed = restored(bytes(packed), stored)
    except ImageDamaged:
        return
    assert passed == image


@pytest.fixture
async def folder(tmp_path: Path) -> ImageFolder:
    made = ImageFolder(tmp_path / "deep" / "images", inline_bytes=100)
    await made.open(set())
    return made


async def test_the_border_between_row_and_file(folder: ImageFolder) -> None:
    small, large = await folder.put(b"a" * 100), await folder.put(b"a" * 101)
    assert (small.inline is not None, small.file) == (True, None)
    assert (large.inline, large.file is not None) == (None, True)
    assert await folder.get(small) == b"a" * 100
    assert await folder.get(large) == b"a" * 101


async def test_the_same_image_twice_is_two_files(folder: ImageFolder) -> None:
    one, two = await folder.put(b"b" * 500), await folder.put(b"b" * 500)
    assert one.file != two.file
    await folder.remove(one.file or "")
    assert await folder.get(two) == b"b" * 500
    with pytest.raises(ImageDamaged):
        await folder.get(one)


async def test_an_image_of_megabytes_comes_back_whole(folder: ImageFolder) -> None:
    image = os.urandom(1 << 20) * 5
    stored = await folder.put(image)
    assert await folder.get(stored) == image


async def test_bytes_that_claim_to_be_larger_are_refused(folder: ImageFolder) -> None:
    huge = await folder.put(bytes(10_000_000))
    with pytest.raises(ImageDamaged):
        await folder.get(replace(huge, size=100))


async def test_compressing_does_not_hold_up_the_loop(folder: ImageFolder) -> None:
    image = os.urandom(20 << 20)
    writing = asyncio.create_task(folder.put(image))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert (await writing).size == len(image)


async def test_a_folder_that_is_gone_fails_the_snapshot(
    folder: ImageFolder, tmp_path: Path
) -> None:
    (tmp_path / "deep" / "images").rmdir()
    with pytest.raises(SnapshotFailed):
        await folder.put(b"c" * 500)


async def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable):
        await ImageFolder(tmp_path / "file").open(set())


async def test_memory_alone_has_no_files() -> None:
    images = InlineImages()
    stored = await images.put(b"d" * 100_000)
    assert await images.get(stored) == b"d" * 100_000
    with pytest.raises(ImageDamaged):
        await images.get(replace(stored, inline=None, file="image-x.zst"))
    with pytest.raises(StoreUnavailable):
        await images.open({"image-x.zst"})
