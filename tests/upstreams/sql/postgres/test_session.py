from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.postgres.session import Pool, TooMuch
from tests.fixtures.postgres_case import TIMEOUTS, Case
from tests.fixtures.postgres_server import PostgresServer


@pytest.fixture
async def pool(case: Case) -> AsyncIterator[Pool]:
    url = case.server.url(case.database)
    pool = Pool("app", url, size=2, timeouts=TIMEOUTS, search_path="")
    yield pool
    await pool.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("TimeZone", "UTC"),
        ("lc_monetary", "C"),
        ("search_path", ""),
        ("row_security", "off"),
        ("statement_timeout", "20s"),
        ("lock_timeout", "1500ms"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("transaction_isolation", "read committed"),
    ],
)
async def test_a_session_is_pinned_again_after_somebody_changed_it(
    pool: Pool, name: str, value: str
) -> None:
    async with pool.session() as session:
        pid = session.pid
        await session.run(
            "SET DateStyle = 'German'; SET search_path = public; SET TimeZone = 'UTC+3'"
        )
        await session.run(
            "SET row_security = on; SET statement_timeout = 5; SET bytea_output = escape"
        )
    async with pool.session() as session:
        assert session.pid == pid
        assert await session.one("SELECT current_setting(%s)", name) == (value,)


async def test_a_role_without_durable_commits_gets_them(pool: Pool, case: Case) -> None:
    case.admin.execute(f"ALTER DATABASE {case.database} SET synchronous_commit = off")
    try:
        for _ in range(2):
            async with pool.session() as session:
                assert await session.one("SHOW synchronous_commit") == ("on",)
    finally:
        case.admin.execute(f"ALTER DATABASE {case.database} RESET synchronous_commit")


async def test_what_a_session_left_open_is_rolled_back(pool: Pool, case: Case) -> None:
    case.setup("CREATE TABLE t(id int)")
    async with pool.session() as session:
        pid = session.pid
        await session.run("BEGIN")
        await session.run("INSERT INTO public.t VALUES (1)")
        await session.run("CREATE TEMP TABLE left_behind(i int)")
    async with pool.session() as session:
        assert session.pid == pid
        assert await session.rows("SELECT * FROM public.t") == []
        assert await session.one("SELECT to_regclass('pg_temp.left_behind')") == (None,)


async def test_a_broken_session_is_replaced(pool: Pool, case: Case) -> None:
    async with pool.session() as session:
        pid = session.pid
        case.admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(psycopg.OperationalError):
            await session.rows("SELECT 1")
    async with pool.session() as session:
        assert session.pid != pid


async def test_no_more_than_size_sessions_are_open(pool: Pool) -> None:
    async with pool.session(), pool.session():
        with pytest.raises(UpstreamError) as error:
            async with pool.session(wait_s=0.05):
                raise AssertionError("a third session")
    assert error.value.reason == "upstream.timeout"


async def test_an_unreachable_server_is_named_without_its_address() -> None:
    url = "postgresql://someone:hunter2@127.0.0.1:1/secretdb"
    pool = Pool("app", url, size=1, timeouts=TIMEOUTS, search_path=None)
    with pytest.raises(UpstreamError) as error:
        async with pool.session():
            raise AssertionError("connected")
    assert error.value.reason == "upstream.unreachable"
    for secret in ("hunter2", "someone", "secretdb", "127.0.0.1"):
        assert secret not in error.value.detail + repr(error.value) + repr(pool)


async def test_agents_text_is_one_statement_by_protocol(pool: Pool, case: Case) -> None:
    case.setup("CREATE TABLE t(id int)")
    async with pool.session() as session:
        with pytest.raises(psycopg.errors.SyntaxError):
            await session.extended(
                "SELECT 1; INSERT INTO public.t VALUES (1)", (), max_rows=10, max_bytes=100
            )
    assert case.dump() == {"public.t": [b""]}


async def test_parameters_take_the_types_that_the_server_infers(pool: Pool) -> None:
    async with pool.session() as session:
        reply = await session.extended(
            "SELECT $1::int + 1 AS n, $2::jsonb, $3::text IS NULL, $4::bool",
            (b"41", b'{"a": 1.10}', None, b"t"),
            max_rows=10,
            max_bytes=1000,
        )
    assert reply.rows == [(b"42", b'{"a": 1.10}', b"t", b"t")]
    assert [name for name, _ in reply.columns] == ["n", "jsonb", "?column?", "bool"]


@pytest.mark.parametrize(
    ("text", "max_rows", "max_bytes"),
    [
        ("SELECT generate_series(1, 50000000)", 100, 1 << 20),
        ("SELECT repeat('x', 100000) FROM generate_series(1, 1000)", 5000, 1 << 20),
    ],
)
async def test_a_result_over_its_bounds_is_cancelled(
    pool: Pool, text: str, max_rows: int, max_bytes: int
) -> None:
    async with pool.session() as session:
        async with asyncio.timeout(5):
            with pytest.raises(TooMuch):
                await session.extended(text, (), max_rows=max_rows, max_bytes=max_bytes)
        assert await session.one("SELECT 1") == (1,)


async def test_a_cancelled_task_leaves_a_usable_pool(pool: Pool) -> None:
    async def slow() -> None:
        async with pool.session() as session:
            await session.extended("SELECT pg_sleep(20)", (), max_rows=1, max_bytes=100)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with pool.session() as session:
        assert await session.one("SELECT 1") == (1,)


async def test_copy_from_an_agent_ends_the_session(pool: Pool) -> None:
    async with pool.session() as session:
        with pytest.raises(psycopg.Error):
            await session.extended("COPY (SELECT 1) TO STDOUT", (), max_rows=1, max_bytes=10)
    async with pool.session() as session:
        assert await session.one("SELECT 1") == (1,)


async def test_a_pooler_that_drops_the_pins_is_noticed(postgres_server: PostgresServer) -> None:
    database = postgres_server.create_database()
    pool = Pool("app", postgres_server.url(database), size=1, timeouts=TIMEOUTS, search_path="")
    pool._options = lambda: "-c DateStyle=German"  # type: ignore[method-assign]
    with pytest.raises(UpstreamError, match="does not keep"):
        async with pool.session():
            raise AssertionError("an unpinned session")
    postgres_server.drop_database(database)


async def test_queries_sent_together_are_answered_in_order(pool: Pool) -> None:
    async with pool.session() as session:
        answers = await session.batch(
            ("SELECT %s::int", (1,)), ("SET LOCAL work_mem = '1MB'", ()), 
            ("SELECT 2 WHERE false", ()),
            ("SELECT 'x', NULL", ()),
        )  # fmt: skip
        assert answers == [[(1,)], [], [], [("x", None)]]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await session.batch(("SELECT 1 / 0", ()), ("SELECT 1", ()))
        assert await session.rows("SELECT 3") == [(3,)]


async def test_only_sessions_without_others_sql_keep_their_plans(
    postgres_server: PostgresServer, pool: Pool
) -> None:
    async with pool.session() as session:
        assert await session.kept("SELECT %(n)s::int", n=1) == (1,)
        assert await session.rows("SELECT name FROM pg_prepared_statements") == []
    own = Pool("app", pool._url, size=1, timeouts=TIMEOUTS, search_path="", agents=False)
    for _ in range(2):
        async with own.session() as session:
            assert await session.kept("SELECT %(n)s::int", n=2) == (2,)
            kept = await session.rows("SELECT statement FROM pg_prepared_statements")
            assert kept == [("SELECT $1::int",)]
            await session.run("BEGIN")
    await own.close()


async def test_two_queries_travel_together(pool: Pool) -> None:
    async with pool.session() as session:
        query = "SELECT %(n)s::int + 1", {"n": 1}
        found, rows = await session.exchange(
            query, "SELECT 258::int, NULL, 'x' UNION ALL VALUES (1, NULL, 'y')"
        )
        assert found == (2,)
        assert rows == [(b"\0\0\1\2", None, b"x"), (b"\0\0\0\1", None, b"y")]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await session.exchange(query, "SELECT 1 / 0")
        assert await session.last("BEGIN", "SELECT 3", "SELECT 4") == [(4,)]
        assert not session.idle


async def test_a_spare_session_is_not_waited_for(
    postgres_server: PostgresServer, pool: Pool
) -> None:
    own = Pool("app", pool._url, size=2, timeouts=TIMEOUTS, search_path="", agents=False)
    async with own.session() as first, own.spare() as second:
        assert second is not None
        assert second.pid != first.pid
        async with own.spare() as third:
            assert third is None
    await own.close()
