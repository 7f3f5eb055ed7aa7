"""httpx behind the seam, where only it shows. The table of ``test_transport`` runs over it too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.hosts import origin_of
from gateway.upstreams.http.by_httpx import HttpxConnections
from gateway.upstreams.http.declared import Bounds
from tests.fixtures.canary import Canary, canary, say

HEAD = b"%s /a/%%2e%%2e/b?x=%%2F HTTP/1.1\r\nhost: tool.example\r\nx-odd: \xe9\r\n\r\n"


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


def connections(url: str, **bounds: Any) -> HttpxConnections:
    return HttpxConnections(origin_of(url), Bounds(**{"connect_s": 1.0, **bounds}), internal=False)


async def said(carrier: HttpxConnections, method: bytes = b"GET", *, writes: bool = False) -> bytes:
    taken = await carrier.take(writes=writes)
    try:
        await taken.exchange(HEAD % method, None, bodiless=False, answer_s=1, idle_s=1)
        return b"".join([piece async for piece in taken.chunks(1)])
    finally:
        carrier.give_back(taken)


async def test_the_bytes_of_the_request_are_those_that_were_judged(bird: Canary) -> None:
    carrier = connections(bird.url)
    await said(carrier)
    carrier.close()
    head = bird.seen[0].head
    assert head.startswith(b"GET /a/%2e%2e/b?x=%2F HTTP/1.1\r\n")
    assert bird.seen[0].header("host") == "tool.example"
    assert b"x-odd: \xe9" in head
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line]
    assert sorted(names) == [b"host", b"x-odd"], "httpx adds nothing of its own"


async def test_a_tool_that_is_not_there_was_sent_nothing() -> None:
    carrier = connections("http://127.0.0.1:1")
    with pytest.raises(UpstreamError) as raised:
        await said(carrier)
    assert raised.value.proves_no_effect
    assert raised.value.reason == "upstream.unreachable"
    carrier.close()


async def test_a_name_that_stands_for_a_private_address_is_not_called(bird: Canary) -> None:
    async def inside(_host: str, _port: int) -> list[str]:
        return ["10.0.0.7"]

    origin = origin_of("http://tool.example")
    carrier = HttpxConnections(origin, Bounds(), internal=False, lookup=inside)
    with pytest.raises(UpstreamError) as raised:
        await carrier.take(writes=False)
    assert "private address" in raised.value.detail
    carrier.close()


async def test_an_answer_that_does_not_come_leaves_the_effect_open(bird: Canary) -> None:
    bird.scripts["/a/%2e%2e/b"] = say(b"")
    carrier = connections(bird.url)
    taken = await carrier.take(writes=True)
    with pytest.raises(UpstreamError) as raised:
        await taken.exchange(HEAD % b"POST", None, bodiless=False, answer_s=0.2, idle_s=1)
    assert not raised.value.proves_no_effect
    carrier.give_back(taken)
    carrier.close()


async def test_more_than_allowed_at_once_wait_and_are_refused(bird: Canary) -> None:
    carrier = connections(bird.url, connections=1, connect_s=0.1)
    taken = await carrier.take(writes=False)
    with pytest.raises(UpstreamError) as raised:
        await carrier.take(writes=False)
    assert "in use" in raised.value.detail
    carrier.give_back(taken)
    again = await carrier.take(writes=False)
    carrier.give_back(again)
    carrier.close()
    await asyncio.sleep(0)
