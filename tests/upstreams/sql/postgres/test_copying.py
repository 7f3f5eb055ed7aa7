from __future__ import annotations

import asyncio

import psycopg
import pytest

from gateway.errors import ImageDamaged
from gateway.upstreams.sql.postgres.copying import Segments, copy_all, copy_in, copy_out
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from tests.fixtures.postgres_case import Case

_MANY = "SELECT i, repeat('x', i % 300) FROM generate_series(1, 20000) i"


async def _usable(session: Session) -> bool:
    return bool((await session.one("SELECT 1"))[0] == 1)


@pytest.mark.parametrize("binary", [True, False])
async def test_rows_come_back_as_they_went(case: Case, binary: bool) -> None:
    case.setup("CREATE TABLE a(i int, v text); CREATE TABLE b(i int, v text)")
    case.admin.execute(f"INSERT INTO a {_MANY}")
    parts: list[bytes] = []
    counts = {"i <= 7000": 7000, "i > 7000": 13000, "i < 0": 0}
    async with case.reverts.session() as session:
        for where, count in counts.items():
            query = f"SELECT * FROM public.a WHERE {where}"
            copied = await copy_out(session, query, parts.append, binary=binary, budget=1 << 30)
            assert copied.rows == count
        assert await copy_in(session, "public.b", parts, binary=binary) == 20000
        assert await copy_in(session, "public.b", [], binary=binary) == 0
    dump = case.dump()
    assert dump["public.a"] == dump["public.b"]


@pytest.mark.parametrize("binary", [True, False])
async def test_beyond_its_budget_a_copy_stops_and_the_session_lives(
    case: Case, binary: bool
) -> None:
    async with case.peers.session() as session:
        with pytest.raises(TooMuch):
            await copy_out(session, _MANY, lambda _: None, binary=binary, budget=300_000)
        assert await _usable(session)


async def test_what_the_server_says_against_a_copy_is_raised(case: Case) -> None:
    async with case.peers.session() as session:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await copy_out(
                session, "SELECT * FROM nowhere", lambda _: None, binary=True, budget=100
            )
        query = "SELECT 1 / (i - 9000) FROM generate_series(1, 10000) i"
        with pytest.raises(psycopg.errors.DivisionByZero):
            await copy_out(session, query, lambda _: None, binary=True, budget=1 << 20)
        assert await _usable(session)


async def test_a_writer_that_fails_stops_the_copy(case: Case) -> None:
    def fail(_: bytes) -> None:
        raise ImageDamaged("no")

    async with case.peers.session() as session:
        with pytest.raises(ImageDamaged):
            await copy_out(session, _MANY, fail, binary=True, budget=1 << 30)
        assert await _usable(session)


@pytest.mark.parametrize(
    "query", ["SELECT pg_sleep(60)", "SELECT pg_sleep(0.01) FROM generate_series(1, 6000)"]
)
async def test_a_cancelled_copy_is_cancelled_at_the_server(case: Case, query: str) -> None:
    async with case.peers.session() as session:
        copying = asyncio.create_task(
            copy_out(session, query, lambda _: None, binary=False, budget=1 << 20)
        )
        await asyncio.sleep(0.3)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(copying, 5)
        assert await _usable(session)


def test_parts_are_taken_in_order_from_pieces_of_any_size() -> None:
    data = bytes(range(200))
    for step in (1, 7, 64, 200):
        segments = Segments(iter([data[i : i + step] for i in range(0, 200, step)]))
        assert b"".join(segments.part(5, 20)) == data[5:25]
        assert b"".join(segments.part(25, 100)) == data[25:125]
        assert b"".join(segments.part(130, 70)) == data[130:]
        segments.drain()
        with pytest.raises(ImageDamaged):
            b"".join(segments.part(10, 1))


def test_missing_parts_are_damage() -> None:
    with pytest.raises(ImageDamaged):
        b"".join(Segments(iter([b"abc"])).part(1, 5))


@pytest.mark.parametrize("binary", [True, False])
async def test_two_copies_give_all_rows_of_both(case: Case, binary: bool) -> None:
    case.setup("CREATE TABLE a(i int, v text); CREATE TABLE b(i int, v text)")
    case.admin.execute(f"INSERT INTO a {_MANY}")
    parts: list[bytes] = []
    async with case.peers.session() as one, case.peers.session() as two:
        query = "SELECT * FROM public.a WHERE i % 7 {} 0"
        both = [(one, query.format("=")), (two, query.format("<>"))]
        copied = await copy_all(both, parts.append, binary=binary, budget=1 << 30)
        assert (copied.rows, copied.size) == (20000, sum(map(len, parts)))
        nothing = [(one, f"{query.format('=')} AND false"), (two, "SELECT 1, 'x'")]
        assert (await copy_all(nothing, parts.append, binary=binary, budget=1 << 30)).rows == 1
    async with case.reverts.session() as session:
        assert await copy_in(session, "public.b", parts, binary=binary) == 20001
    case.admin.execute("INSERT INTO a VALUES (1, 'x')")
    dump = case.dump()
    assert dump["public.a"] == dump["public.b"]


@pytest.mark.parametrize(
    ("other", "budget", "error"),
    [
        ("SELECT 1 / (i - 9000) FROM generate_series(1, 10000) i", 1 << 30,
         psycopg.errors.DivisionByZero),
        ("SELECT nonsense", 1 << 30, psycopg.errors.UndefinedColumn),
        (_MANY, 300_000, TooMuch),
    ],
)  # fmt: skip
async def test_what_ends_one_of_two_copies_ends_both(
    case: Case, other: str, budget: int, error: type[Exception]
) -> None:
    async with case.peers.session() as one, case.peers.session() as two:
        for parts in ([(one, _MANY), (two, other)], [(two, other), (one, _MANY)]):
            with pytest.raises(error):
                await copy_all(parts, lambda _: None, binary=True, budget=budget)
            assert await _usable(one)
            assert await _usable(two)
