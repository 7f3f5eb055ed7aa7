from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.hosts import origin_of
from gateway.surfaces.uploads import Shelf, Upload
from gateway.upstreams.http.by_httpx import HttpxConnections
from gateway.upstreams.http.declared import Bounds, DeclaredRoute, DeclaredTool
from gateway.upstreams.http.routes import compile_routes
from gateway.upstreams.http.transport import Connect, HttpTransport
from gateway.upstreams.remote.pool import Pool
from tests.fixtures.canary import Canary, canary, say

ROUTES = (
    DeclaredRoute(match="POST /keyed", idempotency_key="X-Key"),
    DeclaredRoute(match="POST /strict", error_means_no_effect=frozenset({500})),
)


@dataclass
class Chosen:
    """The client that a test runs over; every one runs over both."""

    connect: Connect = Pool


CHOSEN = Chosen()


@pytest.fixture(params=[Pool, HttpxConnections], ids=["own", "httpx"])
def bird(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    monkeypatch.setattr(CHOSEN, "connect", request.param)
    with canary() as found:
        yield found


@asynccontextmanager
async def transport(bird: Canary, **bounds: Any) -> AsyncIterator[HttpTransport]:
    tool = DeclaredTool(
        name="crm",
        origin=origin_of(bird.url),
        environment="production",
        headers={"Authorization": "Bearer secret"},
        bounds=Bounds(**{"answer_s": 1.0, "idle_s": 1.0, **bounds}),
        routes=ROUTES,
    )
    table, faults = compile_routes(ROUTES)
    assert faults == []
    pool = CHOSEN.connect(tool.origin, tool.bounds, internal=False)
    try:
        yield HttpTransport(tool, table, pool)
    finally:
        pool.close()
        await asyncio.sleep(0)  # what closes later begins to


def request(method: str = "GET", path: str = "/a", **more: Any) -> dict[str, Any]:
    base = {"method": method, "path": path, "query": [], "headers": {}, "type": None, "body": None}
    return {**base, **more}


def saying(status: int, body: bytes = b"", *headers: bytes) -> Any:
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(body))
    return say(head + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body)


async def test_an_answer_is_seen_recorded_and_judged(bird: Canary) -> None:
    bird.scripts["/a"] = saying(200, b'{"n":1}', b"Content-Type: application/json", b"ETag: x")
    async with transport(bird) as sender:
        answer = await sender.send(request())
    assert answer.view["body"] == {"n": 1}
    assert answer.view["headers"]["etag"] == "x"
    assert answer.result["body"] == '{"n":1}'
    assert (answer.failed, answer.live) == (False, None)
    assert bird.seen[0].header("authorization") == "Bearer secret"


@pytest.mark.parametrize(
    ("path", "status", "failed", "certain", "absent"),
    [
        ("/a", 200, False, False, False), ("/a", 303, False, False, False),
        ("/a", 308, True, True, False), ("/a", 404, True, True, True),
        ("/a", 409, True, True, False), ("/keyed", 409, True, False, False),
        ("/a", 408, True, False, False), ("/a", 500, True, False, False),
        ("/strict", 500, True, True, False), ("/strict", 400, True, False, False),
    ],
)  # fmt: skip
async def test_only_what_is_declared_proves_that_nothing_happened(
    path: str, status: int, failed: bool, certain: bool, absent: bool, bird: Canary
) -> None:
    bird.scripts[path] = saying(status)
    async with transport(bird) as sender:
        answer = await sender.send(request("POST", path))
    assert (answer.failed, answer.proves_no_effect, answer.absent) == (failed, certain, absent)


@pytest.mark.parametrize(("status", "away"), [(500, False), (502, True), (503, True), (429, False)])
async def test_what_stands_in_for_a_tool_says_that_it_is_away(
    status: int, away: bool, bird: Canary
) -> None:
    bird.scripts["/a"] = saying(status)
    async with transport(bird) as sender:
        assert (await sender.send(request())).away is away


async def test_the_key_goes_where_the_route_says_and_nowhere_else(bird: Canary) -> None:
    async with transport(bird) as sender:
        await sender.send(request("POST", "/keyed"), key="k1")
        await sender.send(request("POST", "/a"), key="k1")
    assert bird.seen[0].header("x-key") == "k1"
    assert b"k1" not in bird.seen[1].head


async def test_a_redirect_is_not_followed(bird: Canary) -> None:
    bird.scripts["/a"] = saying(302, b"", b"Location: http://169.254.169.254/latest")
    async with transport(bird) as sender:
        answer = await sender.send(request())
    assert answer.view["status"] == 302
    assert len(bird.seen) == 1


async def test_proxies_of_the_environment_are_not_asked(
    bird: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with transport(bird) as sender:
        assert (await sender.send(request())).view["status"] == 200


async def test_a_large_answer_is_live_for_who_can_take_it(bird: Canary) -> None:
    bird.scripts["/a"] = saying(200, b"x" * 50_000)
    async with transport(bird, recorded_bytes=1000) as sender:
        answer = await sender.send(request(), live=True)
        assert answer.result["kept"] is False
        assert answer.view["body"] is None
        assert sum([len(c) async for c in answer.live.chunks()]) == 50_000
        await answer.live.close()
        await answer.live.close()
        cut = await sender.send(request())
        assert (cut.live, cut.result["kept"]) == (None, False)


async def test_a_write_waits_for_a_short_answer_and_streams_a_long_one(bird: Canary) -> None:
    chunk = b"%x\r\n%s\r\n" % (600, b"x" * 600)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    bird.scripts["/a"] = say(head + chunk + b"0\r\n\r\n")
    bird.scripts["/b"] = say(head + chunk * 5 + b"0\r\n\r\n")
    async with transport(bird, recorded_bytes=1000) as sender:
        short = await sender.send(request("POST"), live=True)
        assert (short.live, len(short.result["body"])) == (None, 600)
        long = await sender.send(request("POST", "/b"), live=True)
        assert b"".join([c async for c in long.live.chunks()]) == b"x" * 3000
        await long.live.close()


async def test_events_are_live_at_once(bird: Canary) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    bird.scripts["/a"] = say(head + b"data: 1\n\n")
    async with transport(bird) as sender:
        for method in ("GET", "POST"):
            async with asyncio.timeout(0.8):
                answer = await sender.send(request(method), live=True)
                assert await anext(answer.live.chunks()) == b"data: 1\n\n"
            await answer.live.close()


async def test_an_endless_answer_is_cut_off(bird: Canary) -> None:
    bird.scripts["/a"] = saying(200, b"x" * 90_000)
    async with transport(bird, recorded_bytes=10, response_bytes=50_000) as sender:
        answer = await sender.send(request(), live=True)
        with pytest.raises(UpstreamError):
            assert [c async for c in answer.live.chunks()]
        await answer.live.close()


async def test_a_body_kept_aside_is_sent_only_if_it_is_the_one_that_was_judged(
    bird: Canary,
) -> None:
    upload = Upload(Shelf(1000))
    await upload.write(b"\x89PNG")
    named = {"sha256": upload.sha256, "size": 4}
    async with transport(bird) as sender:
        asked = request("POST", type="image/png", body=named)
        await sender.send(asked, body=upload)
        assert bird.seen[0].body == b"\x89PNG"
        assert bird.seen[0].header("content-length") == "4"
        assert bird.seen[0].header("content-type") == "image/png"
        for payload, body in ((None, named), (upload, {**named, "sha256": "0"}), (upload, None)):
            with pytest.raises(UpstreamError) as caught:
                await sender.send({**asked, "body": body}, body=payload)
            assert caught.value.proves_no_effect
    assert len(bird.seen) == 1
    upload.close()


async def test_a_body_that_waited_for_a_person_is_found_by_its_hash(bird: Canary) -> None:
    upload = Upload(Shelf(1000))
    await upload.write(b"\x89PNG")
    async with transport(bird) as sender:
        sender._find = {upload.sha256: upload}.get
        named = {"sha256": upload.sha256, "size": 4}
        await sender.send(request("POST", type="image/png", body=named))
        with pytest.raises(UpstreamError):
            await sender.send(request("POST", type="image/png", body={**named, "size": 5}))
    assert [seen.body for seen in bird.seen] == [b"\x89PNG"]
    upload.close()


async def test_a_write_does_not_wait_for_ever_for_an_answer_that_goes_on(
    bird: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstreams.http.transport._PATIENCE_S", 0.1)
    bird.scripts["/a"] = say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
    async with transport(bird) as sender:
        answer = await sender.send(request("POST"), live=True)
        assert (answer.failed, answer.result["kept"]) == (False, False)
        assert await anext(answer.live.chunks()) == b"hi"
        await answer.live.close()


async def test_a_caller_that_is_stopped_leaves_no_connection_behind(bird: Canary) -> None:
    bird.scripts["/a"] = say(b"")
    async with transport(bird, connections=1, connect_s=0.2) as sender:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await sender.send(request())
        bird.scripts["/a"] = saying(200)
        assert (await sender.send(request())).view["status"] == 200
