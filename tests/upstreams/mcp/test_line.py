from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.addresses import Ambiguous
from gateway.errors import UpstreamError
from gateway.upstreams.mcp.line import Line, place_of
from tests.fixtures.canary import Canary, canary, say


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


async def test_a_request_says_what_is_configured_and_what_it_is_given(bird: Canary) -> None:
    line = Line(f"{bird.url}/mcp?tenant=a", {"X-Key": "configured"})
    async with line.send("POST", {"accept": "application/json"}, b"{}") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert b"".join([piece async for piece in answer.pieces()]) == b'{"ok":true}'
    line.close()
    [seen] = bird.seen
    assert seen.line == b"POST /mcp?tenant=a HTTP/1.1"
    assert seen.body == b"{}"
    assert seen.headers == [
        ("host", bird.url.removeprefix("http://")),
        ("user-agent", "holdfast"),
        ("accept-encoding", "identity"),
        ("x-key", "configured"),
        ("accept", "application/json"),
        ("content-length", "2"),
    ]


async def test_a_whole_answer_leaves_the_connection_for_the_next(bird: Canary) -> None:
    line = Line(bird.url)
    for _ in range(3):
        async with line.send("POST", {}, b"{}") as answer:
            assert [piece async for piece in answer.pieces()]
    assert bird.connections == 1
    async with line.send("POST", {}, b"{}"):
        pass  # its body is not read
    async with line.send("POST", {}, b"{}") as answer:
        assert answer.status == 200
    assert bird.connections == 2
    line.close()


async def test_a_redirect_is_an_answer_like_others(bird: Canary) -> None:
    bird.scripts["/"] = say(
        b"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    )
    async with Line(bird.url).send("POST", {}, b"{}") as answer:
        assert answer.status == 307
    assert len(bird.seen) == 1


async def test_a_connection_that_breaks_proves_nothing(bird: Canary) -> None:
    bird.scripts["/"] = say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", close=True)
    with pytest.raises(UpstreamError) as broken:
        async with Line(bird.url).send("POST", {}, b"{}") as answer:
            assert [piece async for piece in answer.pieces()]
    assert not broken.value.proves_no_effect


async def test_nobody_there_proves_that_nothing_was_sent() -> None:
    with pytest.raises(UpstreamError) as refused:
        async with Line("http://127.0.0.1:1/mcp").send("POST", {}, b"{}"):
            pytest.fail("nobody listens there")
    assert refused.value.proves_no_effect
    assert refused.value.reason == "upstream.unreachable"


@pytest.mark.parametrize(
    "headers", [{"mcp-name": "a\r\nx: y"}, {"mcp name": "a"}, {"mcp-name": "\u20ac"}]
)
async def test_a_header_that_would_say_something_else_is_not_sent(
    bird: Canary, headers: dict[str, str]
) -> None:
    with pytest.raises(UpstreamError) as refused:
        Line(bird.url).send("POST", headers, b"{}")
    assert refused.value.proves_no_effect
    assert bird.seen == []


@pytest.mark.parametrize("url", ["http://a@b/", "http://h/a b", "ftp://h/", "http://0x7f.1/"])
def test_an_address_that_could_be_another_is_refused(url: str) -> None:
    with pytest.raises(Ambiguous):
        place_of(url)


def test_path_and_query_are_asked_for_as_written() -> None:
    assert place_of("https://h/a/%2F/?x=%20")[1] == "/a/%2F/?x=%20"
    assert place_of("http://h")[1] == "/"
