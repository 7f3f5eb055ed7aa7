from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from gateway.cli.protocol import RESERVE, Refused, protocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def listening(
    *, limit: int | None = None, refused: Refused | None = None
) -> AsyncIterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(
            PlainTextResponse("fine"),
            http=protocol(0.3, refused or Refused()),
            ws="none",
            lifespan="off",
            log_config=None,
            limit_concurrency=limit,
        )
    )
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


async def answer(port: int, sent: bytes) -> tuple[int, Any]:
    """The status and the body of what comes back until the server closes or the body is whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [n for n in head.lower().split(b"\r\n") if n.startswith(b"content-length:")]
        body = await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
    await writer.wait_closed()
    text = body.decode()
    return int(head.split()[1]), json.loads(text) if text.startswith("{") else text


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n"])
async def test_what_is_no_http_is_malformed(sent: bytes) -> None:
    async with listening() as port:
        status, document = await answer(port, sent)
    assert (status, document["reason"], document["effect"]) == (400, "malformed", "none")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_head_that_does_not_arrive_is_a_deadline(sent: bytes) -> None:
    async with listening() as port:
        status, document = await answer(port, sent)
    assert (status, document["reason"]) == (408, "deadline")


async def test_a_request_that_arrives_is_answered_by_the_application() -> None:
    async with listening() as port:
        assert await answer(port, REQUEST) == (200, "fine")


async def test_one_connection_too_many_is_overloaded() -> None:
    async with listening(limit=1) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        status, document = await answer(port, REQUEST)
        assert (status, document["reason"], document["retryable"]) == (503, "overloaded", True)
        health = await answer(port, REQUEST.replace(b"GET /", b"GET /healthz"))
        assert health == (200, "fine")
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
        assert await answer(port, REQUEST) == (200, "fine")


async def test_beyond_the_reserve_nobody_is_answered() -> None:
    async with listening(limit=1) as port:
        writers = [
            (await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(RESERVE + 1)
        ]
        health = REQUEST.replace(b"GET /", b"GET /healthz")
        status, document = await answer(port, health)
        assert (status, document["reason"]) == (503, "overloaded")
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def test_an_answer_before_the_end_of_the_body_arrives_whole_and_ends_the_connection() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000000\r\n\r\n")
        writer.write(b"x" * 1_000_000)
        async with asyncio.timeout(5):
            answered = await reader.read()
        assert b"connection: close" in answered
        assert answered.endswith(b"fine")
        writer.close()


async def test_refusals_come_after_the_answers_that_are_due() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST * 3 + b"BROKEN\r\n\r\n" + REQUEST)
        async with asyncio.timeout(5):
            answered = await reader.read()
        assert [line.split()[1] for line in answered.split(b"\r\n") if b"HTTP/1.1 " in line] == [
            *[b"200"] * 3,
            b"400",
        ]
        writer.close()


async def test_what_is_refused_is_counted_by_status_and_logged_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = Refused()
    logged: list[dict[str, Any]] = []

    class Log:  # whatever level other tests have set
        def info(self, event: str, **more: object) -> None:
            logged.append({"event": event, **more})

        warning = info

    monkeypatch.setattr("gateway.cli.protocol.log", Log())
    async with listening(refused=refused) as port:
        for _ in range(3):
            await answer(port, b"nonsense\r\n\r\n")
        await answer(port, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n")
        assert (await answer(port, REQUEST))[0] == 200
    assert refused.counts == {400: 3, 505: 1}
    for _ in range(96):
        refused.note(400, "again")
    refused.tell()
    noted = [entry["refused"] for entry in logged if entry["event"] == "http.refused"]
    assert noted == [*range(1, 17), 32, 64]
    [told] = [entry for entry in logged if entry["event"] == "http.refused_in_all"]
    assert told["by_status"] == {"400": 99, "505": 1}
