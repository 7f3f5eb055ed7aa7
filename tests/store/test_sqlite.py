"""What only a store on disk has: durability, a lock, faults, a freeze among thousands."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.audit import verify
from gateway.errors import AuditUnavailable, ImageDamaged, SnapshotFailed, StoreUnavailable
from gateway.lifecycle import State
from gateway.model import Deny, Intent, Permit, Scope
from gateway.store.sqlite import SqliteStore
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import (
    FAILED,
    done,
    freeze,
    intended,
    permitted,
    running,
    sqlite_store,
    undo,
)


@pytest.fixture
async def disk(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    made = sqlite_store(tmp_path, clock)
    await made.open()
    yield made
    await made.close()


def files_under(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


@contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow past ``limit`` bytes."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_what_was_acknowledged_is_there_after_a_reopen(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = sqlite_store(tmp_path, clock)
    await store.open()
    call = await done(store, way_back=undo(b"z" * 5000))
    await store.close()
    again = sqlite_store(tmp_path, clock)
    await again.open()
    record = await again.call(call.id)
    assert record is not None
    assert record.state is State.SUCCEEDED
    assert await again.undo_of(call.id) == undo(b"z" * 5000)
    await again.close()


async def test_the_store_is_for_its_owner_alone(disk: SqliteStore, tmp_path: Path) -> None:
    await done(disk, way_back=undo(os.urandom(5000)))
    files = files_under(tmp_path)
    assert len(files) >= 4
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "images").stat().st_mode) == 0o700


async def test_a_second_process_is_refused_clearly(
    disk: SqliteStore, tmp_path: Path, clock: FakeClock
) -> None:
    second = sqlite_store(tmp_path, clock)
    with pytest.raises(StoreUnavailable, match="Another process"):
        await second.open()
    await disk.close()
    await second.open()
    await second.close()


async def test_every_write_is_synced_and_no_reader_can_write(disk: SqliteStore) -> None:
    found = await disk._writer.run(
        lambda c: [
            c.execute(f"PRAGMA {p}").fetchone()[0]
            for p in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    )
    assert found == ["wal", 2, 1, 1]
    with pytest.raises(StoreUnavailable):
        await disk._read(lambda t: t.beat("now"))


async def test_one_failing_operation_leaves_its_neighbours_whole(disk: SqliteStore) -> None:
    call = a_call()
    await intended(disk, call)
    answers = await asyncio.gather(
        intended(disk, a_call()),
        disk.freeze(freeze("f1", scope=Scope(agents=("nobody",)))),
        disk.freeze(freeze("f1")),
        disk.record("call.begin", {}),
        disk.refuse(call, Deny(reason="frozen", detail="x")),
        intended(disk, a_call()),
        return_exceptions=True,
    )
    assert [isinstance(a, BaseException) for a in answers] == [
        False,
        False,
        True,
        True,
        True,
        False,
    ]
    entries = await disk.entries()
    assert len(entries) == 4
    assert verify((e.seq, e.hash, e.body) for e in entries).fault is None


async def test_a_caller_that_goes_away_spoils_nothing(disk: SqliteStore) -> None:
    tasks = [asyncio.create_task(intended(disk, a_call())) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(a, Intent) for a in answers[1::2])
    await disk.ready()


# --- faults --------------------------------------------------------------------------------


async def test_without_an_audit_entry_nothing_moves(disk: SqliteStore, tmp_path: Path) -> None:
    call = a_call()
    token = await running(disk, call)
    with beside(tmp_path / "store.db") as other:
        other.execute(
            "CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(AuditUnavailable):
            await permitted(disk, token, call)
        with pytest.raises(AuditUnavailable):
            await intended(disk, a_call())
        with pytest.raises(AuditUnavailable):
            await disk.freeze(freeze())
        assert (await disk.snapshots())[0] == []
        assert await disk.freezes() == []
        assert len((await disk.calls())[0]) == 1
        other.execute("DROP TRIGGER no")
    assert isinstance(await permitted(disk, token, call), Permit)


async def test_a_full_disk_moves_nothing_and_is_survived(disk: SqliteStore, tmp_path: Path) -> None:
    call = a_call()
    token = await running(disk, call)
    before = [e.seq for e in await disk.entries()]
    size = (tmp_path / "store.db-wal").stat().st_size
    with full_disk(size + 2048):
        answers = await asyncio.gather(
            *(intended(disk, a_call()) for _ in range(20)), return_exceptions=True
        )
        assert {type(a) for a in answers} <= {StoreUnavailable, AuditUnavailable}
        with pytest.raises(StoreUnavailable):
            await disk.ready()
        assert [e.seq for e in await disk.entries()] == before
    await disk.ready()
    assert [e.seq for e in await disk.entries()] == before
    assert isinstance(await permitted(disk, token, call), Permit)


async def test_a_full_disk_for_images_refuses_the_permit(disk: SqliteStore, tmp_path: Path) -> None:

    call = a_call()
    token = await running(disk, call)
    with full_disk(4096), pytest.raises(SnapshotFailed):
        await permitted(disk, token, call, way_back=undo(os.urandom(50_000)))
    assert list((tmp_path / "images").iterdir()) == []
    assert (await disk.settle(token, FAILED)).state is State.FAILED


async def test_a_locked_store_is_unavailable_not_wrong(
    disk: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await disk._writer.run(lambda c: c.execute("PRAGMA busy_timeout = 20").fetchall())
    with beside(tmp_path / "store.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await intended(disk, a_call())
        other.execute("ROLLBACK")
    assert isinstance(await intended(disk, a_call()), Intent)


async def test_settled_rows_and_the_log_cannot_be_changed_by_a_statement(
    disk: SqliteStore, tmp_path: Path
) -> None:
    await done(disk)
    with beside(tmp_path / "store.db") as other:
        for statement in (
            "UPDATE calls SET state = 'failed'",
            "UPDATE calls SET effect = 'none'",
            "DELETE FROM calls",
            "UPDATE audit SET hash = ''",
            "DELETE FROM audit WHERE seq = 4",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                other.execute(statement)


@pytest.mark.parametrize("body", ["{}", b"{\xff}"])
async def test_a_changed_entry_is_named_even_if_it_is_no_text(
    disk: SqliteStore, tmp_path: Path, body: str | bytes
) -> None:
    await done(disk)
    with beside(tmp_path / "store.db") as other:
        other.execute("DROP TRIGGER audit_is_never_changed")
        other.execute("UPDATE audit SET body = CAST(? AS TEXT) WHERE seq = 2", (body,))
    verdict = verify((e.seq, e.hash, e.body) for e in await disk.entries())
    assert verdict.fault is not None
    assert verdict.fault.seq == 2


@pytest.mark.parametrize("size", [100, 5000])
async def test_a_damaged_image_is_never_handed_out(
    disk: SqliteStore, tmp_path: Path, size: int
) -> None:
    call = await done(disk, way_back=undo(os.urandom(size)))
    if size == 100:
        with beside(tmp_path / "store.db") as other:
            other.execute("UPDATE snapshots SET image = CAST(substr(image, 1, 90) AS BLOB)")
    else:
        [file] = (tmp_path / "images").iterdir()
        file.write_bytes(file.read_bytes()[:-40] + bytes(40))
    with pytest.raises(ImageDamaged):
        await disk.undo_of(call.id)
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    with pytest.raises(ImageDamaged):
        await disk.undo_of(call.id)


async def test_deleted_bytes_are_nowhere_on_disk(disk: SqliteStore, tmp_path: Path) -> None:
    image = os.urandom(900)  # not compressible: zstd keeps it as it is
    call = await done(disk, way_back=undo(image))
    probe = image[100:164]

    def places() -> list[str]:
        return [p.name for p in files_under(tmp_path) if probe in p.read_bytes()]

    assert places() != []
    [info] = (await disk.snapshots(call=call.id))[0]
    assert await disk.delete_snapshot(info.id, by="ann")
    assert places() == []


async def test_a_damaged_store_is_not_opened(tmp_path: Path, clock: FakeClock) -> None:
    store = sqlite_store(tmp_path, clock)
    await store.open()
    for _ in range(20):
        await done(store)
    await store.close()
    path = tmp_path / "store.db"
    data = bytearray(path.read_bytes())
    data[8192:20000] = os.urandom(20000 - 8192)
    path.write_bytes(bytes(data))
    with pytest.raises(StoreUnavailable):
        await store.open()


async def test_files_without_a_row_are_swept_at_open(tmp_path: Path, clock: FakeClock) -> None:
    store = sqlite_store(tmp_path, clock)
    await store.open()
    call = await done(store, way_back=undo(os.urandom(5000)))
    await store.close()
    images = tmp_path / "images"
    for name in ("image-lost.zst", "image-half.part", "notes.txt"):
        (images / name).write_bytes(b"x")
    await store.open()
    assert len(list(images.iterdir())) == 2
    assert (images / "notes.txt").exists()
    assert await store.undo_of(call.id) is not None
    await store.close()
