"""A change of the schema, or one too large for row images, is taken back as a whole file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.model import Deny, EffectState, OnConflict, Permit, Reversibility
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite.pages import DatabaseFile
from tests.upstreams.sql.sqlite.driving import Done, Driver, call_of, change, driving, rows_of

SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n);
CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE, pad);
CREATE INDEX c_p ON c(p);
CREATE VIEW v AS SELECT * FROM p;
CREATE TRIGGER p_d AFTER DELETE ON p BEGIN DELETE FROM c WHERE p = old.id; END;
WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 300)
  INSERT INTO p SELECT n, 'name ' || n, n FROM i;
INSERT INTO c SELECT id, id, zeroblob(300) FROM p;
"""
DDL = [
    "DROP TABLE c",
    "DROP TABLE p",
    "CREATE TABLE z AS SELECT * FROM p; DELETE FROM p",
    "CREATE TABLE z(a); CREATE INDEX c_n ON c(pad)",
    "ALTER TABLE p ADD COLUMN extra DEFAULT 5",
    "ALTER TABLE p DROP COLUMN n",
    "ALTER TABLE p RENAME TO q",
    "ALTER TABLE c RENAME COLUMN pad TO padded",
    "DROP INDEX c_p",
    "DROP VIEW v; DROP TRIGGER p_d",
    "CREATE TRIGGER t AFTER INSERT ON p BEGIN DELETE FROM c; END",
    "DROP TABLE c; DROP VIEW v; DROP TABLE p",
]


def digest(path: Path) -> str:
    """Of the file without its change counters and schema cookie, which only ever go on."""
    data = bytearray(path.read_bytes())
    for at in (24, 40, 92):
        data[at : at + 4] = b"\0\0\0\0"
    return hashlib.sha256(data).hexdigest()


def whole(path: Path) -> str:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return str(db.pragma("integrity_check"))
    finally:
        db.close()


@pytest.mark.parametrize("sql", DDL)
async def test_a_change_of_the_schema_comes_back_to_the_byte(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before, rows = digest(path), rows_of(path)
        done = await driver.do(sql)
        assert done.action.reversibility is Reversibility.EXACT
        after = digest(path)
        assert after != before
        steps, back = await driver.revert(done)
        assert (steps[0].state, steps[0].restored > 0) == ("reverted", True)
        assert digest(path) == before
        assert rows_of(path) == rows
        assert whole(path) == "ok"
        assert back is not None
        again, second = await driver.revert(back)
        assert again[0].state == "reverted"
        assert digest(path) == after
        assert whole(path) == "ok"
        assert second is not None
        assert (await driver.revert(second))[0][0].state == "reverted"
        assert digest(path) == before


async def test_open_connections_notice(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        other = apsw.Connection(str(path))
        try:
            other.set_busy_timeout(1000)
            assert other.execute("SELECT count(*) FROM c").fetchall() == [(300,)]
            done = await driver.do("DROP TABLE c; CREATE TABLE d(only_this)")
            assert other.execute("SELECT only_this FROM d").fetchall() == []
            await driver.revert(done)
            assert other.execute("SELECT count(*), max(pad) FROM c").fetchall() == [
                (300, b"\0" * 300)
            ]
            other.execute("CREATE TABLE later(a); INSERT INTO c VALUES(1000, 1, 1)")
        finally:
            other.close()
        assert (await driver.read("SELECT count(*) FROM c")).result is not None
        assert whole(path) == "ok"


@pytest.mark.parametrize("on_conflict", list(OnConflict))
async def test_it_is_refused_once_somebody_wrote(tmp_path: Path, on_conflict: OnConflict) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        done = await driver.do("DROP TABLE c")
        change(path, "UPDATE p SET n = 0 WHERE id = 1")
        left = digest(path)
        steps, back = await driver.revert(done, on_conflict=on_conflict)
        assert (steps[0].state, steps[0].reason) == ("conflict", "revert.conflict")
        assert steps[0].conflicts[0].resource == "main"
        assert back is None
        assert digest(path) == left


async def test_more_rows_than_may_be_kept_come_back_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA, limits=SqlLimits(max_capture_rows=50)) as driver:
        before = digest(path)
        done = await driver.do("UPDATE p SET name = name || '!'")
        assert done.ran.measured.rows == 300
        assert done.undo.image == b""
        steps, _ = await driver.revert(done)
        assert steps[0].state == "reverted"
        assert digest(path) == before


async def test_images_larger_than_may_be_kept_come_back_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA, limits=SqlLimits(max_capture_bytes=5000)) as driver:
        before = digest(path)
        done = await driver.do("UPDATE c SET pad = 1")
        assert done.undo.manifest["journal"]
        await driver.revert(done)
        assert digest(path) == before


async def test_without_a_journal_to_keep_a_change_of_the_schema_is_irreversible(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, f"PRAGMA auto_vacuum = FULL; {SCHEMA}") as driver:
        action = await driver.judged("DROP TABLE c")
        assert action.reversibility is Reversibility.IRREVERSIBLE
        assert "auto_vacuum" in str(action.why_irreversible)
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            await attempt.run()
            assert isinstance(await attempt.capture(), Deny)
        assert "c" in rows_of(path)
        findings = await driver.upstream.check()
        assert [f.level for f in findings] == ["info"]


async def prepared(driver: Driver) -> tuple[str, str]:
    """A revert that stopped after its permit; the digests before and after the call."""
    before = digest(driver.path)
    done = await driver.do("DROP TABLE c")
    call = call_of(90, "")
    undos = [(done.call.id, done.undo)]
    async with driver.upstream.unwind(call, undos, OnConflict.ABORT) as unwinding:
        await unwinding.run()
        captured = await unwinding.capture()
        assert not isinstance(captured, Deny)
        assert captured.receipt == "putback:call-0090"
        waiting = driver.folder / "call-0090.putback"
        kept = waiting.read_bytes()
    assert not waiting.exists()
    waiting.write_bytes(kept)  # a process that is killed cleans nothing up
    return before, digest(driver.path)


async def test_a_revert_that_never_committed_never_will(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        _, after = await prepared(driver)
        assert await driver.upstream.happened("putback:call-0090") is EffectState.NONE
        assert digest(driver.path) == after
        assert not (driver.folder / "call-0090.putback").exists()


async def test_a_crash_right_after_the_rename_is_finished_by_whoever_opens_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before, _ = await prepared(driver)
        (driver.folder / "call-0090.putback").rename(tmp_path / "a.db-journal")
        assert await driver.upstream.happened("putback:call-0090") is EffectState.APPLIED
        change(path, "SELECT * FROM p")
        assert digest(path) == before
        assert whole(path) == "ok"


async def test_a_read_after_a_crash_of_somebody_else_waits_for_the_recovery(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        await prepared(driver)
        (driver.folder / "call-0090.putback").rename(tmp_path / "a.db-journal")
        outcome = await driver.read("SELECT count(*) FROM c")
        assert outcome.result is not None
        assert outcome.result["rows"] == [[300]]


async def test_a_journal_that_is_damaged_or_gone_is_not_put_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        done = await driver.do("DROP TABLE c")
        kept = driver.folder / done.undo.manifest["journal"]["name"]
        after, good = digest(path), kept.read_bytes()
        for bad in (good[:-100], good[:2000] + b"\xff" * 200 + good[2200:], b"", b"x" * 3000):
            kept.write_bytes(bad)
            steps, back = await driver.revert(done)
            assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")
            assert back is None
        kept.unlink()
        steps, _ = await driver.revert(done)
        assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")
        assert digest(path) == after


async def test_a_rolled_back_call_keeps_no_journal(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        action = await driver.judged("DROP TABLE c")
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            await attempt.run()
            assert not isinstance(await attempt.capture(), Deny)
            assert list(driver.folder.iterdir()) != []
        assert list(driver.folder.iterdir()) == []


async def test_changes_of_rows_and_of_the_schema_come_back_together(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before, first_file = rows_of(path), digest(path)
        done = [
            await driver.do(sql)
            for sql in (
                "DROP VIEW v",
                "DELETE FROM p WHERE id < 10",
                "ALTER TABLE c ADD COLUMN extra",
                "UPDATE c SET extra = 1",
                "DROP TABLE c",
                "INSERT INTO p(id, n) VALUES(9999, 1)",
            )
        ]
        # Each journal begins where the next one's ends: the file comes back to the byte.
        assert [bool(d.undo.manifest["journal"]) for d in done] == [True] * 6
        after = rows_of(path)
        steps, back = await driver.revert(*reversed(done))
        assert {s.state for s in steps} == {"reverted"}
        assert (rows_of(path), digest(path)) == (before, first_file)
        assert whole(path) == "ok"
        assert back is not None
        again, second = await driver.revert(back)
        assert again[0].state == "reverted"
        assert rows_of(path) == after
        assert second is not None
        assert (await driver.revert(second))[0][0].state == "reverted"
        assert digest(path) == first_file


async def test_older_calls_come_back_by_row_below_those_that_come_back_as_a_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before = rows_of(path)
        first = await driver.do("DELETE FROM p WHERE id < 10")
        change(path, "INSERT INTO p(id, n) VALUES(7777, 5)")
        second = await driver.do("DROP TABLE c")
        third = await driver.do("UPDATE p SET n = -1 WHERE id = 20")
        after = rows_of(path)
        steps, back = await driver.revert(third, second, first)
        assert [s.state for s in steps] == ["reverted"] * 3
        change(path, "DELETE FROM p WHERE id = 7777")
        assert {k: v for k, v in rows_of(path).items() if k != "log"} == {
            k: v for k, v in before.items() if k != "log"
        }
        assert whole(path) == "ok"
        assert back is not None
        # Somebody wrote since, and this revert can only be taken back as a whole file.
        again, _ = await driver.revert(back)
        assert again[0].state == "conflict"
        assert rows_of(path) != after


@pytest.mark.parametrize("mode", list(OnConflict))
async def test_a_call_below_somebody_elses_write_that_has_no_rows_is_a_conflict(
    tmp_path: Path, mode: OnConflict
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        first = await driver.do("CREATE TABLE z(a)")
        change(path, "INSERT INTO p(id, n) VALUES(7777, 5)")
        second = await driver.do("DELETE FROM p WHERE id = 5")
        there = rows_of(path)
        steps, back = await driver.revert(second, first, on_conflict=mode)
        states = [s.state for s in steps]
        if mode is OnConflict.ABORT:
            assert (states, back) == (["skipped", "conflict"], None)
            assert rows_of(path) == there
        else:
            assert states == ["reverted", "conflict"]
            assert ("z" in rows_of(path)) is True
            assert len(rows_of(path)["p"]) == len(there["p"]) + 1


async def test_a_conflict_among_the_rows_leaves_the_schema_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        first = await driver.do("UPDATE p SET n = 7 WHERE id = 5")
        change(path, "UPDATE p SET n = 8 WHERE id = 5")
        second = await driver.do("DROP TABLE c")
        there, file = rows_of(path), digest(path)
        steps, back = await driver.revert(second, first)
        assert ([s.state for s in steps], back) == (["skipped", "conflict"], None)
        assert steps[1].conflicts[0].now is not None
        assert (rows_of(path), digest(path)) == (there, file)
        steps, back = await driver.revert(second, first, on_conflict=OnConflict.FORCE)
        assert [s.state for s in steps] == ["reverted"] * 2
        assert "c" in rows_of(path)


async def test_one_by_one_calls_come_back_while_nobody_else_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        file = digest(path)
        done = [await driver.do(f"CREATE TABLE z{n}(a)") for n in range(3)]
        for each in reversed(done):
            assert (await driver.revert(each))[0][0].state == "reverted"
        assert digest(path) == file


async def test_a_large_call_keeps_pages_instead_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    limits = SqlLimits(lock_timeout_s=1.0, row_images=20)
    async with driving(path, SCHEMA, limits=limits) as driver:
        file = digest(path)
        small = await driver.do("DELETE FROM c WHERE id <= 20")
        large = await driver.do("DELETE FROM c")
        assert large.ran.measured.tables["main.c"].deleted == 280
        assert [d.undo.manifest["rowwise"] for d in (small, large)] == [True, False]
        assert (small.undo.manifest["journal"], large.undo.image) == ({}, b"")
        steps, _ = await driver.revert(large, small)
        assert [s.state for s in steps] == ["reverted"] * 2
        assert rows_of(path)["c"] == rows_of(path)["c"]
        assert whole(path) == "ok"
        assert digest(path) != file  # rows that came back by row lie elsewhere in the file


async def test_a_permit_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        done = await driver.do("DROP TABLE c")
        after = digest(path)
        undos = [(done.call.id, done.undo)]
        async with driver.upstream.unwind(call_of(9, ""), undos, OnConflict.ABORT) as unwinding:
            await unwinding.run()
            await unwinding.capture()
            with pytest.raises(ValueError, match="permit"):
                await unwinding.commit(Permit.issue("call-0001", 1))
        assert digest(path) == after


async def test_a_dropped_tables_rows_are_measured(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        done = await driver.do("DROP TABLE c")
        measured = done.ran.measured
        assert measured.as_json()["tables"]["main.c"]["deleted"] == 300
        assert measured.share == 1.0


WIDE = (
    "CREATE TABLE wide(id INTEGER PRIMARY KEY, v NOT NULL); CREATE INDEX wide_v ON wide(v);"
    "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 30000)"
    " INSERT INTO wide SELECT i, hex(randomblob(60)) FROM g"
)
SPILLING = SqlLimits(lock_timeout_s=0.2, max_page_bytes=4096)


def raw(path: Path) -> bytes:
    """Read as SQLite reads: opening the file in this process would drop the locks on it."""
    with DatabaseFile(path) as file:
        size = file.page_size()
        return b"".join(file.page(n, size) for n in range(1, file.count(size) + 1))


@pytest.mark.parametrize(
    ("sql", "row_images"),
    [
        ("UPDATE wide SET v = v || 'x' WHERE id > 5", 100),
        ("UPDATE wide SET v = v || 'x' WHERE id > 5", 50_000),
        ("DELETE FROM wide WHERE id % 2", 0),
        ("UPDATE wide SET v = 'x' || v; DROP TABLE wide", 0),
        ("INSERT INTO wide(v) SELECT v || 'y' FROM wide", 0),
    ],
)
async def test_more_pages_than_memory_is_for_go_to_the_file_and_come_back(
    tmp_path: Path, sql: str, row_images: int
) -> None:
    limits = replace(SPILLING, row_images=row_images)
    async with driving(tmp_path / "a.db", WIDE, limits=limits) as driver:
        before, bytes_before = rows_of(driver.path), raw(driver.path)
        action = await driver.judged(sql)
        call = call_of(driver.number, sql)
        async with driver.upstream.attempt(call, action) as attempt:
            ran = await attempt.run()
            assert raw(driver.path) != bytes_before, "nothing went to the file"
            captured = await attempt.capture()
            assert not isinstance(captured, Deny), captured
            assert not captured.undo.manifest["rowwise"]
            refusal = await attempt.rehearse(demanded=True)
            assert refusal is not None
            assert refusal.reason == "undo.unavailable"
            assert await attempt.rehearse(demanded=False) is None
            outcome = await attempt.commit(Permit.issue(call.id, 1))
        assert ran.measured.tables["main.wide"].total >= 15_000
        assert rows_of(driver.path) != before
        done = Done(call, action, ran, captured.undo, outcome)
        steps, again = await driver.revert(done)
        assert [s.state for s in steps] == ["reverted"]
        assert again is not None
        assert rows_of(driver.path) == before
        steps, _ = await driver.revert(again)
        assert rows_of(driver.path) != before


async def test_pages_that_went_to_the_file_go_with_a_call_that_is_left(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", WIDE, limits=SPILLING) as driver:
        before = raw(driver.path)
        action = await driver.judged("UPDATE wide SET v = v || 'x'")
        async with driver.upstream.attempt(call_of(driver.number, ""), action) as attempt:
            await attempt.run()
            assert raw(driver.path) != before
            await attempt.capture()
        assert raw(driver.path) == before
        assert not list(driver.folder.iterdir())


_BIG = (
    "CREATE TABLE t(k INTEGER PRIMARY KEY, v); WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
    "FROM n WHERE i < 60) INSERT INTO t SELECT i, hex(randomblob(2000)) FROM n;"
)
_NEEDY = (
    "INSERT INTO t SELECT 1000 * j + i, hex(randomblob(3000)) FROM (SELECT 1 AS i UNION SELECT 2), "
    "(SELECT 1 AS j UNION SELECT 2 UNION SELECT 3 UNION SELECT 4)"
)
_PAGES = SqlLimits(row_images=0)


@pytest.mark.parametrize("first", ["DELETE FROM t WHERE k > 5", "DELETE FROM t", "DROP TABLE t"])
@pytest.mark.parametrize("at_once", [False, True])
async def test_pages_that_one_call_freed_and_the_next_needed_come_back(
    tmp_path: Path, first: str, at_once: bool
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, _BIG, limits=_PAGES) as driver:
        before = rows_of(path)
        calls = [await driver.do(first)]
        if "DROP" in first:
            calls.append(await driver.do("CREATE TABLE t(k, v)"))
        calls.append(await driver.do(_NEEDY))
        calls.reverse()
        for group in [calls] if at_once else [[call] for call in calls]:
            steps, _ = await driver.revert(*group)
            assert {s.state for s in steps} == {"reverted"}
        assert rows_of(path) == before
        assert whole(path) == "ok"


async def test_what_a_revert_frees_and_the_next_call_needs_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, _BIG, limits=_PAGES) as driver:
        await driver.do("DELETE FROM t WHERE k > 5")  # free pages for what follows
        done = await driver.do(_NEEDY)
        after = rows_of(path)
        _, back = await driver.revert(done)
        other = await driver.do(_NEEDY.replace("1000", "5000"))
        await driver.revert(other)
        assert back is not None
        steps, _ = await driver.revert(back)
        assert steps[0].state == "reverted"
        assert rows_of(path) == after
        assert whole(path) == "ok"


async def test_a_journal_without_the_pages_that_its_call_freed_reaches_only_the_last_change(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, _BIG, limits=_PAGES) as driver:
        desk = driver.upstream._opened.source.desk  # type: ignore[union-attr]
        desk.db.pragma("secure_delete", False)
        first = await driver.do("DELETE FROM t WHERE k > 5")
        second = await driver.do(_NEEDY)
        now = rows_of(path)
        steps, _ = await driver.revert(second, first)
        assert [s.state for s in steps] == ["skipped", "conflict"]
        assert rows_of(path) == now
        _, back = await driver.revert(second)
        assert back is not None
        steps, _ = await driver.revert(first)
        assert [s.state for s in steps] == ["conflict"]
        assert whole(path) == "ok"


async def test_a_list_of_free_pages_that_is_none_stops_the_revert(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, _BIG, limits=_PAGES) as driver:
        done = await driver.do("CREATE INDEX t_v ON t(v)")
        with path.open("r+b") as file:
            file.seek(32)
            file.write((1 << 20).to_bytes(4, "big"))
        damaged = path.read_bytes()
        with pytest.raises(UpstreamError, match="free pages"):
            await driver.revert(done)
        assert path.read_bytes() == damaged


async def test_a_file_that_shrinks_by_itself_keeps_rows_and_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, f"PRAGMA auto_vacuum = FULL; {_BIG}") as driver:
        before = rows_of(path)
        done = await driver.do("DELETE FROM t WHERE k > 5")
        assert path.stat().st_size < 40_000
        steps, _ = await driver.revert(done)
        assert [s.state for s in steps] == ["reverted"]
        assert rows_of(path) == before
        action = await driver.judged("DROP TABLE t")
        async with driver.upstream.attempt(
            call_of(driver.number, "DROP TABLE t"), action
        ) as attempt:
            await attempt.run()
            captured = await attempt.capture()
        assert isinstance(captured, Deny)
        assert "auto_vacuum" in captured.detail
        assert rows_of(path) == before
