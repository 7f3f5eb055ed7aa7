"""Which large calls are captured part by part, and that none of it is believed unproven."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.model import RowCounts
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql import images
from gateway.upstreams.sql.mysql.streams import Stream
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_server import MariadbServer

T = (
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9), n INT)",
    "INSERT INTO t SELECT seq, CONCAT('v', seq), seq FROM seq_1_to_9",
)
NEITHER = "not swept"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DELETE FROM t WHERE id < 8", "swept"),
        ("DELETE FROM t", "swept"),
        ("UPDATE t AS x SET x.n = 0 WHERE x.n > 2", "swept"),
        ("DELETE FROM t WHERE id > 1 ORDER BY n DESC LIMIT 5", "swept"),
        ("UPDATE t SET n = n + 1 WHERE n BETWEEN 2 AND 7", "swept"),
        ("UPDATE t SET n = 3 WHERE n > 1", "swept"),
        ("UPDATE t SET v = 'x' ORDER BY id LIMIT 4", "swept"),
        ("UPDATE t SET id = id + 100", NEITHER),
        ("UPDATE t SET id = id - 1 ORDER BY id", NEITHER),
        ("INSERT INTO t (v) VALUES ('a'), ('b'), ('c')", "swept"),
        ("INSERT INTO t (id, v) VALUES (20, 'a'), (21, 'b'), (22, 'c')", "swept"),
        ("INSERT INTO t SELECT id + 50, v, n FROM t", NEITHER),
    ],
)
async def test_what_is_proven_is_exact(case: Case, parts: list[str], sql: str, told: str) -> None:
    case.setup(*T)
    before = case.dump()
    done = await case.call(sql)
    after = case.dump()
    assert parts == [told]
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert parts == [told, "bulk"]
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    assert case.dump() == after


@pytest.mark.parametrize(
    ("setup", "sql"),
    [
        ("CREATE TRIGGER w AFTER DELETE ON t FOR EACH ROW INSERT INTO log VALUES (OLD.id)",
         "DELETE FROM t"),
        ("ALTER TABLE log ADD FOREIGN KEY (id) REFERENCES t (id) ON DELETE CASCADE",
         "DELETE FROM t"),
        ("ALTER TABLE t MODIFY id INT, DROP PRIMARY KEY", "DELETE FROM t"),
        ("DO 1", "DELETE FROM t; INSERT INTO log VALUES (4)"),
        ("DO 1", "UPDATE t SET n = n + RAND() * 0 + 1"),
        ("DO 1", "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b') ON DUPLICATE KEY UPDATE v = 'z'"),
    ],
    ids=["trigger", "cascade", "no key", "two statements", "unstable", "upsert"],
)  # fmt: skip
async def test_what_has_other_effects_is_seen_at_once(
    case: Case, parts: list[str], setup: str, sql: str
) -> None:
    case.setup(*T, "CREATE TABLE log (id INT PRIMARY KEY)", setup)
    before = case.dump()
    done = await case.call(sql)
    assert parts == []
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


async def test_the_extent_is_that_of_the_rows(case: Case, parts: list[str]) -> None:
    case.setup(*T, "INSERT INTO t SELECT seq, 'x', 1 FROM seq_10_to_40")
    done = await case.call("UPDATE t SET n = 1 WHERE id <= 20")
    assert parts == ["swept"]
    assert done.ran.measured.tables == {f"{case.database}.t": RowCounts(updated=8)}
    assert done.ran.measured.share == 0.2


async def test_more_rows_than_may_be_looked_at(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    before = case.dump()
    other = Case(case.server, case.database, limits=SqlLimits(max_capture_rows=6))
    with pytest.raises(Refused) as refused:
        await other.call("UPDATE t SET n = 1 WHERE id BETWEEN 1 AND 9 ORDER BY id DESC LIMIT 4")
    assert refused.value.deny.reason == "undo.unavailable"
    assert case.dump() == before
    assert (await other.read("SELECT COUNT(*) FROM t")).result is not None
    await other.close()


@pytest.mark.parametrize("sql", ["DELETE FROM t", "INSERT INTO t (v) VALUES ('a'), ('b'), ('c')"])
async def test_images_that_are_too_large_change_nothing(
    case: Case, parts: list[str], sql: str
) -> None:
    case.setup(*T)
    before = case.dump()
    other = Case(case.server, case.database, limits=SqlLimits(max_capture_bytes=60))
    with pytest.raises(Refused) as refused:
        await other.call(sql)
    assert refused.value.deny.reason == "snapshot.failed"
    assert case.dump() == before
    await other.close()


async def test_a_row_that_no_statement_could_write_again(
    small_packets: None, mariadb_server: MariadbServer, case_database: str, parts: list[str]
) -> None:
    case = Case(mariadb_server, case_database)
    case.setup(*T, "ALTER TABLE t ADD x LONGBLOB", "UPDATE t SET x = REPEAT('x', 600000)")
    before = case.run("SELECT COUNT(*), SUM(LENGTH(x)) FROM t")
    with pytest.raises(Refused) as refused:
        await case.call("DELETE FROM t")
    assert refused.value.deny.reason == "undo.unavailable"
    assert "max_allowed_packet" in refused.value.deny.detail
    assert case.run("SELECT COUNT(*), SUM(LENGTH(x)) FROM t") == before
    await case.close()


async def test_a_server_that_goes_away_meanwhile(
    case: Case, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are larger than what may wait between the server and the gateway."""
    case.setup(*T, "ALTER TABLE t ADD x LONGTEXT", "UPDATE t SET x = REPEAT('x', 5000000)")
    before = case.run("SELECT SUM(n) FROM t")
    real = Stream.take

    def take(stream: Stream, count: int, *most: int) -> object:
        found = real(stream, count, *most)
        if count == images.PART:
            case.run(f"KILL {stream._connection.thread_id()}")
            monkeypatch.setattr(Stream, "take", real)
        return found

    monkeypatch.setattr(Stream, "take", take)
    with pytest.raises(UpstreamError) as refused:
        await case.call("UPDATE t SET n = 0")
    assert refused.value.reason == "upstream.unreachable"
    assert parts == []
    assert case.run("SELECT SUM(n) FROM t") == before


async def test_a_call_that_is_given_up_leaves_nothing(case: Case, parts: list[str]) -> None:
    case.setup(*T)
    before = case.dump()
    call, action = case.request("x"), await case.parse("DELETE FROM t")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
    assert parts == ["swept"]
    assert case.dump() == before
