"""Whatever an OPA server answers that is not a decision denies the call, within the deadline."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.model import Allow, Deny
from gateway.policy.opa import OpaPolicy
from gateway.policy.result import unavailable
from tests.policy.decisions import document

DEADLINE_S = 0.25
GOOD = b'{"result":{"allow":true,"hold":false,"reasons":[],"obligations":{}}}'


def _reply(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _decision(text: str) -> bytes:
    return _reply(b'{"result":' + text.encode() + b"}")


ANSWERS = {
    "500": _reply(b'{"code":"internal_error"}', "500 Internal Server Error"),
    "500 with a decision": _reply(GOOD, "500 Internal Server Error"),
    "404": _reply(b"not here", "404 Not Found", "text/plain"),
    "garbage": b"\x00\x01garbage\r\n\r\n",
    "closes at once": b"",
    "cut short": _reply(GOOD)[:-20],
    "html": _reply(b"<html>ok</html>", kind="text/html"),
    "broken json": _reply(b'{"result":'),
    "a bare list": _reply(b"[true]"),
    "bare null": _reply(b"null"),
    "undefined": _reply(b"{}"),
    "null result": _decision("null"),
    "true": _decision("true"),
    "string": _decision('"allow"'),
    "allow as a string": _decision('{"allow":"true","hold":false,"reasons":[],"obligations":{}}'),
    "allow as a number": _decision('{"allow":1,"hold":false,"reasons":[],"obligations":{}}'),
    "allow as null": _decision('{"allow":null,"hold":false,"reasons":[],"obligations":{}}'),
    "hold missing": _decision('{"allow":true,"reasons":[],"obligations":{}}'),
    "an extra member": _decision(
        '{"allow":true,"hold":false,"reasons":[],"obligations":{},"deny":false}'
    ),
    "reasons as a string": _decision('{"allow":true,"hold":false,"reasons":"","obligations":{}}'),
    "an unknown obligation": _decision(
        '{"allow":true,"hold":false,"reasons":[],"obligations":{"sign":true}}'
    ),
    "obligations as a list": _decision('{"allow":true,"hold":false,"reasons":[],"obligations":[]}'),
    "max_rows as true": _decision(
        '{"allow":true,"hold":false,"reasons":[],"obligations":{"max_rows":true}}'
    ),
    "max_share as NaN": _decision(
        '{"allow":true,"hold":false,"reasons":[],"obligations":{"max_share":NaN}}'
    ),
    "not utf-8": _reply(b'{"result":"\xff\xfe"}'),
}


@asynccontextmanager
async def _server(reply: bytes, wait_s: float = 0.0) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(wait_s)
            writer.write(reply)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _asked(url: str) -> tuple[object, float]:
    policy = OpaPolicy(url, deadline_s=DEADLINE_S)
    await policy._opened.enter_async_context(policy._client)
    policy._open = True  # without the look at the policies, which these servers do not answer
    began = time.monotonic()
    try:
        return await policy.decide(document(does=["select main.orders"])), time.monotonic() - began
    finally:
        await policy.close()


async def test_a_good_answer_is_taken() -> None:
    async with _server(_reply(GOOD)) as url:
        decision, _ = await _asked(url)
    assert isinstance(decision, Allow)


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_bad_answer_denies(name: str) -> None:
    async with _server(ANSWERS[name]) as url:
        decision, took = await _asked(url)
    assert isinstance(decision, Deny)
    assert decision.reason == "policy.unavailable"
    assert took < DEADLINE_S + 0.5


async def test_a_slow_answer_denies_in_time() -> None:
    async with _server(_reply(GOOD), wait_s=2) as url:
        decision, took = await _asked(url)
    assert isinstance(decision, Deny)
    assert decision.reason == "policy.unavailable"
    assert took < DEADLINE_S + 0.5


async def test_a_server_that_is_down_denies_in_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    decision, took = await _asked(f"http://127.0.0.1:{port}")
    assert isinstance(decision, Deny)
    assert decision.reason == "policy.unavailable"
    assert took < DEADLINE_S + 0.5


async def test_a_server_that_is_down_is_reported_and_keeps_nothing_open() -> None:
    policy = OpaPolicy("http://127.0.0.1:9", deadline_s=DEADLINE_S)
    await policy.open()
    try:
        assert [finding.level for finding in await policy.check()] == ["error"]
        assert policy.revision == ""
    finally:
        await policy.close()
    closed = await policy.decide(document())
    assert closed == unavailable("the policy server is not connected")


async def test_a_document_that_engines_read_differently_is_not_sent() -> None:
    async with _server(_reply(GOOD)) as url:
        policy = OpaPolicy(url, deadline_s=DEADLINE_S)
        await policy._opened.enter_async_context(policy._client)
        policy._open = True
        decision = await policy.decide({**document(), "action": {"tool": "a\x00b"}})
        await policy.close()
    assert isinstance(decision, Deny)
    assert "NUL" in decision.detail


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x/v1/data", "x:8181"])
def test_only_an_address_of_a_server_is_taken(url: str) -> None:
    with pytest.raises(ValueError, match="OPA url"):
        OpaPolicy(url)
