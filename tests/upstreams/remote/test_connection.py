"""Answers of every kind over a real connection to a tool that sends what it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.remote.connection import Connection
from tests.fixtures.canary import Canary, canary, say

ASK = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


async def connect(bird: Canary) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", bird.port)
    return connection


async def ask(
    connection: Connection, *, bodiless: bool = False, body: Any = None, head: bytes = ASK
) -> tuple[int, list[tuple[str, str]], bytes]:
    status, headers = await connection.exchange(
        head, body, bodiless=bodiless, answer_s=1, idle_s=0.5
    )
    content = b"".join([chunk async for chunk in connection.chunks(0.5)])
    return status, headers, content


async def answered(bird: Canary, raw: bytes, **more: Any) -> tuple[int, bytes, bool]:
    bird.scripts["/a"] = say(raw, close=more.pop("close", False))
    connection = await connect(bird)
    status, _, body = await ask(connection, **more)
    reusable = connection.reusable
    connection.abort()
    return status, body, reusable


HEAD = b"HTTP/1.1 200 OK\r\n"
GOOD: dict[str, tuple[bytes, dict[str, Any], tuple[int, bytes, bool]]] = {
    "a length": (HEAD + b"Content-Length: 2\r\n\r\nhi", {}, (200, b"hi", True)),
    "no body": (HEAD + b"Content-Length: 0\r\n\r\n", {}, (200, b"", True)),
    "chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x\r\ni\r\n0\r\nX-T: 1\r\n\r\n",
        {},
        (200, b"hi", True),
    ),
    "until the end": (HEAD + b"\r\nhi", {"close": True}, (200, b"hi", False)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhi", {"close": True}, (200, b"hi", False)),
    "a close": (
        HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", {}, (200, b"hi", False),
    ),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + HEAD + b"Content-Length: 2\r\n\r\nhi",
        {},
        (200, b"hi", True),
    ),
    "the answer to a HEAD": (
        HEAD + b"Content-Length: 99\r\n\r\n", {"bodiless": True}, (200, b"", True),
    ),
    "not modified": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", {}, (304, b"", True),
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", {}, (204, b"", True)),
    "204 with a body": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi", {}, (204, b"", False),
    ),
    "bytes": (HEAD + b"Content-Length: 3\r\n\r\n\x00\xff\n", {}, (200, b"\x00\xff\n", True)),
}  # fmt: skip


@pytest.mark.parametrize("what", GOOD)
async def test_an_answer_is_read_as_it_came(what: str, bird: Canary) -> None:
    raw, more, expected = GOOD[what]
    assert await answered(bird, raw, **more) == expected


BAD: dict[str, bytes] = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
    "CL and TE": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "999": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "600": b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a flood of interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "a large head": HEAD + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(400)) + b"\r\n",
    "a bare line feed in a header": HEAD + b"X-A: b\nSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    "a bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a bad length": HEAD + b"Content-Length: -1\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD)
async def test_an_answer_that_is_none_proves_nothing(what: str, bird: Canary) -> None:
    with pytest.raises(UpstreamError) as caught:
        await answered(bird, BAD[what])
    assert not caught.value.proves_no_effect


async def test_a_body_that_is_cut_off_is_an_error(bird: Canary) -> None:
    for raw in (
        HEAD + b"Content-Length: 9\r\n\r\nhi",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi",
        HEAD + b"Content-Le",
    ):
        with pytest.raises(UpstreamError) as caught:
            await answered(bird, raw, close=True)
        assert not caught.value.proves_no_effect


async def test_silence_is_a_timeout(bird: Canary) -> None:
    for raw in (b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\nhi"):
        with pytest.raises(UpstreamError) as caught:
            await answered(bird, raw)
        assert caught.value.reason == "upstream.timeout"


async def test_a_connection_is_used_again_and_not_after_bytes_that_nobody_asked_for(
    bird: Canary,
) -> None:
    good = HEAD + b"Content-Length: 2\r\n\r\nhi"
    bird.scripts["/a"] = say(good)
    connection = await connect(bird)
    for _ in range(3):
        assert (await ask(connection))[2] == b"hi"
        assert connection.reusable
    bird.scripts["/a"] = say(good + good)
    assert (await ask(connection))[2] == b"hi"
    await asyncio.sleep(0.05)
    assert not connection.reusable
    with pytest.raises(UpstreamError) as caught:
        await ask(connection)
    assert caught.value.proves_no_effect
    assert bird.connections == 1


async def test_a_large_answer_waits_for_its_reader(bird: Canary) -> None:
    size = 20_000_000
    bird.scripts["/a"] = say(HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    connection = await connect(bird)
    await connection.exchange(ASK, None, bodiless=False, answer_s=2, idle_s=2)
    await asyncio.sleep(0.2)
    answer = connection._answer
    assert answer is not None
    assert answer.held < 2_000_000, "the whole answer is in memory"
    received = 0
    async for chunk in connection.chunks(2):
        received += len(chunk)
    assert received == size
    connection.abort()


async def test_a_body_is_sent_piece_by_piece(bird: Canary) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 100_000

    connection = await connect(bird)
    head = b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n"
    status, _, _ = await ask(connection, body=pieces(), head=head)
    assert status == 200
    assert len(bird.seen[-1].body) == 5_000_000
    assert connection.reusable
    connection.abort()


async def test_an_early_answer_ends_the_sending(bird: Canary) -> None:
    # A canary answers after the body; so the answer comes from a listener of its own.
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    server = await asyncio.start_server(early, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    head = b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    status, _, _ = await ask(connection, body=pieces(), head=head)
    assert status == 413
    assert sent < 1000
    assert not connection.reusable
    connection.abort()
    server.close()
