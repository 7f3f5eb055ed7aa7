"""Images in an object store, over real HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import ImageDamaged, SnapshotFailed, StoreUnavailable
from gateway.model import Reversibility, Spooled, Undo
from gateway.store.buckets import PART, BucketShelf, Patience
from gateway.store.images import Images, Known
from gateway.store.memory import MemoryStore
from gateway.store.sealing import Keys, new_key
from tests.fixtures.fakes import FakeClock
from tests.fixtures.object_store import ENVIRON, ObjectStore, failing
from tests.fixtures.stores import done, undo

QUICK = Patience(connect_s=0.5, request_s=0.5, retries=0, whole_s=1.5)
LARGE = PART * 2 + 12_345


class Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


def shelf_of(store: ObjectStore, **more: timedelta) -> BucketShelf:
    return BucketShelf(store.url, endpoint=store.endpoint, clock=Now(), **more)  # type: ignore[arg-type]


def an_undo(stored: Spooled) -> Undo:
    return Undo(upstream="box", kind="test", reversibility=Reversibility.EXACT, spooled=stored)


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it became true within ten seconds."""
    until = time.monotonic() + 10
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("size", [10, 100_000, LARGE])
@pytest.mark.parametrize("sealed", [False, True])
def test_an_image_goes_there_in_pieces_and_comes_back(
    object_store: ObjectStore, size: int, sealed: bool
) -> None:
    keys = Keys({"k": new_key()}, active="k") if sealed else None
    images = Images(shelf_of(object_store), inline_bytes=0, keys=keys)
    image = os.urandom(size)
    with images.spool(most=size) as spool:
        for start in range(0, size, 1_000_000):
            spool.write(image[start : start + 1_000_000])
        stored = spool.finish()
        assert object_store.keys() == [f"holdfast/{stored.file}"]
        assert b"".join(images.read(an_undo(stored))) == image


async def test_rows_refer_to_objects_and_deleting_removes_them(object_store: ObjectStore) -> None:
    images = Images(shelf_of(object_store), inline_bytes=10)
    store = MemoryStore(images=images, clock=FakeClock())
    await store.open()
    way_back = undo(os.urandom(5000))
    call = await done(store, way_back=way_back)
    assert await store.undo_of(call.id) == way_back
    assert len(object_store.keys()) == 1
    assert await store.delete_snapshot(f"snap_{call.id[5:]}", by="ann")
    assert object_store.keys() == []


@pytest.mark.parametrize("size", [100_000, LARGE])
@pytest.mark.parametrize("finish", [False, True])
def test_what_no_permit_asked_for_is_removed(
    object_store: ObjectStore, size: int, finish: bool
) -> None:
    images = Images(shelf_of(object_store), inline_bytes=0)
    with images.spool(most=size) as spool:
        spool.write(os.urandom(size))
        if finish:
            spool.finish()
            assert len(object_store.keys()) == 1
    assert eventually(lambda: object_store.keys() == [] and object_store.uploads() == [])


async def test_leftovers_are_swept_once_nobody_can_need_them(object_store: ObjectStore) -> None:
    images = Images(shelf_of(object_store), inline_bytes=0)
    async with images.placing(undo(os.urandom(500))) as stored:
        pass

    async def none() -> Known:
        return Known()

    await Images(shelf_of(object_store), inline_bytes=0).open(none)
    assert object_store.keys() == [f"holdfast/{stored.file}"]
    object_store.client.put_object(Bucket="images", Key="holdfast/theirs.txt", Body=b"x")
    await Images(shelf_of(object_store, grace=timedelta(0)), inline_bytes=0).open(none)
    assert object_store.keys() == ["holdfast/theirs.txt"]


async def test_an_object_that_was_changed_or_is_gone_is_refused(object_store: ObjectStore) -> None:
    images = Images(shelf_of(object_store), inline_bytes=0)
    store = MemoryStore(images=images, clock=FakeClock())
    await store.open()
    call = await done(store, way_back=undo(os.urandom(5000)))
    [key] = object_store.keys()
    object_store.client.put_object(Bucket="images", Key=key, Body=b"other bytes")
    with pytest.raises(ImageDamaged):
        await store.undo_of(call.id)
    object_store.client.delete_object(Bucket="images", Key=key)
    with pytest.raises(ImageDamaged):
        await store.undo_of(call.id)


def test_nothing_there_is_ever_replaced(object_store: ObjectStore) -> None:
    slot = shelf_of(object_store).slot()
    slot.write(b"new")
    key = f"holdfast/{slot.name}"
    object_store.client.put_object(Bucket="images", Key=key, Body=b"old")
    with pytest.raises(OSError, match="has an object of that name"):
        slot.commit()
    assert object_store.client.get_object(Bucket="images", Key=key)["Body"].read() == b"old"


def test_a_name_never_leads_out_of_the_prefix(object_store: ObjectStore) -> None:
    for name in ("../x", "image-x.zst/../../y", "x"):
        with pytest.raises(ImageDamaged):
            next(shelf_of(object_store).read(name))


# --- stores that fail -----------------------------------------------------------------------


def down() -> AbstractContextManager[str]:
    @contextlib.contextmanager
    def nobody_listens() -> Iterator[str]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"

    return nobody_listens()


def denied() -> AbstractContextManager[str]:
    return failing(403, "AccessDenied")


def full() -> AbstractContextManager[str]:
    return failing(507, "InsufficientStorage")


def slow() -> AbstractContextManager[str]:
    return failing(200, "Late", after_s=3.0)


def without_bucket() -> AbstractContextManager[str]:
    return failing(404, "NoSuchBucket")


FAILURES = [down, denied, full, slow, without_bucket]


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_store_that_fails_fails_the_snapshot_soon_and_says_no_secret(
    failure: Callable[[], AbstractContextManager[str]], size: int
) -> None:
    with failure() as endpoint:
        shelf = BucketShelf("s3://images/holdfast", endpoint=endpoint, patience=QUICK, clock=Now())
        images = Images(shelf, inline_bytes=0)
        started = time.monotonic()
        with images.spool(most=size) as spool:
            with pytest.raises(SnapshotFailed) as caught:
                spool.whole(os.urandom(size))
            assert time.monotonic() - started < 5
    for secret in ENVIRON.values():
        assert secret not in caught.value.detail


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("failure", [down, denied, slow])
async def test_a_gateway_does_not_start_on_a_store_that_fails(
    failure: Callable[[], AbstractContextManager[str]],
) -> None:
    async def none() -> Known:
        return Known()

    with failure() as endpoint:
        shelf = BucketShelf("s3://images/holdfast", endpoint=endpoint, patience=QUICK, clock=Now())
        with pytest.raises(StoreUnavailable):
            await Images(shelf).open(none)


@pytest.mark.usefixtures("credentials")
def test_an_image_that_cannot_be_read_now_is_not_called_damaged() -> None:
    with down() as endpoint:
        shelf = BucketShelf("s3://images/holdfast", endpoint=endpoint, patience=QUICK, clock=Now())
        with pytest.raises(SnapshotFailed):
            next(shelf.read("image-x.zst"))


async def test_deleting_waits_for_a_store_that_is_down(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    """The undo ends at once; the proof comes when the bytes are gone."""
    shelf = BucketShelf(
        object_store.url, endpoint=object_store.endpoint, patience=QUICK, clock=Now()
    )
    images = Images(shelf, inline_bytes=10)
    clock = FakeClock()
    store = MemoryStore(images=images, clock=clock)
    await store.open()
    call = await done(store, way_back=undo(os.urandom(5000)))
    with down() as nowhere:
        images._shelf = BucketShelf(object_store.url, endpoint=nowhere, patience=QUICK, clock=Now())
        with pytest.raises(StoreUnavailable):
            await store.delete_snapshot(f"snap_{call.id[5:]}", by="ann")
        with pytest.raises(StoreUnavailable):
            await store.expire_snapshots(clock.now())
    assert await store.undo_of(call.id) is None
    [info] = (await store.snapshots())[0]
    assert info.deleted_at is not None
    assert info.erased_at is None
    images._shelf = shelf
    assert await store.expire_snapshots(clock.now()) == 0
    assert object_store.keys() == []
    [info] = (await store.snapshots())[0]
    assert info.erased_at is not None


def test_no_thread_is_left_behind(object_store: ObjectStore) -> None:
    images = Images(shelf_of(object_store), inline_bytes=0)
    with images.spool(most=LARGE) as spool:
        spool.write(os.urandom(LARGE))
        spool.finish()
    assert eventually(lambda: not any(t.name.startswith("image-") for t in threading.enumerate()))
