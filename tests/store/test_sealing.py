"""Images that are encrypted: on their own, in the rows of both stores, and when keys rotate."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ImageDamaged, Malformed, StoreUnavailable
from gateway.model import Spooled, Undo
from gateway.store.images import Images
from gateway.store.memory import MemoryStore
from gateway.store.sealing import (
    CHUNK,
    Keys,
    Sealer,
    Wrapped,
    new_key,
    open_text,
    opened,
    seal_text,
)
from gateway.store.shelves import FolderShelf
from gateway.store.sqlite import SqliteStore
from gateway.store.transactional import TransactionalStore
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import DONE, done, permitted, running, undo

OLD, NEW = new_key(), new_key()
CANARY = b"canary@example.org"


def sealed(image: bytes, piece: int = 50_000) -> tuple[Sealer, bytes]:
    sealer = Sealer()
    parts = [sealer.add(image[i : i + piece]) for i in range(0, len(image), piece)]
    return sealer, b"".join([*parts, sealer.end()])


def read(key: bytes, packed: bytes) -> bytes:
    return b"".join(
        opened(key, iter([packed[i : i + 70_001] for i in range(0, len(packed), 70_001)]))
    )


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
def test_what_is_sealed_opens(size: int) -> None:
    image = os.urandom(size)
    sealer, packed = sealed(image)
    assert read(sealer.key, packed) == image
    assert len(packed) == size + 16 * max(1, -(-size // CHUNK))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    sealer, packed = sealed(bytes(2 * CHUNK + 100))
    edited = bytearray(packed)
    edited[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ImageDamaged):
        read(sealer.key, bytes(edited))


def without_the_end(chunks: list[bytes]) -> list[bytes]:
    return chunks[:-1]


def in_another_order(chunks: list[bytes]) -> list[bytes]:
    return [chunks[1], chunks[0], *chunks[2:]]


def one_twice(chunks: list[bytes]) -> list[bytes]:
    return [chunks[0], chunks[0], *chunks[1:]]


def one_left_out(chunks: list[bytes]) -> list[bytes]:
    return [chunks[0], *chunks[2:]]


def nothing(chunks: list[bytes]) -> list[bytes]:
    return []


def longer(chunks: list[bytes]) -> list[bytes]:
    return [*chunks, chunks[-1]]


@pytest.mark.parametrize(
    "edit", [without_the_end, in_another_order, one_twice, one_left_out, nothing, longer]
)
def test_chunks_have_their_order_and_their_end(
    edit: Callable[[list[bytes]], list[bytes]],
) -> None:
    sealer, packed = sealed(os.urandom(3 * CHUNK + 5))
    whole = CHUNK + 16
    chunks = [packed[i : i + whole] for i in range(0, len(packed), whole)]
    assert read(sealer.key, b"".join(chunks)) == read(sealer.key, packed)
    with pytest.raises(ImageDamaged):
        read(sealer.key, b"".join(edit(chunks)))


def test_a_key_opens_only_what_it_was_wrapped_for() -> None:
    keys = Keys({"k": OLD}, active="k")
    wrapped = keys.wrap(b"x" * 32, b"call 1")
    assert keys.unwrap(wrapped, b"call 1") == b"x" * 32
    with pytest.raises(ImageDamaged):
        keys.unwrap(wrapped, b"call 2")
    with pytest.raises(ImageDamaged):
        keys.unwrap(Wrapped(id="k", key=b"short"), b"call 1")
    with pytest.raises(StoreUnavailable, match="other"):
        keys.unwrap(replace(wrapped, id="other"), b"call 1")


def test_keys_are_not_shown() -> None:
    sealer = Sealer()
    shown = repr(Keys({"k": OLD}, active="k")) + repr(sealer)
    shown += repr(Spooled(size=1, sha256="", key=sealer.key, inline=b"secret"))
    for secret in (OLD, sealer.key, b"secret"):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def test_a_text_opens_with_its_key_only() -> None:
    text = seal_text(OLD, '{"k": "é"}')
    assert open_text(OLD, text) == '{"k": "é"}'
    for key, other in ((NEW, text), (OLD, text[:-4]), (OLD, "no base64!")):
        with pytest.raises(ImageDamaged):
            open_text(key, other)


# --- in the rows of a store -----------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
async def house(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Callable[[Keys | None], TransactionalStore]]:
    """Makes a store over the same rows and files again, with other keys."""
    opened_ones: list[TransactionalStore] = []

    def make(keys: Keys | None) -> TransactionalStore:
        images = Images(FolderShelf(tmp_path / "images"), inline_bytes=1000, keys=keys)
        store: TransactionalStore
        if request.param == "sqlite":
            store = SqliteStore(tmp_path / "store.db", images=images, clock=clock)
        else:
            store = MemoryStore(images=images, clock=clock)
            if opened_ones:
                store._tables = opened_ones[0]._tables  # type: ignore[attr-defined]
        opened_ones.append(store)
        return store

    yield make
    for store in opened_ones:
        await store.close()  # type: ignore[attr-defined]


def ring(*ids: str, active: str | None = None) -> Keys:
    known = {"old": OLD, "new": NEW}
    return Keys({id: known[id] for id in ids}, active=active or ids[0])


def image(size: int) -> bytes:
    return (CANARY + os.urandom(32)) * (size // 50)


def stored_bytes(folder: Path) -> bytes:
    return b"".join(found.read_bytes() for found in folder.rglob("*") if found.is_file())


@pytest.mark.parametrize("size", [500, 50_000])
async def test_nothing_of_an_image_or_manifest_is_readable_at_rest(
    house: Callable[[Keys | None], TransactionalStore], tmp_path: Path, size: int
) -> None:
    store = house(ring("old"))
    await store.open()  # type: ignore[attr-defined]
    way_back = replace(undo(image(size)), manifest={"row": CANARY.decode()})
    call = await done(store, way_back=way_back)  # type: ignore[arg-type]
    assert CANARY not in await asyncio.to_thread(stored_bytes, tmp_path)
    assert await store.undo_of(call.id) == way_back
    [info] = (await store.snapshots())[0]
    assert info.key == "old"
    permit = [json.loads(e.body) for e in await store.entries() if '"call.permit"' in e.body]
    assert [entry["snapshot"]["key"] for entry in permit] == ["old"]


@pytest.mark.parametrize("size", [500, 50_000])
async def test_a_spooled_image_comes_back_with_its_key(
    house: Callable[[Keys | None], TransactionalStore], size: int
) -> None:
    store = house(ring("old"))
    await store.open()  # type: ignore[attr-defined]
    call = a_call()
    token = await running(store, call)  # type: ignore[arg-type]
    images = store._images
    with images.spool(most=size) as spool:
        spool.write(image(size))
        way_back = replace(undo(b""), spooled=spool.finish())
        await permitted(store, token, call, way_back=way_back)  # type: ignore[arg-type]
    await store.settle(token, DONE)
    kept = await store.undo_of(call.id)
    assert kept is not None
    assert kept.spooled == way_back.spooled
    assert CANARY in b"".join(images.read(kept))


async def two_calls(store: TransactionalStore) -> tuple[tuple[str, Undo], tuple[str, Undo]]:
    found = []
    for _ in range(2):
        way_back = undo(image(50_000))
        found.append(((await done(store, way_back=way_back)).id, way_back))  # type: ignore[arg-type]
    return found[0], found[1]


def rows(store: TransactionalStore) -> Iterator[tuple[str, dict[str, object]]]:
    for id, row in store._tables._snapshots.items():  # type: ignore[attr-defined]
        yield id, row._asdict()


@pytest.mark.parametrize(
    "cells",
    [
        ("file",),
        ("file", "seal", "packed"),
        ("file", "seal", "packed", "sha256", "size"),
        ("file", "seal", "packed", "sha256", "size", "key_id", "data_key", "manifest"),
        ("manifest",),
        ("data_key",),
    ],
)
async def test_an_image_in_another_calls_place_does_not_open(
    tmp_path: Path, clock: FakeClock, cells: tuple[str, ...]
) -> None:
    images = Images(FolderShelf(tmp_path / "images"), inline_bytes=1000, keys=ring("old"))
    store = MemoryStore(images=images, clock=clock)
    await store.open()
    (one, _), (other, _) = await two_calls(store)
    kept = store._tables._snapshots
    first, second = kept[f"snap_{one[5:]}"], kept[f"snap_{other[5:]}"]
    moved = {cell: getattr(second, cell) for cell in cells}
    kept[first.id] = first._replace(**moved)
    with pytest.raises(ImageDamaged):
        await store.undo_of(one)
    assert await store.undo_of(other) is not None


def edited(file: Path) -> None:
    packed = bytearray(file.read_bytes())
    packed[len(packed) // 2] ^= 1
    file.write_bytes(bytes(packed))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("keys", [None, ring("old")], ids=["plain", "sealed"])
@pytest.mark.parametrize("spoil", [edited, cut, emptied, removed])
async def test_an_image_that_was_touched_on_disk_is_refused(
    tmp_path: Path, clock: FakeClock, keys: Keys | None, spoil: Callable[[Path], None]
) -> None:
    images = Images(FolderShelf(tmp_path / "images"), inline_bytes=1000, keys=keys)
    store = MemoryStore(images=images, clock=clock)
    await store.open()
    (one, _), (other, way_back) = await two_calls(store)
    row = store._tables._snapshots[f"snap_{one[5:]}"]
    await asyncio.to_thread(spoil, tmp_path / "images" / str(row.file))
    with pytest.raises(ImageDamaged):
        await store.undo_of(one)
    assert await store.undo_of(other) == way_back


@pytest.mark.parametrize("keys", [None, ring("new")], ids=["none", "another"])
async def test_a_missing_key_is_said_at_the_start(
    house: Callable[[Keys | None], TransactionalStore], keys: Keys | None
) -> None:
    store = house(ring("old"))
    await store.open()  # type: ignore[attr-defined]
    call = await done(store)  # type: ignore[arg-type]
    await store.close()  # type: ignore[attr-defined]
    again = house(keys)
    with pytest.raises(StoreUnavailable, match="not configured: old"):
        await again.open()  # type: ignore[attr-defined]
    right = house(ring("new", "old"))
    await right.open()  # type: ignore[attr-defined]
    assert await right.undo_of(call.id) is not None


async def test_rotation_wraps_the_keys_anew_and_leaves_the_images(
    house: Callable[[Keys | None], TransactionalStore], tmp_path: Path
) -> None:
    plain = house(None)
    await plain.open()  # type: ignore[attr-defined]
    unsealed = await done(plain)  # type: ignore[arg-type]
    await plain.close()  # type: ignore[attr-defined]
    before = house(ring("old"))
    await before.open()  # type: ignore[attr-defined]
    made = [await done(before, way_back=undo(image(size))) for size in (500, 50_000)]  # type: ignore[arg-type]
    await before.close()  # type: ignore[attr-defined]
    files = await asyncio.to_thread(stored_bytes, tmp_path / "images")

    turning = house(ring("new", "old"))
    await turning.open()  # type: ignore[attr-defined]
    turned = await turning.rotate_keys(by="ann")
    assert (turned.key, turned.rewrapped, turned.damaged, turned.plain) == ("new", 2, 0, 1)
    assert (await turning.rotate_keys(by="ann")).rewrapped == 0
    [first, second] = [json.loads(e.body) for e in (await turning.entries())[-2:]]
    assert (first["event"], first["from"], first["rewrapped"], first["by"]) == (
        "snapshots.rotate",
        ["old"],
        2,
        "ann",
    )
    assert second["rewrapped"] == 0
    await turning.close()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(stored_bytes, tmp_path / "images") == files

    after = house(ring("new"))
    await after.open()  # type: ignore[attr-defined]
    for call in (*made, unsealed):
        assert await after.undo_of(call.id) is not None


async def test_rotation_goes_round_a_key_that_was_edited(tmp_path: Path, clock: FakeClock) -> None:
    images = Images(keys=ring("old"))
    store = MemoryStore(images=images, clock=clock)
    await store.open()
    (one, _), (other, _) = await two_calls(store)
    row = store._tables._snapshots[f"snap_{one[5:]}"]
    store._tables._snapshots[row.id] = row._replace(data_key=b"x" * 60)
    images.keys = ring("new", "old")
    turned = await store.rotate_keys(by="ann")
    assert (turned.rewrapped, turned.damaged) == (1, 1)
    assert await store.undo_of(other) is not None


async def test_without_keys_there_is_no_rotation(clock: FakeClock) -> None:
    store = MemoryStore(clock=clock)
    await store.open()
    with pytest.raises(Malformed):
        await store.rotate_keys(by="ann")


async def test_a_deleted_image_loses_its_key(tmp_path: Path, clock: FakeClock) -> None:
    """So that no copy of the file that somebody kept can be opened."""
    images = Images(FolderShelf(tmp_path / "images"), inline_bytes=1000, keys=ring("old"))
    store = MemoryStore(images=images, clock=clock)
    await store.open()
    (one, _), _ = await two_calls(store)
    assert await store.delete_snapshot(f"snap_{one[5:]}", by="ann")
    row = store._tables._snapshots[f"snap_{one[5:]}"]
    assert (row.data_key, row.image, row.file, row.manifest) == (None, None, None, "{}")
