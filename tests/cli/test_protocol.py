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

from gateway.cli.protocol import protocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def listening(*, limit: int | None = None) -> AsyncIterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(
            PlainTextResponse("fine"),
            http=protocol(0.3),
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
        status, document = await answer(port, REQUEST)
    assert (status, document["reason"], document["retryable"]) == (503, "overloaded", True)
