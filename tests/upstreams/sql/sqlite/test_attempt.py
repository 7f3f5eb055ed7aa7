"""What an agent's statement did is captured net and taken back to the byte, whatever its shape."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import Action, Deny, EffectState, Permit, Reversibility
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite.connections import bound_memory
from tests.upstreams.sql.sqlite.driving import call_of, change, driving, rows_of

SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT, n INTEGER DEFAULT 5,
  twice AS (n * 2) VIRTUAL, label TEXT AS (name || '!') STORED);
CREATE TABLE kids(k INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE grandkids(g TEXT PRIMARY KEY, k REFERENCES kids(k) ON DELETE CASCADE) WITHOUT ROWID;
CREATE TABLE fans(f INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE SET NULL);
CREATE TABLE bag(a, b);
CREATE TABLE pair(x, y, z, PRIMARY KEY(y, x)) WITHOUT ROWID;
CREATE TABLE loosekey(k TEXT PRIMARY KEY, v);
CREATE TABLE uq(id INTEGER PRIMARY KEY, u UNIQUE, v BLOB);
CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
CREATE TABLE nocase(k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE made(k TEXT PRIMARY KEY, v, w AS (v || k) VIRTUAL) WITHOUT ROWID;
CREATE TABLE strict_one(i INTEGER, r REAL, t TEXT, b BLOB, x ANY) STRICT;
CREATE TABLE hides("rowid" TEXT, v);
CREATE TABLE log(what, id);
CREATE TABLE "we""ird ✓"("a b" INTEGER PRIMARY KEY, "q""q");
CREATE VIEW v AS SELECT id, name FROM p;
CREATE TRIGGER v_u INSTEAD OF UPDATE ON v BEGIN UPDATE p SET name = new.name WHERE id = old.id; END;
CREATE TRIGGER p_u AFTER UPDATE ON p BEGIN INSERT INTO log VALUES('u', new.id); END;
CREATE TRIGGER p_d BEFORE DELETE ON p BEGIN UPDATE bag SET b = b + 1 WHERE a = old.id; END;
INSERT INTO p(id, name) VALUES(1, 'ann'), (2, 'Bjørn ✓'), (3, NULL), (4, 'dee');
INSERT INTO kids VALUES(10, 1), (11, 1), (12, 2), (13, NULL);
INSERT INTO grandkids VALUES('a', 10), ('b', 11), ('c', 12);
INSERT INTO fans VALUES(1, 1), (2, 1), (3, 4);
INSERT INTO bag VALUES(1, 0), (1, 0), (2, 0.5), (NULL, x'00ff'), (1, 0), (4, 9223372036854775807);
INSERT INTO pair VALUES(1, 1, 'a'), (1, 2, 'b'), ('1', 1, -0.0), (1.5, 1, 1e300);
INSERT INTO loosekey VALUES(NULL, 1), (NULL, 2), ('x', 3), (x'01', 4), ('', NULL);
INSERT INTO uq VALUES(1, 'a', x'00'), (2, 'b', zeroblob(5000)), (3, NULL, NULL), (4, NULL, '');
INSERT INTO auto(v) VALUES('one'), ('two');
INSERT INTO nocase VALUES('A', 1), ('b', 2);
INSERT INTO made(k, v) VALUES('m', 1), ('n', NULL);
INSERT INTO strict_one VALUES(1, 2, 'x', x'01', 3.0), (NULL, 0.1, NULL, NULL, 'any');
INSERT INTO hides VALUES('r', 1), ('s', 2);
INSERT INTO "we""ird ✓" VALUES(1, 'x'), (2, 'y');
INSERT INTO loosekey VALUES(CAST(x'ff41' AS TEXT), CAST(x'80' AS TEXT));
"""

SHAPES = [
    "DELETE FROM p WHERE id = 1",
    "DELETE FROM p",
    "DELETE FROM p WHERE id IN (SELECT p FROM kids) RETURNING id, name",
    "UPDATE p SET name = 'x' WHERE id = 2",
    "UPDATE p SET n = n + 1",
    "DELETE FROM fans; UPDATE p SET id = id + 10 WHERE id < 3",
    "UPDATE p SET id = id + 5 WHERE id = 3 RETURNING id, twice, label",
    "UPDATE v SET name = 'through the view' WHERE id = 1",
    "UPDATE p SET n = bag.b FROM bag WHERE bag.a = p.id",
    "UPDATE kids SET p = NULL WHERE k = 10",
    "INSERT INTO p(id, name) VALUES(7, 'new'), (8, NULL) RETURNING *",
    "INSERT INTO p(name) SELECT name FROM p WHERE id < 3",
    "INSERT INTO p DEFAULT VALUES",
    "INSERT INTO p(id, name) VALUES(1, 'again') ON CONFLICT(id) DO UPDATE SET name = excluded.name",
    "INSERT INTO p(id, name) VALUES(1, 'again'), (9, 'nine') ON CONFLICT DO NOTHING",
    "INSERT OR REPLACE INTO p(id, name) VALUES(1, 'replaced')",
    "REPLACE INTO uq VALUES(9, 'a', 1)",
    "INSERT OR REPLACE INTO uq VALUES(1, 'b', 'takes two')",
    "INSERT OR IGNORE INTO uq VALUES(1, 'z', 1), (8, 'y', 2)",
    "UPDATE OR REPLACE uq SET u = 'b' WHERE id = 1",
    "UPDATE uq SET u = CASE u WHEN 'a' THEN 'c' ELSE u END, v = zeroblob(9000)",
    "UPDATE uq SET id = -id",
    "WITH d AS (SELECT id FROM p WHERE n > 1) DELETE FROM p WHERE id IN (SELECT id FROM d)",
    "DELETE FROM bag WHERE a = 1",
    "UPDATE bag SET b = NULL",
    "INSERT INTO bag SELECT * FROM bag",
    "UPDATE pair SET y = y + 5",
    "UPDATE pair SET z = 'same key'",
    "DELETE FROM pair WHERE y = 1",
    "REPLACE INTO pair VALUES(1, 1, 'r')",
    "UPDATE loosekey SET v = 'v'",
    "DELETE FROM loosekey WHERE k IS NULL",
    "UPDATE loosekey SET k = NULL",
    "INSERT INTO auto(v) VALUES('three')",
    "DELETE FROM auto",
    "UPDATE nocase SET k = 'a' WHERE k = 'A'",
    "UPDATE nocase SET k = lower(k) || 'x', v = v + 1",
    "UPDATE made SET v = 5",
    "DELETE FROM made WHERE k = 'm'",
    "UPDATE strict_one SET r = i, x = t",
    "DELETE FROM hides",
    "UPDATE hides SET \"rowid\" = 'q'",
    'UPDATE "we""ird ✓" SET "q""q" = "a b", "a b" = "a b" + 10',
    "DELETE FROM p WHERE id = 1; INSERT INTO p(id, name) VALUES(1, 'other'); DELETE FROM fans",
    "UPDATE p SET name = 'a'; UPDATE p SET name = 'ann' WHERE id = 1; DELETE FROM kids",
    "INSERT INTO bag VALUES(5, 5); DELETE FROM bag WHERE a = 5",
    "DELETE FROM grandkids; DELETE FROM kids; DELETE FROM p; DELETE FROM bag; DELETE FROM pair",
    "UPDATE bag SET b = randomblob(20) WHERE random() IS NOT NULL",
]


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("sql", SHAPES)
async def test_every_shape_comes_back_exactly_and_can_be_done_again(
    tmp_path: Path, sql: str, mode: str
) -> None:
    path = tmp_path / "a.db"
    change(path, f"PRAGMA journal_mode = {mode}")
    async with driving(path, SCHEMA) as driver:
        before = rows_of(path)
        done = await driver.do(sql)
        assert done.action.reversibility is Reversibility.EXACT
        assert done.outcome.effect is EffectState.APPLIED
        after = rows_of(path)
        steps, back = await driver.revert(done)
        assert [s.state for s in steps] == ["reverted"]
        assert rows_of(path) == before
        if back is not None:
            again, _ = await driver.revert(back)
            assert [s.state for s in again] == ["reverted"]
            assert rows_of(path) == after


async def test_the_images_are_the_difference_of_the_whole_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        for sql in SHAPES:
            before = rows_of(path)
            done = await driver.do(sql)
            after = rows_of(path)
            told = await driver.upstream.images(done.undo, offset=0, limit=10_000)
            lost = sum(len(set(before[t]) - set(after[t])) for t in before)
            won = sum(len(set(after[t]) - set(before[t])) for t in before)
            assert sum(i["before"] is not None for i in told) == lost, sql
            assert sum(i["after"] is not None for i in told) == won, sql
            await driver.revert(done)


async def test_the_extent_counts_cascades_and_triggers(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        done = await driver.do("DELETE FROM p WHERE id = 1")
        counts = done.ran.measured.as_json()["tables"]
        assert counts["main.p"] == {"inserted": 0, "updated": 0, "deleted": 1}
        assert counts["main.kids"] == {"inserted": 0, "updated": 0, "deleted": 2}
        assert counts["main.grandkids"] == {"inserted": 0, "updated": 0, "deleted": 2}
        assert counts["main.fans"] == {"inserted": 0, "updated": 2, "deleted": 0}
        assert counts["main.bag"] == {"inserted": 0, "updated": 3, "deleted": 0}
        assert done.ran.result["affected"] == 1


async def test_the_share_is_of_the_table_as_it_was(tmp_path: Path) -> None:
    schema = (
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT INTO t SELECT i, i FROM n;"
    )
    async with driving(tmp_path / "a.db", schema) as driver:
        done = await driver.do("DELETE FROM t WHERE a <= 25; INSERT INTO t VALUES(500, 1)")
        assert done.ran.measured.share == 0.25
        few = await driver.do("DELETE FROM t WHERE a > 95")
        assert few.ran.measured.share == 0.0


async def test_leaving_without_commit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before = rows_of(path)
        action = await driver.judged("DELETE FROM p")
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            await attempt.run()
            assert not isinstance(await attempt.capture(), Deny)
        assert rows_of(path) == before
        assert await driver.upstream.happened("call-0001") is EffectState.NONE


async def test_the_receipt_tells_what_happened(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        done = await driver.do("DELETE FROM p WHERE id = 1")
        assert await driver.upstream.happened(done.call.id) is EffectState.APPLIED
        assert await driver.upstream.happened("call-9999") is EffectState.NONE
        action = await driver.judged("DELETE FROM p WHERE id = 2")
        async with driver.upstream.attempt(call_of(50, ""), action) as attempt:
            await attempt.run()
            assert await driver.upstream.happened("call-0050") is EffectState.UNKNOWN


async def test_a_permit_of_another_call_commits_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before = rows_of(path)
        action = await driver.judged("DELETE FROM p")
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            await attempt.run()
            await attempt.capture()
            with pytest.raises(ValueError, match="permit"):
                await attempt.commit(Permit.issue("call-0002", 1))
        assert rows_of(path) == before


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO uq VALUES(1, 'taken', 1)",
        "INSERT INTO kids VALUES(99, 12345)",
        "DELETE FROM p WHERE id = 1; INSERT INTO uq VALUES(1, 'x', 1)",
        "INSERT OR ROLLBACK INTO uq VALUES(1, 'x', 1)",
        "INSERT OR FAIL INTO uq VALUES(77, 'fine', 1), (1, 'x', 1)",
    ],
)
async def test_a_statement_that_fails_leaves_no_trace(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before = rows_of(path)
        with pytest.raises(UpstreamError) as refused:
            await driver.do(sql)
        assert refused.value.proves_no_effect
        assert rows_of(path) == before
        await driver.do("INSERT INTO auto(v) VALUES(1)")


async def test_a_deferred_foreign_key_fails_before_the_permit(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    schema = (
        "CREATE TABLE a(i INTEGER PRIMARY KEY);"
        "CREATE TABLE b(a REFERENCES a(i) DEFERRABLE INITIALLY DEFERRED);"
    )
    async with driving(path, schema) as driver:
        with pytest.raises(UpstreamError, match="FOREIGN KEY"):
            await driver.do("INSERT INTO b VALUES(1)")
        done = await driver.do("INSERT INTO b VALUES(1); INSERT INTO a VALUES(1)")
        assert done.outcome.state is State.SUCCEEDED


async def test_a_busy_commit_is_retried_and_then_undone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    limits = SqlLimits(lock_timeout_s=0.2)
    async with driving(path, SCHEMA, limits=limits) as driver:
        before = rows_of(path)
        reader = apsw.Connection(str(path))
        try:
            action = await driver.judged("DELETE FROM p")
            async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
                await attempt.run()
                await attempt.capture()
                rows = reader.execute("SELECT * FROM p")
                assert next(rows)
                outcome = await attempt.commit(Permit.issue("call-0001", 1))
        finally:
            reader.close(True)
        assert outcome.state is State.FAILED
        assert outcome.effect is EffectState.NONE
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "upstream.timeout"
        assert rows_of(path) == before
        assert await driver.upstream.happened("call-0001") is EffectState.NONE


async def test_a_write_that_somebody_else_locks_out_times_out(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA, limits=SqlLimits(lock_timeout_s=0.2)) as driver:
        other = apsw.Connection(str(path))
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UpstreamError) as late:
                await driver.do("DELETE FROM p")
            assert late.value.reason == "upstream.timeout"
            assert (await driver.read("SELECT count(*) FROM p")).result is not None
        finally:
            other.close()


async def test_a_second_writer_waits_and_is_then_turned_away(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA, limits=SqlLimits(lock_timeout_s=0.2)) as driver:
        action = await driver.judged("DELETE FROM p")
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            await attempt.run()
            with pytest.raises(UpstreamError) as crowded:
                await driver.do("DELETE FROM bag")
            assert crowded.value.reason == "overloaded"


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_an_endless_read_is_stopped(tmp_path: Path) -> None:
    limits = SqlLimits(statement_timeout_s=0.2)
    async with driving(tmp_path / "a.db", SCHEMA, limits=limits) as driver:
        with pytest.raises(UpstreamError) as late:
            await driver.read(ENDLESS)
        assert late.value.reason == "upstream.timeout"
        assert (await driver.read("SELECT 1")).state is State.SUCCEEDED


async def test_a_cancelled_write_stops_and_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        before = rows_of(path)
        sql = f"DELETE FROM p; INSERT INTO bag SELECT ({ENDLESS}), 1"
        task = asyncio.create_task(driver.do(sql))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rows_of(path) == before
        await driver.do("DELETE FROM p WHERE id = 1")


async def test_a_result_that_is_too_large_is_refused(tmp_path: Path) -> None:
    limits = SqlLimits(max_result_rows=3)
    async with driving(tmp_path / "a.db", SCHEMA, limits=limits) as driver:
        outcome = await driver.read("SELECT * FROM bag")
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "too_large"
        with pytest.raises(UpstreamError) as large:
            await driver.do("UPDATE bag SET b = 1 RETURNING *")
        assert large.value.reason == "too_large"


async def test_what_was_judged_is_all_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        action = await driver.judged("DELETE FROM bag WHERE a = 1")
        change(
            path, "CREATE TRIGGER late AFTER DELETE ON bag BEGIN DELETE FROM p WHERE id = 4; END"
        )
        before = rows_of(path)
        with pytest.raises(UpstreamError, match="judged"):
            async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
                await attempt.run()
        assert rows_of(path) == before


async def test_a_read_cannot_see_more_than_was_judged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        action = await driver.judged("SELECT * FROM v")
        change(path, "DROP VIEW v; CREATE VIEW v AS SELECT k AS id, v AS name FROM loosekey")
        with pytest.raises(UpstreamError, match="judged"):
            async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
                await attempt.read()


async def test_a_misjudged_write_is_stopped_by_the_second_wall(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        action = await driver.judged("DELETE FROM p")
        before = rows_of(path)
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            with pytest.raises(UpstreamError):
                await attempt.read()
        assert rows_of(path) == before


async def test_a_row_that_cannot_be_told_apart_makes_the_call_irreversible(tmp_path: Path) -> None:
    schema = "CREATE TABLE t(rowid, oid, _rowid_); INSERT INTO t VALUES(1, 2, 3);"
    path = tmp_path / "a.db"
    async with driving(path, f"PRAGMA auto_vacuum = FULL; {schema}") as driver:
        action = await driver.judged("DELETE FROM t")
        assert action.reversibility is Reversibility.IRREVERSIBLE
        assert action.why_irreversible is not None
        async with driver.upstream.attempt(call_of(1, ""), action) as attempt:
            await attempt.run()
            captured = await attempt.capture()
        assert isinstance(captured, Deny)
        assert captured.reason == "undo.unavailable"


@pytest.mark.parametrize(
    ("pragma", "why"),
    [
        ("journal_mode = memory", "corrupt"),
        ("synchronous = off", "without syncing"),
        ("locking_mode = exclusive", "locked exclusively"),
    ],
)
async def test_nothing_is_written_where_it_could_not_be_taken_back(
    tmp_path: Path, pragma: str, why: str
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        desk = driver.upstream._here().source.desk
        await driver.upstream._here().source.writer.run(
            lambda: desk.db.execute(f"PRAGMA {pragma}").fetchall()
        )
        file = path.read_bytes()
        for sql in ("DELETE FROM p", "CREATE TABLE z(a)"):
            with pytest.raises(UpstreamError, match=why) as refused:
                await driver.do(sql)
            assert refused.value.reason == "undo.unavailable"
            assert refused.value.proves_no_effect
        assert path.read_bytes() == file
        assert [f.level for f in await driver.upstream.check()] == ["error"]


async def test_a_statement_that_takes_too_much_memory_fails_and_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    hungry = (
        "WITH RECURSIVE g(i, b) AS (SELECT 1, randomblob(999999) UNION SELECT i + 1, "
        "randomblob(999999) FROM g WHERE i < 400) SELECT count(*) FROM g"
    )
    async with driving(path, SCHEMA) as driver:
        rows = rows_of(path)
        apsw.hard_heap_limit(apsw.memory_used() + (40 << 20))
        try:
            with pytest.raises(UpstreamError, match="memory"):
                await driver.read(hungry)
            with pytest.raises(UpstreamError, match="memory"):
                await driver.do(f"UPDATE p SET n = ({hungry})")
        finally:
            bound_memory()
        assert rows_of(path) == rows
        assert (await driver.read("SELECT 1")).result is not None


async def test_a_file_that_is_gone_is_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(UpstreamError) as gone:
            await driver.parse("SELECT 1")
        assert gone.value.reason == "upstream.unreachable"


async def test_values_come_as_json(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        outcome = await driver.read(
            "SELECT 1, 9007199254740993, 0.5, 'ø', x'00ff', NULL, 9e999 AS big"
        )
        assert outcome.result == {
            "verb": "select",
            "columns": [
                {"name": "1", "type": "integer"},
                {"name": "9007199254740993", "type": "integer"},
                {"name": "0.5", "type": "real"},
                {"name": "'ø'", "type": "text"},
                {"name": "x'00ff'", "type": "blob"},
                {"name": "NULL", "type": "null"},
                {"name": "big", "type": "real"},
            ],
            "rows": [[1, "9007199254740993", 0.5, "ø", "\\x00ff", None, "Infinity"]],
            "affected": 0,
        }
        several = await driver.read("SELECT ? AS a; SELECT ?, ?", [1, "x", None])
        assert several.result is not None
        assert [r["rows"] for r in several.result["results"]] == [[[1]], [["x", None]]]


async def test_reads_of_full_text_tables_and_schema_functions_run(tmp_path: Path) -> None:
    schema = (
        "CREATE VIRTUAL TABLE ft USING fts5(body); INSERT INTO ft VALUES('hello world');"
        "CREATE VIRTUAL TABLE ft4 USING fts4(body); INSERT INTO ft4 VALUES('hello world');"
        "CREATE VIRTUAL TABLE box USING rtree(id, a, b); INSERT INTO box VALUES(1, 2, 3);"
    )
    async with driving(tmp_path / "a.db", schema) as driver:
        for sql, rows in [
            (
                "SELECT highlight(ft, 0, '<', '>') FROM ft WHERE ft MATCH 'hello'",
                [["<hello> world"]],
            ),
            ("SELECT snippet(ft4) FROM ft4 WHERE ft4 MATCH 'world'", [["hello <b>world</b>"]]),
            ("SELECT id FROM box WHERE a > 1", [[1]]),
            ("SELECT name FROM pragma_table_info('ft')", [["body"]]),
            ("SELECT value FROM json_each('[7]')", [[7]]),
        ]:
            outcome = await driver.read(sql)
            assert outcome.result is not None, outcome
            assert outcome.result["rows"] == rows
        shown = await driver.read("PRAGMA table_info(ft)")
        assert shown.result is not None
        assert [c["name"] for c in shown.result["columns"]][:2] == ["cid", "name"]


async def test_the_event_loop_is_never_held_up(tmp_path: Path) -> None:
    schema = "CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
    values = ", ".join(f"({i}, 'row {i}')" for i in range(9_000))
    async with driving(tmp_path / "a.db", schema) as driver:
        gaps: list[float] = []

        async def beat() -> None:
            loop = asyncio.get_running_loop()
            while True:
                then = loop.time()
                await asyncio.sleep(0.001)
                gaps.append(loop.time() - then)

        task = asyncio.create_task(beat())
        done = await driver.do(f"INSERT INTO t VALUES {values}")
        task.cancel()
        assert isinstance(done.action, Action)
        assert done.ran.result["affected"] == 9_000
        # Generous: the machine is shared. What blocked would have taken all of the time at once.
        assert sorted(gaps)[len(gaps) // 2] < 0.02


@pytest.mark.parametrize(
    "sql",
    ["REINDEX i", "REINDEX", "ANALYZE t", "ANALYZE i", "ANALYZE v", "PRAGMA user_version = -3"],
)
async def test_upkeep_of_the_file_comes_back_to_the_byte(tmp_path: Path, sql: str) -> None:
    schema = "CREATE TABLE t(a, b); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1, 2), (1, 3);"
    schema += "CREATE VIEW v AS SELECT a FROM t"
    async with driving(tmp_path / "a.db", schema) as driver:
        before = driver.path.read_bytes()
        for _ in range(2):
            done = await driver.do(sql)
            assert driver.path.read_bytes() != before
            steps, _ = await driver.revert(done)
            assert [s.state for s in steps] == ["reverted"]
            # But for the counters, by which others notice.
            now = driver.path.read_bytes()
            assert (now[:24] + now[44:92] + now[100:]) == (
                before[:24] + before[44:92] + before[100:]
            )
