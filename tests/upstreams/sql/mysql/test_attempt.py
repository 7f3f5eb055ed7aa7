from __future__ import annotations

import asyncio

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.model import EffectState, Permit, RowCounts
from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_server import MariadbServer

SETUP = (
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9) UNIQUE)",
    "INSERT INTO t (v) VALUES ('a'), ('b'), ('c')",
)


async def test_a_read_runs_where_nothing_can_be_written(case: Case) -> None:
    """Even a text that was wrongly taken for a read."""
    case.setup(*SETUP)
    before = case.dump()
    call, action = case.request("SELECT 1"), await case.parse("DELETE FROM t WHERE id = 1")
    async with case.source.attempt(call, action) as attempt:
        with pytest.raises(UpstreamError) as error:
            await attempt.read()
    assert error.value.extra["code"] == 1792
    assert case.dump() == before


async def test_nothing_stands_without_a_commit(case: Case) -> None:
    case.setup(*SETUP)
    before = case.dump()
    call, action = case.request("x"), await case.parse("DELETE FROM t")
    async with case.source.attempt(call, action) as attempt:
        ran = await attempt.run()
        assert ran.measured.tables == {f"{case.database}.t": RowCounts(deleted=3)}
        await attempt.capture()
    assert case.dump() == before
    assert await case.source.happened(call.id) is EffectState.NONE


async def test_a_permit_of_another_call_commits_nothing(case: Case) -> None:
    case.setup(*SETUP)
    before = case.dump()
    call, action = case.request("x"), await case.parse("DELETE FROM t")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        await attempt.capture()
        with pytest.raises(ValueError, match="does not commit"):
            await attempt.commit(Permit.issue("another", 1))
    assert case.dump() == before


async def test_answers_are_those_of_the_plain_statement(case: Case) -> None:
    """Counts and error codes as without a gateway; nothing else appears in anybody's tables."""
    statements = (
        "INSERT INTO t (v) VALUES ('x'), ('y')",
        "UPDATE t SET v = v WHERE id = 1",
        "UPDATE t SET v = CONCAT(v, '!')",
        "INSERT IGNORE INTO t (v) VALUES ('a!'), ('new')",
        "INSERT INTO t (id, v) VALUES (1, 'q') ON DUPLICATE KEY UPDATE v = 'q'",
        "REPLACE INTO t (id, v) VALUES (2, 'r'), (70, 's')",
        "DELETE FROM t WHERE id = 3",
        "DELETE FROM t WHERE id = 99",
    )
    case.setup(*SETUP)
    plain = []
    with case.connection() as connection, connection.cursor() as cursor:
        plain = [cursor.execute(statement) for statement in statements]
    after = case.dump()
    case.setup(*SETUP)
    guarded = []
    for statement in statements:
        done = await case.call(statement)
        guarded.append(done.ran.result["affected"])
    assert guarded == plain
    assert case.dump() == after


@pytest.mark.parametrize(
    ("sql", "code", "state"),
    [
        ("INSERT INTO t (v) VALUES ('a')", 1062, "23000"),
        ("INSERT INTO t (nothing) VALUES (1)", 1054, "42S22"),
        ("UPDATE t SET v = 'much too long a text'", 1406, "22001"),
        ("INSERT INTO t (id) VALUES ('text')", 1366, "22007"),
    ],
)
async def test_the_servers_errors_reach_the_agent(
    case: Case, sql: str, code: int, state: str
) -> None:
    case.setup(*SETUP)
    before = case.dump()
    with pytest.raises(pymysql.Error) as plain:
        case.run(sql)
    with pytest.raises(UpstreamError) as error:
        await case.call(sql)
    told = {"code": code, "message": plain.value.args[1], "sqlstate": state}
    assert error.value.extra == told
    assert case.dump() == before


async def test_a_result_over_its_bounds(mariadb_server: MariadbServer, case_database: str) -> None:
    case = Case(mariadb_server, case_database, limits=SqlLimits(max_result_rows=2))
    case.setup(*SETUP)
    outcome = await case.read("SELECT * FROM t")
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "too_large"
    with pytest.raises(UpstreamError) as error:
        await case.call("DELETE FROM t RETURNING id")
    assert error.value.reason == "too_large"
    assert case.run("SELECT COUNT(*) FROM t")[0][0] == 3
    await case.close()


async def test_images_over_their_budget_leave_everything_as_it_was(
    mariadb_server: MariadbServer, case_database: str
) -> None:
    for limits, reason in (
        (SqlLimits(max_capture_rows=2), "limit.rows"),
        (SqlLimits(max_capture_bytes=10), "snapshot.failed"),
    ):
        case = Case(mariadb_server, case_database, limits=limits)
        case.setup(*SETUP)
        before = case.dump()
        with pytest.raises(Refused) as refused:
            await case.call("DELETE FROM t")
        assert refused.value.deny.reason == reason
        assert case.dump() == before
        await case.close()


async def test_a_lock_of_somebody_else_is_not_waited_for_for_ever(case: Case) -> None:
    case.setup(*SETUP)
    before = case.dump()
    with case.connection() as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM t WHERE id = 1 FOR UPDATE")
        with pytest.raises(UpstreamError) as error:
            await asyncio.wait_for(case.call("DELETE FROM t WHERE id = 1"), 10)
        assert error.value.reason == "upstream.timeout"
    assert case.dump() == before


async def test_a_trigger_that_changes_the_session_is_refused(case: Case) -> None:
    case.setup(*SETUP, "CREATE TRIGGER x BEFORE DELETE ON t FOR EACH ROW SET time_zone = '+01:00'")
    before = case.dump()
    with pytest.raises(UpstreamError) as error:
        await case.call("DELETE FROM t")
    assert error.value.reason == "undo.unavailable"
    assert case.dump() == before
