"""A tool's answer on its way to the agent: its status, its headers, its bytes, as they come."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import UpstreamError
from gateway.interfaces import Incoming
from gateway.model import Deny, Json, Reply
from gateway.surfaces.problems import problem
from gateway.surfaces.replies import render
from gateway.surfaces.views import time_json

# What a tool says must not run as a page of the gateway's own origin.
_SEALED = {
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def relayed(reply: Reply, *, take_s: float) -> Response:
    """The tool's answer where there is one; otherwise the reply as any surface renders it.
    ``take_s``: seconds that the agent may let a piece of the answer wait."""
    live: Incoming | None = reply.outcome.live
    result = reply.outcome.result or {}
    if live is not None:
        return Relay(_headers(reply, live.headers), live, take_s)
    if not isinstance(result.get("status"), int) or not isinstance(result.get("headers"), list):
        if result.get("recovered"):
            return _not_kept(reply)
        response = render(reply)
        response.headers["Holdfast-Effect"] = str(reply.effect)
        return response
    if not result.get("kept"):
        return _not_kept(reply)
    return _Recorded(_headers(reply, result["headers"]), result)


def _not_kept(reply: Reply) -> Response:
    refusal = Deny(
        reason="idempotency.not_kept",
        detail="This call ran, and its answer was not kept: it was too large, or it was lost on "
        "its way. Ask the tool for what you need; do not repeat the call.",
        effect=reply.effect,
    )
    return problem(refusal, call=reply.call, effect=reply.effect)


def _headers(reply: Reply, said: Sequence[Sequence[str]]) -> list[tuple[bytes, bytes]]:
    own = {
        **_SEALED,
        "holdfast-call": reply.call,
        "holdfast-effect": str(reply.effect),
        "holdfast-undo": _undo(reply),
    }
    if reply.replayed:
        own["idempotency-replayed"] = "true"
    pairs = [(name, value) for name, value in said if name.lower() not in own]
    return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in [*pairs, *own.items()]]


def _undo(reply: Reply) -> str:
    """RFC 8941: the reversibility, and whether the way back is open."""
    undo = reply.undo
    shown = f"{undo.reversibility}; available=?{int(undo.available)}"
    if undo.expires_at is not None:
        shown += f'; expires_at="{time_json(undo.expires_at)}"'
    return shown


class _Recorded(Response):
    """The same bytes however often they are asked for."""

    def __init__(self, headers: list[tuple[bytes, bytes]], result: Mapping[str, Json]) -> None:
        text = result.get("body")
        data = base64.b64decode(result["base64"]) if text is None else text.encode("utf-8")
        super().__init__(data, status_code=result["status"])
        lengths = [pair for pair in self.raw_headers if pair[0] == b"content-length"]
        named = {name for name, _ in headers}
        # The answer to a HEAD has the length of what it did not bring.
        self.raw_headers = [*headers, *(() if b"content-length" in named else lengths)]
        if result["status"] in (204, 304):
            self.raw_headers = [h for h in self.raw_headers if h[0] != b"content-length"]


class Relay(Response):
    """Ends the agent's connection where the tool's answer breaks off, so that nobody takes a part
    for the whole."""

    def __init__(
        self, headers: list[tuple[bytes, bytes]], incoming: Incoming, take_s: float
    ) -> None:
        super().__init__(None, status_code=incoming.status)
        self.raw_headers = headers
        self._incoming = incoming
        self._take_s = take_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        pump = asyncio.create_task(self._pump(send), name="relay")
        left = asyncio.create_task(_gone(receive), name="relay watches for the agent's leaving")
        try:
            await asyncio.wait([pump, left], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, left):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(pump, left, return_exceptions=True)
            await self._incoming.close()

    async def _pump(self, send: Send) -> None:
        try:
            async for chunk in self._incoming.chunks():
                async with asyncio.timeout(self._take_s):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (UpstreamError, TimeoutError):
            return  # without an end: the connection is closed
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
