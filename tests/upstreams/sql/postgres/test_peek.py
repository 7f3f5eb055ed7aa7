"""Which way finds the rows, and that none of them believes a wrong answer."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import psycopg
import pytest

from gateway.upstreams.sql.postgres import glance, peek
from gateway.upstreams.sql.postgres.peek import Peek
from tests.fixtures.options import size
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer

_T = """
CREATE TABLE t(id int PRIMARY KEY, v text, n int);
INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 3000) i;
"""


@pytest.fixture(scope="module")
def target(each_postgres: PostgresServer) -> PostgresServer:
    return each_postgres


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ways that were gone, in order. A glance would be enough for few rows."""
    monkeypatch.setattr(glance, "MOST", -1)
    taken: list[str] = []
    for name in ("_ended_near", "_made_near", "_diff"):
        real = getattr(Peek, name)

        def noted(self: Peek, *args: Any, real: Any = real, name: str = name) -> Any:
            taken.append(name)
            return real(self, *args)

        monkeypatch.setattr(Peek, name, noted)
    return taken


async def _exact(case: Case, *statements: str) -> dict[str, int]:
    """Runs, reverts, compares; how many rows of ``t`` were captured."""
    before = case.dump()
    done = await case.call(*statements)
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
    entries = {entry["name"]: entry for entry in done.undo.manifest["tables"]}
    return {side: entries["t"][side]["rows"] for side in ("before", "after")}


async def test_few_rows_are_found_near(case: Case, ways: list[str]) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'x' WHERE id BETWEEN 10 AND 12")
    (entry,) = done.undo.manifest["tables"]
    assert (entry["before"]["rows"], entry["after"]["rows"]) == (3, 3)
    assert ways == ["_ended_near", "_made_near"]


async def test_without_a_hint_both_sides_are_scanned(case: Case, ways: list[str]) -> None:
    case.setup(_T)
    case.hints = False
    done = await case.call("UPDATE t SET v = 'x' WHERE id % 2 = 0", "DELETE FROM t WHERE id = 1")
    (entry,) = done.undo.manifest["tables"]
    assert (entry["before"]["rows"], entry["after"]["rows"]) == (1501, 1500)
    assert "_ended_near" not in ways
    assert "_diff" not in ways


async def test_a_hint_that_misleads_is_not_believed(case: Case, ways: list[str]) -> None:
    """The rule changes other rows of the table than those that the statement speaks of."""
    case.setup(
        _T + "CREATE RULE aside AS ON UPDATE TO t WHERE OLD.id = 7 DO INSTEAD "
        "DELETE FROM t WHERE id = 8"
    )
    rows = await _exact(case, "UPDATE t SET v = 'y' WHERE id = 7")
    assert rows == {"before": 1, "after": 0}
    assert ways[0] == "_ended_near"


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE t SET v = 'a' WHERE id = 1", "UPDATE t SET v = 'b' WHERE id = 1"),
        ("INSERT INTO t VALUES (9000, 'x', 1)", "DELETE FROM t WHERE id IN (1, 9000)"),
        ("DELETE FROM t WHERE id = 5", "INSERT INTO t VALUES (5, 'y', 2)",
         "DELETE FROM t WHERE id = 5"),
    ],
)  # fmt: skip
async def test_rows_changed_twice_are_told_by_comparing(
    case: Case, ways: list[str], statements: tuple[str, ...]
) -> None:
    case.setup(_T)
    assert (await _exact(case, *statements))["before"] == 1
    assert "_diff" in ways


async def test_a_locked_row_does_not_stand_in_for_a_changed_one(case: Case) -> None:
    """One row is changed twice and another merely locked: the numbers agree by chance."""
    case.setup(
        _T + "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER keep BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    for hints in (True, False):
        case.hints = hints
        before = case.dump()
        done = await case.call(
            "UPDATE t SET n = n + 1 WHERE id = 1", "UPDATE t SET n = n + 1 WHERE id IN (1, 2)"
        )
        rows = await case.shown(done.undo)
        assert [row["key"] for row in rows] == [{"id": "1"}]
        await case.revert(done.undo)
        assert case.dump() == before


async def test_a_row_that_others_share_is_found_by_comparing(case: Case, ways: list[str]) -> None:
    case.setup(_T)
    case.hints = False
    before = case.dump()
    with psycopg.connect(case.server.url(case.database)) as other:
        other.execute("SELECT * FROM t WHERE id < 4 FOR KEY SHARE")
        done = await case.call("UPDATE t SET v = 'x' WHERE id < 6")
        other.rollback()
    assert "_diff" in ways
    assert done.undo.manifest["tables"][0]["before"]["rows"] == 5
    await case.revert(done.undo)
    assert case.dump() == before


async def test_windows_cover_the_whole_table(
    case: Case, monkeypatch: pytest.MonkeyPatch, ways: list[str]
) -> None:
    monkeypatch.setattr(peek, "_WINDOW", 3)
    case.setup(_T)
    rows = await _exact(
        case, "UPDATE t SET n = n + 1 WHERE id % 3 = 0", "UPDATE t SET n = n + 1 WHERE id % 2 = 0",
        "INSERT INTO t SELECT i, repeat('x', 900), 0 FROM generate_series(5000, 5200) i",
    )  # fmt: skip
    assert rows == {"before": 2000, "after": 2201}
    assert "_diff" in ways


async def test_ids_of_an_earlier_epoch_are_not_taken_for_ours(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if every short id had been given before."""
    monkeypatch.setattr(Peek, "_unique", property(lambda self: False))
    case.setup(_T)
    before = case.dump()
    done = await case.call("UPDATE t SET v = 'x' WHERE id < 20")
    await case.revert(done.undo)
    assert case.dump() == before


_MEASURE = """
import asyncio, resource, sys
from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.options import size
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer
from pathlib import Path

async def main(port, database, rows, hints):
    case = Case(PostgresServer(Path(), port, Path()), database)
    case.limits = SqlLimits(max_capture_rows=10**7, max_capture_bytes=1 << 34)
    case.hints = hints
    done = await case.call(f"UPDATE t SET n = n + 1 WHERE id <= {rows}", *(
        [] if hints else [f"UPDATE t SET v = v || 'x' WHERE id <= {rows // 2}"]))
    assert (await case.revert(done.undo)).states == ["reverted"]
    await case.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "hints"))
"""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("way", ["hints", "compared"])
async def test_memory_does_not_grow_with_the_rows(
    postgres_server: PostgresServer, way: str
) -> None:
    """``HOLDFAST_ROWS`` sets how many are changed. Capture, revert, and capture of the revert."""
    many = size("rows", 100_000)
    database = postgres_server.create_database()
    with psycopg.connect(postgres_server.url(database), autocommit=True) as admin:
        admin.execute("CREATE TABLE t(id int PRIMARY KEY, v text, n int)")
        admin.execute(
            "INSERT INTO t SELECT i, repeat(md5(i::text), 4), i FROM generate_series(1, %s) i",
            (many,),
        )
        admin.execute("DO $$ BEGIN CREATE ROLE agent LOGIN; "
                      "EXCEPTION WHEN duplicate_object THEN NULL; END $$")  # fmt: skip
        admin.execute("GRANT ALL ON t TO agent")
    used: dict[int, int] = {}
    for rows in (1_000, many):
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _MEASURE, str(postgres_server.port), database, str(rows), way,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await run.communicate()
        assert run.returncode == 0
        used[rows] = int(said)
    postgres_server.drop_database(database)
    # The images of 100,000 rows are 15 MB and more on each side.
    assert used[many] - used[1_000] < 16, used


async def test_many_rows_are_copied_by_two_connections(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[int] = []
    real = peek.copy_all

    async def noted(parts: Any, *args: Any, **named: Any) -> Any:
        shared.append(len({session.pid for session, _ in parts}))
        return await real(parts, *args, **named)

    monkeypatch.setattr(peek, "copy_all", noted)
    monkeypatch.setattr(peek, "_SHARED", 500)
    case.setup(f"{_T}; DELETE FROM t WHERE id % 50 = 3; VACUUM t".replace("VACUUM t", "ANALYZE t"))
    case.hints = False
    rows = await _exact(case, "DELETE FROM t WHERE id > 1200")
    assert rows == {"before": 1764, "after": 0}
    assert await _exact(case, "UPDATE t SET v = 'x'", "DELETE FROM t WHERE id <= 900") == {
        "before": 2940, "after": 2058,
    }  # fmt: skip
    assert shared == [2, 2]
    async with case.peers.session(), case.peers.session(), case.peers.session():
        assert (await _exact(case, "DELETE FROM t"))["before"] == 2940
    assert shared == [2, 2]


def test_pages_that_lie_close_are_one_stretch() -> None:
    rows = {(f"({page},{line})", "7") for page in (3, 4, 9, 40, 41) for line in (1, 5)}
    assert peek.spans_of(rows) == ((3, 9), (40, 41))
    assert peek.within((3, 9)) == "x.ctid >= '(3,0)' AND x.ctid < '(10,0)'"
    assert peek.spans_of(set()) == ()
    assert peek.spans_of({(f"({20 * page},1)", "7") for page in range(33)}) == ()
