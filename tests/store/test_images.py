"""Images in rows and on shelves, whole and piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ImageDamaged, SnapshotFailed, StoreUnavailable
from gateway.interfaces import Spool, SpoolFull
from gateway.model import Reversibility, Spooled, Undo
from gateway.store.images import Images, Known
from gateway.store.shelves import FolderShelf


def undo(image: bytes = b"", spooled: Spooled | None = None) -> Undo:
    return Undo(
        upstream="box",
        kind="test",
        reversibility=Reversibility.EXACT,
        image=image,
        spooled=spooled,
    )


async def placed(images: Images, image: bytes) -> Spooled:
    async with images.placing(undo(image)) as stored:
        return stored


async def none_known() -> Known:
    return Known()


def names(place: Path) -> set[str]:
    return {found.name for found in place.iterdir()}


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_what_is_spooled_comes_back(chunks: list[bytes]) -> None:
    images = Images()
    with images.spool(most=20_000) as spool:
        for chunk in chunks:
            spool.write(chunk)
        stored = spool.finish()
    whole = b"".join(chunks)
    assert (stored.size, stored.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert b"".join(images.read(undo(spooled=stored))) == whole


@pytest.mark.parametrize("seal", [True, False])
@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_byte_never_passes_for_the_image(
    seal: bool, image: bytes, data: st.DataObject
) -> None:
    images = Images()
    with images.spool(most=200) as spool:
        stored = spool.whole(image)
    packed = bytearray(stored.inline or b"")
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    edited = replace(stored, inline=bytes(packed), seal=stored.seal if seal else None)
    given_away = b""
    try:
        for piece in images.pieces(edited):
            given_away += piece
    except ImageDamaged:
        assert given_away == b""  # nothing before everything is proven
        return
    assert not seal
    assert given_away == image


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "images"


@pytest.fixture
async def images(place: Path) -> Images:
    made = Images(FolderShelf(place), inline_bytes=100)
    await made.open(none_known)
    return made


async def test_the_border_between_row_and_file(images: Images) -> None:
    small, large = await placed(images, b"a" * 100), await placed(images, b"a" * 101)
    assert (small.inline is not None, small.file) == (True, None)
    assert (large.inline, large.file is not None) == (None, True)
    assert await images.get(small) == b"a" * 100
    assert await images.get(large) == b"a" * 101


async def test_the_same_image_twice_is_two_files(images: Images) -> None:
    one, two = await placed(images, b"b" * 500), await placed(images, b"b" * 500)
    assert one.file != two.file
    await images.remove(one.file or "")
    assert await images.get(two) == b"b" * 500
    with pytest.raises(ImageDamaged):
        await images.get(one)


async def test_an_image_of_megabytes_comes_back_whole(images: Images) -> None:
    image = os.urandom(1 << 20) * 5
    assert await images.get(await placed(images, image)) == image


@pytest.mark.parametrize("seal", [True, False])
async def test_bytes_that_claim_to_be_larger_are_refused(images: Images, seal: bool) -> None:
    huge = await placed(images, bytes(10_000_000))
    with pytest.raises(ImageDamaged):
        await images.get(replace(huge, size=100, seal=huge.seal if seal else None))


async def test_an_image_is_never_whole_in_memory(images: Images) -> None:
    chunk = os.urandom(64 * 1024)
    tracemalloc.start()
    with images.spool(most=1 << 30) as spool:
        for _ in range(800):  # 50 MiB
            spool.write(chunk)
        stored = spool.finish()
        read = sum(len(piece) for piece in images.read(undo(spooled=stored)))
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == stored.size == 800 * len(chunk)
    assert peak < 4 << 20


async def test_compressing_does_not_hold_up_the_loop(images: Images) -> None:
    image = os.urandom(20 << 20)
    writing = asyncio.create_task(placed(images, image))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert (await writing).size == len(image)


def test_a_spool_takes_no_more_than_it_may(images: Images, place: Path) -> None:
    with images.spool(most=1000) as spool:
        spool.write(bytes(1000))
        with pytest.raises(SpoolFull):
            spool.write(b"x")
        with pytest.raises(SnapshotFailed):
            spool.finish()
    assert list(place.iterdir()) == []


def unfinished(images: Images) -> None:
    with images.spool(most=10_000) as spool:
        spool.write(os.urandom(5000))


def unwanted(images: Images) -> None:
    with images.spool(most=10_000) as spool:
        spool.whole(os.urandom(5000))


def broken_off(images: Images) -> None:
    def broken(spool: Spool) -> None:
        spool.write(os.urandom(5000))
        spool.finish()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), images.spool(most=10_000) as spool:
        broken(spool)


@pytest.mark.parametrize("leave", [unfinished, unwanted, broken_off])
def test_a_spool_that_no_permit_asked_for_leaves_nothing(
    images: Images, place: Path, leave: Callable[[Images], None]
) -> None:
    leave(images)
    assert list(place.iterdir()) == []


async def test_a_spool_that_a_permit_asked_for_stays(images: Images, place: Path) -> None:
    with images.spool(most=10_000) as spool:
        stored = spool.whole(os.urandom(5000))
        async with images.placing(undo(spooled=stored)) as again:
            assert again is stored
    assert names(place) == {stored.file}
    assert len(await images.get(stored)) == 5000


async def test_no_permit_is_given_for_a_spool_that_was_discarded(images: Images) -> None:
    with images.spool(most=10_000) as spool:
        stored = spool.whole(os.urandom(5000))
    with pytest.raises(SnapshotFailed):
        async with images.placing(undo(spooled=stored)):
            pass


async def test_leftovers_are_swept_but_not_what_is_written_now(images: Images, place: Path) -> None:
    known = await placed(images, os.urandom(500))
    orphan = await placed(images, os.urandom(500))
    (place / "image-abc.part").write_bytes(b"left by a crash")
    (place / "mine.txt").write_text("somebody's")
    with images.spool(most=10_000) as spool:
        spool.write(os.urandom(5000))  # not finished
        with images.spool(most=10_000) as other:
            finished = other.whole(os.urandom(5000))
            other_process = Images(FolderShelf(place))

            async def rows() -> Known:
                return Known(files=frozenset({known.file or ""}))

            await other_process.open(rows)
            left = names(place)
            assert {known.file, finished.file, "mine.txt"} < left
            assert orphan.file not in left
            assert "image-abc.part" not in left
            assert len(left) == 4
            spool.finish()


def test_a_folder_that_is_gone_fails_the_snapshot(images: Images, place: Path) -> None:
    place.rmdir()
    with images.spool(most=1000) as spool, pytest.raises(SnapshotFailed):
        spool.whole(b"c" * 500)


async def test_a_full_disk_fails_the_snapshot() -> None:
    class Full(FolderShelf):
        def slot(self):  # type: ignore[no-untyped-def]
            slot = super().slot()
            slot._fd, real = os.open("/dev/full", os.O_WRONLY), slot._fd
            os.close(real)
            return slot

    images = Images(Full(Path("/tmp")), inline_bytes=0)
    with pytest.raises(SnapshotFailed, match="space"):
        await placed(images, os.urandom(500))


async def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable):
        await Images(FolderShelf(tmp_path / "file")).open(none_known)


async def test_memory_alone_has_no_files() -> None:
    images = Images()
    stored = await placed(images, b"d" * 100_000)
    assert await images.get(stored) == b"d" * 100_000
    with pytest.raises(ImageDamaged):
        await images.get(replace(stored, inline=None, file="image-x.zst"))

    async def some() -> Known:
        return Known(files=frozenset({"image-x.zst"}))

    with pytest.raises(StoreUnavailable):
        await images.open(some)
