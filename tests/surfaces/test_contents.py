from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from gateway.errors import Deadline, HoldfastError, Malformed, TooLarge, UnsupportedMedia
from gateway.surfaces.contents import Content, read_content
from gateway.surfaces.strict_json import JsonBounds
from gateway.surfaces.uploads import Shelf
from gateway.surfaces.wiring import Bounds

BOUNDS = Bounds(json=JsonBounds(bytes=100), body_idle_s=0.05, body_total_s=0.1, upload_idle_s=0.05)


def request(kind: str | None, *pieces: bytes, stalls: bool = False, **headers: str) -> Request:
    raw = [(b"transfer-encoding", b"chunked")]
    if kind is not None:
        raw.append((b"content-type", kind.encode()))
    raw += [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    waiting: list[bytes] = list(pieces)

    async def receive() -> Any:
        if waiting:
            piece = waiting.pop(0)
            more = bool(waiting) or stalls
            return {"type": "http.request", "body": piece, "more_body": more}
        await asyncio.sleep(10)
        raise AssertionError("nobody waits this long")

    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


async def content(kind: str | None, *pieces: bytes, most: int = 1000, **more: Any) -> Content:
    shelf = Shelf(10_000)
    try:
        return await read_content(request(kind, *pieces, **more), BOUNDS, most=most, shelf=shelf)
    except HoldfastError:
        assert shelf._held == 0, "what was refused still takes room"
        raise


async def test_json_is_what_it_says() -> None:
    found = await content("application/json; charset=utf-8", b'{"a":', b" 1}")
    assert (found.kind, found.body, found.upload) == ("application/json", {"a": 1}, None)


async def test_json_that_could_be_read_differently_is_malformed() -> None:
    for text in (b'{"a": 1, "a": 2}', b'{"a": 1e400}', b'{"n": 12345678901234567890123}', b"{} {}"):
        with pytest.raises(Malformed):
            await content("application/json", text)


async def test_a_form_is_a_list_of_pairs() -> None:
    found = await content("application/x-www-form-urlencoded", b"a=1&a=2&_Method=PUT&c")
    assert found.body == [["a", "1"], ["a", "2"], ["c", None]]


async def test_anything_else_is_kept_as_it_came() -> None:
    found = await content("Image/PNG", b"\x89PN", b"G")
    assert found.kind == "image/png"
    assert found.upload is not None
    assert found.body == {"sha256": found.upload.sha256, "size": 4}
    assert [piece async for piece in found.upload.chunks()] == [b"\x89PNG"]
    found.upload.close()


async def test_parts_are_told_and_the_boundary_goes_on() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
    found = await content('multipart/form-data; boundary="b"', part)
    assert found.kind == 'multipart/form-data; boundary="b"'
    assert found.body["parts"][0]["name"] == "a"
    assert found.upload is not None
    found.upload.close()


async def test_nothing_is_no_body() -> None:
    for kind in ("application/json", "image/png", "application/x-www-form-urlencoded"):
        assert await content(kind, b"") == Content()


UNSUPPORTED = [
    (None, b"{}"), ("text", b"{}"), ("application/json; charset=utf-7", b"{}"),
    ("application/json; profile=x", b"{}"),
    ("application/json; charset=utf-8; charset=utf-8", b"{}"),
    ("text/plain", b" \n[1]"), ("text/xml", b"{}"), ("multipart/mixed; boundary=b", b"--b--"),
    ("text/plain; charset=utf-16", b"a"), ("a/b; ;", b"a"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data"), UNSUPPORTED)
async def test_what_lies_about_itself_is_not_supported(kind: str | None, data: bytes) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        await content(kind, data)
    assert caught.value.reason == "media.unsupported"


async def test_a_compressed_body_is_not_unpacked() -> None:
    with pytest.raises(UnsupportedMedia):
        await content("application/json", b"{}", content_encoding="gzip")


async def test_bodies_have_bounds_in_size() -> None:
    with pytest.raises(TooLarge):
        await content("application/json", b'"' + b"a" * 200 + b'"')
    with pytest.raises(TooLarge):
        await content("image/png", b"a" * 600, b"a" * 600)
    with pytest.raises(TooLarge):
        await content("image/png", b"", content_length="99999999")


@pytest.mark.parametrize("kind", ["application/json", "image/png"])
async def test_bodies_have_deadlines(kind: str) -> None:
    with pytest.raises(Deadline):
        await content(kind, b"{", stalls=True)


async def test_a_steady_upload_may_take_its_time() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            await asyncio.sleep(0.02)
            yield b"x"

    source = pieces()

    async def receive() -> Any:
        piece = await anext(source, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    headers = [(b"content-type", b"image/png"), (b"transfer-encoding", b"chunked")]
    asked = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    found = await read_content(asked, BOUNDS, most=1000, shelf=Shelf(1000))
    assert found.body["size"] == 8
