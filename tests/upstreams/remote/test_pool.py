from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.errors import UpstreamError
from gateway.hosts import origin_of
from gateway.upstreams.http.declared import Bounds
from gateway.upstreams.remote.connection import Connection
from gateway.upstreams.remote.pool import Pool, look_up
from tests.fixtures.canary import Canary, canary

ASK = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
QUICK = Bounds(connect_s=0.3, connections=2)


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


async def used(connection: Connection) -> None:
    await connection.exchange(ASK, None, bodiless=False, answer_s=1, idle_s=1)
    assert [chunk async for chunk in connection.chunks(1)]


async def refusal(pool: Pool) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await pool.take(writes=True)
    assert caught.value.proves_no_effect
    assert caught.value.reason == "upstream.unreachable"
    return caught.value


async def test_connections_are_used_again(bird: Canary) -> None:
    pool = Pool(origin_of(bird.url), QUICK, internal=False)
    for _ in range(3):
        connection = await pool.take(writes=False)
        await used(connection)
        pool.give_back(connection)
    assert bird.connections == 1
    pool.close()


async def test_a_write_does_not_meet_a_connection_that_may_be_closing(bird: Canary) -> None:
    pool = Pool(origin_of(bird.url), QUICK, internal=False)
    connection = await pool.take(writes=True)
    await used(connection)
    pool.give_back(connection)
    connection.idle_since -= 2
    again = await pool.take(writes=True)
    assert again is not connection
    pool.give_back(again)
    connection.idle_since -= 5
    other = await pool.take(writes=False)
    assert other is not connection
    pool.give_back(other)
    pool.close()


async def test_connections_are_bounded(bird: Canary) -> None:
    pool = Pool(origin_of(bird.url), QUICK, internal=False)
    held = [await pool.take(writes=True) for _ in range(2)]
    assert "in use" in (await refusal(pool)).detail
    waiting = asyncio.create_task(pool.take(writes=True))
    await asyncio.sleep(0.05)
    await used(held[0])
    pool.give_back(held[0])
    assert await waiting is held[0]
    for connection in held:
        pool.give_back(connection)
    pool.close()


async def test_a_closed_port_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    await refusal(Pool(origin_of(f"http://127.0.0.1:{port}"), QUICK, internal=False))


async def test_a_name_is_resolved_once_and_the_checked_address_is_called(bird: Canary) -> None:
    asked = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    origin = origin_of(f"http://crm.example:{bird.port}")
    pool = Pool(origin, QUICK, internal=True, lookup=lookup)
    connection = await pool.take(writes=True)
    await used(connection)
    assert asked == ["crm.example"]
    pool.give_back(connection)
    connection.abort()
    assert "link-local" in (await refusal(pool)).detail
    pool.close()


@pytest.mark.parametrize(
    ("addresses", "part"),
    [
        (["127.0.0.1"], "private address"),
        (["10.0.0.8"], "private address"),
        (["::ffff:10.0.0.8"], "stands for another"),
        (["9.9.9.9", "169.254.169.254"], "link-local"),
        (["fe80::1%eth0"], "link-local"),
        (["0.0.0.0"], "not that of one host"),
        ([], "no address"),
    ],
)
async def test_a_name_that_leads_inside_is_not_called(addresses: list[str], part: str) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return addresses

    pool = Pool(origin_of("http://crm.example"), QUICK, internal=False, lookup=lookup)
    assert part in (await refusal(pool)).detail


async def test_a_name_that_is_unknown_or_slow_was_sent_nothing() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(5)
        return []

    for lookup in (unknown, slow):
        pool = Pool(origin_of("http://crm.example"), QUICK, internal=False, lookup=lookup)
        assert "name" in (await refusal(pool)).detail


async def test_localhost_is_looked_up() -> None:
    assert set(await look_up("localhost", 80)) <= {"127.0.0.1", "::1"}
