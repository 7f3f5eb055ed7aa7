"""In write-ahead mode a change of the schema is taken back by a copy of the file."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.model import OnConflict, Permit, Reversibility
from gateway.upstreams.sql.limits import SqlLimits
from tests.upstreams.sql.sqlite.driving import call_of, change, driving, rows_of

SCHEMA = (
    "CREATE TABLE t(k INTEGER PRIMARY KEY, v); WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
    "FROM n WHERE i < 300) INSERT INTO t SELECT i, 'v' || i FROM n;"
    "CREATE VIEW w AS SELECT v FROM t; CREATE TABLE u(a); INSERT INTO u VALUES(1), (2);"
    "PRAGMA journal_mode = wal;"
)


def said(path: Path) -> object:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert db.pragma("integrity_check") == "ok"
        assert db.pragma("journal_mode") == "wal"
        schema = db.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        return sorted(map(repr, schema)), rows_of(path)
    finally:
        db.close()


async def test_a_dropped_table_comes_back_and_goes_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before = said(path)
        done = await driver.do("DROP VIEW w; DROP TABLE t")
        assert done.action.reversibility is Reversibility.EXACT
        after = said(path)
        assert after != before
        reader = apsw.Connection(str(path))  # stays open over all of it
        assert reader.execute("SELECT count(*) FROM u").fetchone() == (2,)
        steps, back = await driver.revert(done)
        assert [s.state for s in steps] == ["reverted"]
        assert steps[0].restored > 0
        assert said(path) == before
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (300,)
        assert back is not None
        steps, again = await driver.revert(back)
        assert [s.state for s in steps] == ["reverted"]
        assert said(path) == after
        assert again is not None
        assert (await driver.revert(again))[0][0].state == "reverted"
        assert said(path) == before
        reader.close()


async def test_a_session_of_schema_and_rows_comes_back_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA, limits=SqlLimits(max_capture_rows=50)) as driver:
        before = said(path)
        calls = [
            await driver.do(sql)
            for sql in (
                "UPDATE t SET v = 'x' WHERE k < 9",
                "CREATE TABLE made(a, b)",
                "INSERT INTO made VALUES(1, 2), (3, 4)",
                "DELETE FROM t",  # too many rows for images
                "ALTER TABLE made ADD COLUMN c DEFAULT 5",
                "INSERT INTO t VALUES(1, 'made up')",
            )
        ]
        steps, back = await driver.revert(*reversed(calls))
        assert {s.state for s in steps} == {"reverted"}
        assert said(path) == before
        assert back is not None
        assert (await driver.revert(back))[0][0].state == "reverted"
        assert b"made up".hex().upper() in str(said(path))


async def test_what_others_wrote_since_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        first = await driver.do("UPDATE t SET v = 'x' WHERE k = 1")
        done = await driver.do("DROP TABLE u")
        change(path, "UPDATE t SET v = 'theirs' WHERE k = 7")
        now = said(path)
        for mode in (OnConflict.ABORT, OnConflict.FORCE, OnConflict.SKIP):
            steps, _ = await driver.revert(done, on_conflict=mode)
            assert [(s.state, s.reason) for s in steps] == [("conflict", "revert.conflict")]
            assert said(path) == now
        steps, _ = await driver.revert(done, first)
        assert [s.state for s in steps] == ["conflict", "skipped"]
        assert said(path) == now
        steps, _ = await driver.revert(first)
        assert [s.state for s in steps] == ["reverted"]


async def test_others_cannot_write_between_the_look_and_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        done = await driver.do("DROP TABLE u")
        now = said(path)
        driver.number += 1
        call = call_of(driver.number, "revert")
        unwinding_of = driver.upstream.unwind(call, [(done.call.id, done.undo)], OnConflict.ABORT)
        async with unwinding_of as unwinding:
            await unwinding.run()
            with pytest.raises(apsw.BusyError):
                change(path, "INSERT INTO t VALUES(5000, 'late')")
        assert said(path) == now
        assert {p.suffix for p in driver.folder.iterdir()} <= {".copy"}


async def test_a_write_in_the_last_moment_is_an_error_without_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        done = await driver.do("DROP TABLE u")
        driver.number += 1
        call = call_of(driver.number, "revert")
        unwinding_of = driver.upstream.unwind(call, [(done.call.id, done.undo)], OnConflict.ABORT)
        async with unwinding_of as unwinding:
            await unwinding.run()
            await unwinding.capture()
            whole = unwinding._whole
            assert whole is not None
            opened = whole._opened  # type: ignore[union-attr]

            def late() -> object:
                change(path, "INSERT INTO t VALUES(5000, 'late')")
                return opened()

            monkeypatch.setattr(whole, "_opened", late)
            outcome = await unwinding.commit(Permit.issue(call.id, 1))
        assert (outcome.state, outcome.effect) == ("failed", "none")
        assert "u" not in rows_of(path)
        assert "5000" in str(rows_of(path)["t"])


async def test_copies_are_erased(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        done = await driver.do("DROP TABLE u")
        assert [p.name for p in driver.folder.iterdir()] == [f"{done.call.id}.copy"]
        await driver.upstream.erase(done.call.id)
        assert list(driver.folder.iterdir()) == []
        steps, _ = await driver.revert(done)
        assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")


@pytest.mark.parametrize("mode", [OnConflict.ABORT, OnConflict.SKIP, OnConflict.FORCE])
async def test_a_copy_that_was_changed_since_is_never_put_back(
    tmp_path: Path, mode: OnConflict
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        first = await driver.do("UPDATE t SET v = 'x' WHERE k = 1")
        done = await driver.do("CREATE TABLE made(a)")
        change(driver.folder / f"{done.call.id}.copy", "DELETE FROM t WHERE k > 5")
        steps, _ = await driver.revert(done, first, on_conflict=mode)
        assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")
        found = rows_of(path)
        assert len(found["t"]) == 300
        assert "made" in found


async def test_a_number_that_was_given_out_since_is_not_given_out_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    counted = "CREATE TABLE n(k INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO n VALUES(5);"
    async with driving(path, counted + SCHEMA) as driver:
        done = await driver.do("DROP TABLE u")
        change(path, "INSERT INTO n VALUES(90)", "DELETE FROM n WHERE k = 90")
        steps, _ = await driver.revert(done)
        assert [s.state for s in steps] == ["reverted"]
        change(path, "INSERT INTO n DEFAULT VALUES")
        assert [row[0] for row in rows_of(path)["n"]] == [5, 91]


@pytest.mark.parametrize("demanded", [True, False])
async def test_the_copy_is_rehearsed(tmp_path: Path, demanded: bool) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        action = await driver.judged("DROP TABLE u")
        call = call_of(driver.number, "DROP TABLE u")
        async with driver.upstream.attempt(call, action) as attempt:
            await attempt.run()
            await attempt.capture()
            assert await attempt.rehearse(demanded=demanded) is None
            (copy,) = driver.folder.glob("*.copy")
            change(copy, "DELETE FROM t WHERE k = 1")
            assert await attempt.rehearse(demanded=demanded) is not None
