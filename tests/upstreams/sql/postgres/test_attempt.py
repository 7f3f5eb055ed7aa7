from __future__ import annotations

import threading

import psycopg
import pytest

from gateway.errors import SnapshotFailed, UpstreamError
from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Permit, Reversibility
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.attempt import Job, Line, PostgresAttempt, parameters
from gateway.upstreams.sql.postgres.session import Session
from tests.fixtures.postgres_case import Case, Refused

_T = """
CREATE TABLE t(id int PRIMARY KEY, v int, CHECK (v < 1000));
INSERT INTO t SELECT i, i FROM generate_series(1, 200) i;
"""


def _permit() -> Permit:
    return Permit.issue("call_1", 1)


async def test_a_read_answers_rows_and_changes_nothing(case: Case) -> None:
    case.setup("CREATE TABLE t(a int, b bigint, c numeric, d bool, e bytea, f date, g float8);"
               "INSERT INTO t VALUES (1, 2, 1.10, true, '\\x00', '2020-02-03', 'NaN');"
               "INSERT INTO t DEFAULT VALUES")  # fmt: skip
    async with case.agents.session() as session:
        outcome = await case.attempt(session, "SELECT * FROM t").read()
        assert session.idle
    assert (outcome.state, outcome.effect) == (State.SUCCEEDED, EffectState.NONE)
    assert outcome.result == {
        "verb": "select",
        "columns": [
            {"name": "a", "type": "integer"},
            {"name": "b", "type": "bigint"},
            {"name": "c", "type": "numeric"},
            {"name": "d", "type": "boolean"},
            {"name": "e", "type": "bytea"},
            {"name": "f", "type": "date"},
            {"name": "g", "type": "double precision"},
        ],
        "rows": [[1, "2", "1.10", True, "\\x00", "2020-02-03", "NaN"], [None] * 7],
        "affected": 0,
    }


async def test_a_write_behind_a_read_is_stopped_by_the_server(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    async with case.agents.session() as session:
        with pytest.raises(UpstreamError) as error:
            await case.attempt(session, "DELETE FROM t").read()
    assert error.value.extra["sqlstate"] == "25006"
    assert case.dump() == before


async def test_a_read_over_its_bounds_is_too_large(case: Case) -> None:
    case.setup(_T)
    case.limits = SqlLimits(max_result_rows=100)
    async with case.agents.session() as session:
        outcome = await case.attempt(session, "SELECT * FROM t").read()
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "too_large"


async def test_a_write_answers_its_returned_rows_and_their_number(case: Case) -> None:
    case.setup(_T)
    done = await case.call("DELETE FROM t WHERE id <= $1 RETURNING id", params=[2])
    assert done.outcome.state is State.SUCCEEDED
    assert done.outcome.effect is EffectState.APPLIED
    assert done.outcome.result == {
        "verb": "delete",
        "columns": [{"name": "id", "type": "integer"}],
        "rows": [[1], [2]],
        "affected": 2,
    }


@pytest.mark.parametrize("rows", [1, 499, 500, 501, 1000])
async def test_affected_rows_are_counted_whatever_their_number(case: Case, rows: int) -> None:
    case.setup("CREATE TABLE t(id int PRIMARY KEY)")
    text = f"INSERT INTO t SELECT generate_series(1, {rows}) RETURNING id"
    done = await case.call(text)
    assert done.outcome.result is not None
    assert (done.outcome.result["affected"], len(done.outcome.result["rows"])) == (rows, rows)


async def test_several_statements_answer_one_result_each(case: Case) -> None:
    case.setup(_T)
    done = await case.call("DELETE FROM t WHERE id = 1", "SELECT count(*) FROM t")
    assert done.outcome.result is not None
    assert [r["affected"] for r in done.outcome.result["results"]] == [1, 0]


async def test_leaving_without_commit_rolls_back(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    async with case.agents.session() as session:
        ran = await case.attempt(session, "DELETE FROM t").run()
        assert ran.measured.rows == 200
    assert case.dump() == before


async def test_a_stricter_judgement_inside_the_transaction_stops_the_call(case: Case) -> None:
    case.setup(_T)

    async def judge(session: Session) -> Deny:
        return Deny(reason="action.unsupported", detail="not here")

    job = Job(params=(), judge=judge)
    async with case.agents.session() as session:
        with pytest.raises(UpstreamError) as error:
            await PostgresAttempt(session, job, case.around(), case.open_until).run()
        assert error.value.reason == "action.unsupported"
    async with case.agents.session() as session:
        outcome = await PostgresAttempt(session, job, case.around(), case.open_until).read()
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "action.unsupported"


@pytest.mark.parametrize(
    ("statement", "sqlstate", "reason"),
    [
        ("UPDATE t SET v = 5000", "23514", "upstream.failed"),
        ("INSERT INTO t VALUES (1, 1)", "23505", "upstream.failed"),
        ("DELETE FROM nowhere", "42P01", "upstream.failed"),
        ("SELECT 1 / 0", "22012", "upstream.failed"),
        ("SELECT pg_sleep(5)", "57014", "upstream.timeout"),
    ],
)
async def test_the_servers_own_error_is_passed_on(
    case: Case, statement: str, sqlstate: str, reason: str
) -> None:
    case.setup(_T)
    before = case.dump()
    async with case.agents.session() as session:
        await session.run("SET statement_timeout = 300")
        with pytest.raises(UpstreamError) as error:
            await case.attempt(session, statement).run()
    assert (error.value.reason, error.value.extra["sqlstate"]) == (reason, sqlstate)
    assert error.value.proves_no_effect
    assert case.dump() == before


async def test_a_deferred_constraint_fails_before_the_permit(case: Case) -> None:
    case.setup("CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE c(p int REFERENCES p DEFERRABLE "
               "INITIALLY DEFERRED)")  # fmt: skip
    with pytest.raises(UpstreamError) as error:
        await case.call("INSERT INTO c VALUES (1)")
    assert error.value.extra["sqlstate"] == "23503"


async def test_more_rows_than_may_be_captured_are_refused(case: Case) -> None:
    case.setup(_T)
    case.limits = SqlLimits(max_capture_rows=50)
    before = case.dump()
    with pytest.raises(Refused) as refused:
        await case.call("DELETE FROM t")
    assert refused.value.deny.reason == "limit.rows"
    assert case.dump() == before


@pytest.mark.parametrize("statement", ["DELETE FROM t", "DELETE FROM t WHERE id < 100"])
async def test_more_bytes_than_may_be_captured_stop_the_call(case: Case, statement: str) -> None:
    case.setup(_T)
    case.limits = SqlLimits(max_capture_bytes=100)
    before = case.dump()
    with pytest.raises(SnapshotFailed):
        await case.call(statement)
    assert case.dump() == before


async def test_images_that_cannot_be_read_in_time_stop_the_call(case: Case) -> None:
    case.setup(_T)
    before = case.dump()
    with (
        psycopg.connect(case.server.url(case.database)) as other,
        pytest.raises(SnapshotFailed),
    ):
        await case.call("DELETE FROM t WHERE id = 1", during=lambda: _queue_for_lock(case, other))
    assert case.dump() == before


def _queue_for_lock(case: Case, other: psycopg.Connection) -> None:
    # A waiting ACCESS EXCLUSIVE makes every later reader of the table wait too.
    thread = threading.Thread(target=_lock, args=(other,), daemon=True)
    thread.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    while case.admin.execute(waiting).fetchone() == (0,):
        continue


def _lock(other: psycopg.Connection) -> None:
    other.execute("SET lock_timeout = '4s'")
    try:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    except psycopg.errors.LockNotAvailable:
        other.rollback()


async def test_a_call_that_policy_lets_run_without_undo_runs(case: Case) -> None:
    case.setup(_T)
    case.admin.execute("GRANT TRUNCATE ON t TO agent")
    async with case.agents.session() as session:
        job = Job(
            params=(),
            judge=_truncates,
            irreversible="TRUNCATE keeps no rows",
        )
        attempt = PostgresAttempt(session, job, case.around(), case.open_until)
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        assert captured.undo.reversibility is Reversibility.IRREVERSIBLE
        outcome = await attempt.commit(_permit())
    assert outcome.state is State.SUCCEEDED
    assert case.dump() == {"public.t": [b""]}


async def _truncates(session: Session) -> tuple[Line, ...]:
    return (Line(verb="truncate", text="TRUNCATE t"),)


def test_parameters_become_text() -> None:
    assert parameters([None, True, False, 5, -1.5, 10**20, "é"]) == (
        None, b"t", b"f", b"5", b"-1.5", b"100000000000000000000", "é".encode(),
    )  # fmt: skip


@pytest.mark.parametrize("value", [[1], {"a": 1}, "a\0b"])
def test_parameters_without_a_text_are_malformed(value: object) -> None:
    refused = parameters([value])
    assert isinstance(refused, Deny)
    assert refused.reason == "malformed"


async def test_a_statement_that_ends_its_transaction_is_noticed(case: Case) -> None:
    """The connection is in a transaction afterwards, as if nothing had happened."""
    case.setup(_T)
    with pytest.raises(UpstreamError) as error:
        await case.call("DELETE FROM t WHERE id = 1", "COMMIT AND CHAIN")
    assert error.value.reason == "outcome.unknown"
    assert not error.value.proves_no_effect


async def test_a_deferred_constraint_fails_before_anything_is_captured(case: Case) -> None:
    case.setup(
        _T + "; CREATE TABLE u(id int PRIMARY KEY, t int REFERENCES t DEFERRABLE "
        "INITIALLY DEFERRED); INSERT INTO u SELECT min(id), min(id) FROM t"
    )
    before = case.dump()
    with pytest.raises(UpstreamError) as error:
        await case.call("DELETE FROM t")
    assert error.value.extra["sqlstate"] == "23503"
    assert case.dump() == before
