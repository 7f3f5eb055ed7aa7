"""Large reverts part by part: as exact as those that see all at once, and no larger in memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from gateway.interfaces import Rehearsing
from gateway.model import OnConflict, Permit
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.options import size
from tests.upstreams.sql.mysql.test_unwind import T


async def test_a_conflict_in_a_later_part_changes_nothing(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    done = await case.call("UPDATE t SET v = 'agent'")
    case.run("UPDATE t SET v = 'person' WHERE id = 6")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], ["changed"])
    assert parts == ["swept", "not in bulk"]
    assert case.dump() == there
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert reverted.states == ["partial"]
    assert case.run("SELECT v FROM t ORDER BY id") == [
        *((f"v{n}",) for n in range(1, 6)), ("person",)
    ]  # fmt: skip


async def test_a_unique_value_that_others_took_is_met(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t")
    case.run("INSERT INTO t VALUES (77, 'x', 0, 'c5')")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], ["unique"])
    assert parts == ["swept", "not in bulk"]
    assert case.dump() == there


async def test_unique_values_that_moved_between_parts(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    before = case.dump()
    first = await case.call("UPDATE t SET code = CONCAT('c', id - 1) ORDER BY id")
    assert (await case.revert(first.undo)).states == ["reverted"]
    assert parts == ["swept", "bulk"]
    assert case.dump() == before


async def test_no_reference_is_left_without_its_row(case: Case, parts: list[str]) -> None:
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
    )
    done = await case.call("INSERT INTO p VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)")
    case.run("INSERT INTO c VALUES (1, 5)")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], ["referenced"])
    assert parts == ["swept", "not in bulk"]
    assert case.dump() == there


async def test_several_tables_go_together(case: Case, parts: list[str]) -> None:
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) "
        "ON DELETE CASCADE)",
        "INSERT INTO p SELECT seq, 0 FROM seq_1_to_5",
        "INSERT INTO c SELECT seq, 1 + seq % 5 FROM seq_1_to_11",
    )
    before = case.dump()
    done = await case.call("DELETE FROM p WHERE id < 4")
    reverted = await case.revert(done.undo)
    assert (reverted.states, parts) == (["reverted"], ["bulk"])
    assert reverted.steps[0].restored == 3 + 7
    assert case.dump() == before


async def test_triggers_do_not_fire(case: Case, parts: list[str]) -> None:
    case.setup(
        *T,
        "CREATE TABLE log (what VARCHAR(9))",
        "CREATE TRIGGER i AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES ('i')",
        "CREATE TRIGGER u AFTER UPDATE ON t FOR EACH ROW INSERT INTO log VALUES ('u')",
    )
    before = case.dump()
    done = await case.call("DELETE FROM t")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert parts == ["swept", "bulk"]
    assert case.dump() == before


async def test_a_large_call_is_rehearsed_part_by_part(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    before = case.dump()
    call, action = case.request("x"), await case.parse("UPDATE t SET n = id + 1")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        assert isinstance(attempt, Rehearsing)
        captured = await attempt.capture()
        assert await attempt.rehearse(demanded=True) is None
        await attempt.commit(Permit.issue(call.id, 1))
    assert [row[0] for row in case.run("SELECT n FROM t ORDER BY id")] == [2, 3, 4, 5, 6, 7]
    assert (await case.revert(captured.undo)).states == ["reverted"]
    assert case.dump() == before


async def test_images_are_shown_by_pages_across_parts(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    done = await case.call("DELETE FROM t")
    shown = [
        [row["key"]["id"] for row in await case.source.images(done.undo, offset=at, limit=3)]
        for at in (0, 1, 4, 6)
    ]
    assert shown == [["1", "2", "3"], ["2", "3", "4"], ["5", "6"], []]
    assert parts == ["swept"]


_MEASURE = """
import asyncio, resource, sys
from pathlib import Path
from gateway.store.images import Images
from gateway.store.shelves import FolderShelf
from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer

async def main(port, database, folder, sql):
    shelf = FolderShelf(Path(folder))
    shelf.open()
    limits = SqlLimits(max_capture_rows=10**7, max_capture_bytes=1 << 34, statement_timeout_s=600)
    case = Case(MariadbServer(Path(), port), database, limits=limits, images=Images(shelf))
    done = await case.call(sql)
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"], reverted
    await case.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
"""


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    "sql", ["UPDATE t SET n = n + 1 WHERE id <= {}", "DELETE FROM t WHERE id <= {}"]
)
async def test_memory_does_not_grow_with_the_rows(
    mariadb_server: MariadbServer, case: Case, tmp_path: Path, sql: str
) -> None:
    """``HOLDFAST_ROWS`` sets how many are changed. Capture, revert, and capture of the revert."""
    many = size("rows", 50_000)
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, n INT)",
        f"INSERT INTO t SELECT seq, REPEAT(LPAD(seq, 32, 0), 4), seq FROM seq_1_to_{many}",
    )
    used: dict[int, int] = {}
    for rows in (1_000, many):
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _MEASURE, str(mariadb_server.port), case.database,
            str(tmp_path), sql.format(rows), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await run.communicate()
        assert run.returncode == 0
        used[rows] = int(said)
    # Held at once, 50,000 rows took more than 50 MB.
    assert used[many] - used[1_000] < 16, used
