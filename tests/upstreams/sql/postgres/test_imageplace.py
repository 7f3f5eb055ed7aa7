"""Images in a schema of the database that they protect: durable, theirs alone, out of reach."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from gateway.errors import ImageDamaged, SnapshotFailed, StoreUnavailable
from gateway.model import Permit, Reversibility, Spooled, Undo
from gateway.store.images import Images, Known
from gateway.store.sealing import Keys
from gateway.store.shelves import FolderShelf
from gateway.upstreams.sql.postgres import imageplace
from gateway.upstreams.sql.postgres.checks import images_findings
from gateway.upstreams.sql.postgres.grants import Logins
from gateway.upstreams.sql.postgres.imageplace import TableShelf
from tests.fixtures.postgres_case import Case

SCHEMA = "holdfast_images"


@pytest.fixture
def there(case: Case) -> Iterator[Case]:
    for statement in imageplace.preparations(schema=SCHEMA, capture="postgres"):
        case.admin.execute(statement)
    yield case
    case.admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def shelf_of(case: Case, url: str | None = None) -> TableShelf:
    return TableShelf(
        "app", url=url or case.server.url(case.database), schema=SCHEMA, agents="agent"
    )


@pytest.fixture
def shelf(there: Case) -> Iterator[TableShelf]:
    made = shelf_of(there)
    made.open()
    yield made
    made.close()


def left(case: Case) -> int:
    (number,) = case.admin.execute(f"SELECT count(*) FROM {SCHEMA}.parts").fetchone() or (-1,)
    return int(number)


def written(shelf: TableShelf, content: bytes, *, keep: bool) -> str:
    slot = shelf.slot()
    for start in range(0, len(content), 100_000):
        slot.write(content[start : start + 100_000])
    slot.commit()
    slot.close(keep=keep)
    return slot.name


def test_an_image_comes_back_as_it_was_written(there: Case, shelf: TableShelf) -> None:
    content = os.urandom(1_500_000)
    name = written(shelf, content, keep=True)
    assert b"".join(shelf.read(name)) == content
    assert left(there) == 3  # in parts, so that memory holds one of them
    assert shelf.holds(name)
    shelf.remove(name)
    shelf.remove(name)
    assert not shelf.holds(name)
    with pytest.raises(ImageDamaged):
        next(shelf.read(name))


def test_nothing_is_there_before_the_commit_or_after_it_was_given_up(
    there: Case, shelf: TableShelf
) -> None:
    slot = shelf.slot()
    slot.write(bytes(600_000))
    assert left(there) == 0
    slot.close(keep=False)
    assert left(there) == 0
    written(shelf, b"abc", keep=False)
    assert left(there) == 0


def test_only_what_nobody_writes_now_is_a_leftover(there: Case, shelf: TableShelf) -> None:
    other = shelf_of(there)
    kept = written(shelf, b"kept", keep=True)
    slot = shelf.slot()
    slot.write(b"committed, without a permit yet")
    slot.commit()
    assert other.idle() == [kept]
    slot._connection.close()  # the process that wrote it is gone
    until = time.monotonic() + 10  # the server has yet to notice
    while len(other.idle()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert sorted(other.idle()) == sorted([kept, slot.name])
    other.close()


@pytest.mark.parametrize("name", ["image-x.zst", "app/image-x.zst", "b/image-" + "0" * 32 + ".zst"])
def test_other_names_are_not_looked_for(shelf: TableShelf, name: str) -> None:
    with pytest.raises(ImageDamaged):
        next(shelf.read(name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP SCHEMA {s} CASCADE", "not there"),
        ("DROP TABLE {s}.parts", "not there"),
        ("ALTER SCHEMA {s} OWNER TO agent", "belong"),
        ("ALTER TABLE {s}.parts OWNER TO agent", "belong"),
        ("ALTER TABLE {s}.parts DISABLE ROW LEVEL SECURITY", "as it was made"),
        ("CREATE POLICY p ON {s}.parts USING (true)", "as it was made"),
        ("GRANT USAGE ON SCHEMA {s} TO agent", "rights"),
        ("GRANT SELECT ON {s}.parts TO PUBLIC", "rights"),
        ("GRANT DELETE ON {s}.parts TO agent", "rights"),
        ("GRANT pg_read_all_data TO agent", "agents reach"),
        ("GRANT pg_write_all_data TO agent", "agents reach"),
        ("GRANT postgres TO agent", "agents reach"),
        ("ALTER ROLE agent SUPERUSER", "agents reach"),
    ],
)
async def test_a_place_that_agents_could_reach_holds_no_images(
    there: Case, shelf: TableShelf, change: str, said: str
) -> None:
    there.admin.execute(change.format(s=SCHEMA).encode())
    try:
        with pytest.raises(OSError, match=said):
            shelf.open()
        with pytest.raises(OSError, match=said):
            shelf.slot()
        async with there.peers.session() as session:
            asked = Logins.of("postgresql://agent@h/d", "postgresql://k@h/d", SCHEMA)
            [finding] = await images_findings(session, "source app", asked)
            assert said in finding.message
            assert await images_findings(session, "x", replace(asked, images_schema=None)) == []
    finally:
        there.admin.execute("ALTER ROLE agent NOSUPERUSER")
        there.admin.execute("REVOKE pg_read_all_data, pg_write_all_data, postgres FROM agent")


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM {SCHEMA}.parts",
        f"DELETE FROM {SCHEMA}.parts",
        f"DROP SCHEMA {SCHEMA} CASCADE",
        f"TRUNCATE {SCHEMA}.parts",
        f"CREATE TABLE {SCHEMA}.more(id int)",
    ],
)
def test_agents_do_not_reach_it(there: Case, sql: str) -> None:
    url = there.server.url(there.database, "agent")
    with psycopg.connect(url) as agent, pytest.raises(psycopg.errors.InsufficientPrivilege):
        agent.execute(sql.encode())


def test_a_database_that_is_away_is_told_without_its_address(there: Case) -> None:
    away = shelf_of(there, "postgresql://u:hidden@127.0.0.1:1/d")
    with pytest.raises(OSError, match="cannot be reached") as told:
        away.slot()
    assert "hidden" not in str(told.value) + repr(away)
    with pytest.raises(SnapshotFailed):
        next(away.read("app/image-" + "0" * 32 + ".zst"))


# --- as the store uses it -----------------------------------------------------------------


def images_in(shelf: TableShelf, folder: Path, keys: Keys | None = None) -> Images:
    return Images(FolderShelf(folder), inline_bytes=1000, keys=keys, elsewhere={"app": shelf})


async def none() -> Known:
    return Known()


async def test_images_lie_there_encrypted_and_are_removed_with_proof(
    there: Case, shelf: TableShelf, tmp_path: Path
) -> None:
    keys = Keys({"k": bytes(range(32))}, active="k")
    images = images_in(shelf, tmp_path, keys)
    await images.open(none)
    content = b"canary" * 200_000
    with images.at("app").spool(most=10_000_000) as spool:
        spool.write(content)
        stored = spool.finish()
        async with images.placing(undo_of(stored)):
            assert stored.file is not None
            assert stored.file.startswith("app/")
    assert b"".join(images.at("app").read(undo_of(stored))) == content
    assert os.listdir(tmp_path) == []
    found = there.admin.execute(f"SELECT bytes FROM {SCHEMA}.parts").fetchall()
    assert found
    assert all(b"canary" not in bytes(part) for (part,) in found)
    await images.remove(stored.file)
    assert left(there) == 0
    with pytest.raises(StoreUnavailable):
        await images.remove("other/" + stored.file.partition("/")[2])


def undo_of(stored: Spooled) -> Undo:
    return Undo(
        upstream="app", kind="postgres.rows", reversibility=Reversibility.EXACT, manifest={},
        spooled=stored,
    )  # fmt: skip


async def test_what_a_crash_left_is_swept_and_what_a_row_names_stays(
    there: Case, shelf: TableShelf, tmp_path: Path
) -> None:
    kept, leftover = (written(shelf, text, keep=True) for text in (b"kept", b"left"))

    async def known() -> Known:
        return Known(files=frozenset({kept}))

    await images_in(shelf, tmp_path).open(known)
    assert shelf.holds(kept)
    assert not shelf.holds(leftover)


async def test_a_target_that_is_down_stops_no_start(there: Case, tmp_path: Path) -> None:
    away = shelf_of(there, "postgresql://u@127.0.0.1:1/d")
    await images_in(away, tmp_path).open(none)
    with pytest.raises(StoreUnavailable):
        await images_in(away, tmp_path).remove("app/image-" + "0" * 32 + ".zst")


async def test_a_call_with_large_images_is_committed_after_them_and_taken_back(
    there: Case, shelf: TableShelf, tmp_path: Path
) -> None:
    case = there
    case.setup("CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) "
               "FROM generate_series(1, 2000) i")  # fmt: skip
    before = case.dump()
    images = images_in(shelf, tmp_path)
    case.images = images.at("app")  # type: ignore[assignment]
    seen: list[int] = []
    async with case.agents.session() as session:
        attempt = case.attempt(session, "DELETE FROM t")
        await attempt.run()
        captured = await attempt.capture()
        seen.append(left(case))  # before the permit, and so before the commit
        assert case.dump()["public.t"] == before["public.t"]
        async with images.placing(captured.undo):  # type: ignore[union-attr]
            await attempt.commit(Permit.issue("call_1", 1))
    case.open_until.close()
    assert seen[0] > 0
    assert left(case) == seen[0]
    reverted = await case.revert(captured.undo)  # type: ignore[union-attr]
    assert reverted.states == ["reverted"]
    assert case.dump()["public.t"] == before["public.t"]


async def test_without_the_schema_the_call_is_refused_and_nothing_changes(
    case: Case, tmp_path: Path
) -> None:
    case.setup("CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) "
               "FROM generate_series(1, 2000) i")  # fmt: skip
    before = case.dump()
    case.images = images_in(shelf_of(case), tmp_path).at("app")  # type: ignore[assignment]
    with pytest.raises(SnapshotFailed, match="it is not there"):
        await case.call("DELETE FROM t")
    assert case.dump() == before
