"""Request bodies: bounded in size and time before anything is made of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable

from starlette.requests import Request
from starlette.types import Message

from gateway.errors import Deadline, Malformed, TooLarge
from gateway.model import Json
from gateway.surfaces import strict_json
from gateway.surfaces.begun import Begun
from gateway.surfaces.wiring import Bounds

_CONTENT_TYPE = re.compile(
    r"application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|\"utf-8\")[ \t]*)?", re.IGNORECASE
)
# A body of this size is read in a thread, so that no request holds up the others.
_LARGE = 32_768


async def read_json(request: Request, bounds: Bounds) -> Json:
    """The JSON body. Raises ``TooLarge``, ``Deadline`` and ``Malformed``."""
    _check_headers(request)
    return await _parsed(await _read(request, bounds), bounds)


async def read_optional_json(request: Request, bounds: Bounds) -> Json:
    """As ``read_json``; an absent body is an empty object."""
    data = await _read(request, bounds)
    if not data:
        return {}
    _check_headers(request)
    return await _parsed(data, bounds)


async def _parsed(data: bytes, bounds: Bounds) -> Json:
    if len(data) < _LARGE:
        return strict_json.parse(data, bounds.json)
    return await asyncio.to_thread(strict_json.parse, data, bounds.json)


def _check_headers(request: Request) -> None:
    types = request.headers.getlist("content-type")
    if len(types) != 1 or _CONTENT_TYPE.fullmatch(types[0].strip()) is None:
        raise Malformed("The body must be sent as Content-Type: application/json (UTF-8).")
    if request.headers.getlist("content-encoding"):
        raise Malformed("A body with a Content-Encoding is not accepted.")


async def _read(request: Request, bounds: Bounds) -> bytes:
    limit = bounds.json.bytes
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    first: Begun[Message] = Begun(_received(request))
    if first.over and first.value["type"] == "http.request" and not first.value.get("more_body"):
        # Most bodies arrive with their head: nothing has to be waited for.
        whole: bytes = first.value.get("body", b"")
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    data = bytearray()
    now = asyncio.get_running_loop().time
    end = now() + bounds.body_total_s
    try:
        async with asyncio.timeout(bounds.body_idle_s) as deadline:
            async for chunk in _chunks(request, first):
                data += chunk
                if len(data) > limit:
                    raise _too_large(limit)
                deadline.reschedule(min(now() + bounds.body_idle_s, end))
    except TimeoutError:
        raise Deadline("The body did not arrive in time. Nothing was done.") from None
    return bytes(data)


async def _received(request: Request) -> Message:
    return await request.receive()


async def _chunks(request: Request, first: Awaitable[Message]) -> AsyncIterator[bytes]:
    message = await first
    while True:
        if message["type"] != "http.request":
            raise Malformed("The body was cut off.")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
        message = await request.receive()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit} bytes.", limit=limit)
