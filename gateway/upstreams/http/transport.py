"""One request to the tool and its answer: sent once, streamed, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.addresses import segments_of
from gateway.errors import UpstreamError
from gateway.hosts import Origin
from gateway.interfaces import Payload
from gateway.model import Json
from gateway.upstreams.http.answers import passed_on, record_of, view_of
from gateway.upstreams.http.declared import NO_EFFECT, Bounds, DeclaredTool
from gateway.upstreams.http.routes import READING, Table
from gateway.upstreams.http.wire import body_of, head_of
from gateway.upstreams.remote.connection import cut_off
from gateway.upstreams.remote.pool import Lookup, look_up
from gateway.upstreams.remote.transport import Answer

# The tool asks for the same request at another place: it did nothing itself.
_ELSEWHERE = frozenset({307, 308})


# What proxies and servers say for a tool that is not there. Any other status is its own answer to
# this one call.
_AWAY = frozenset({502, 503, 504})

# Seconds in which the whole of an answer of unknown length is waited for, so that it can be kept;
# a longer one is passed on as it comes.
_PATIENCE_S = 5.0

# The body with this hash, where it is kept aside: that of a call which waited for a person.
Find = Callable[[str], Payload | None]


class Exchange(Protocol):
    """One request and its answer, sent once and bounded. See ``remote.connection.Connection``,
    which is the gateway's own."""

    async def exchange(
        self,
        head: bytes,
        body: AsyncIterator[bytes] | None,
        *,
        bodiless: bool,
        answer_s: float | None,
        idle_s: float | None,
    ) -> tuple[int, list[tuple[str, str]]]: ...

    def chunks(self, idle_s: float | None) -> AsyncIterator[bytes]: ...


class Connections(Protocol):
    """What carries requests to one tool. What is taken is given back."""

    async def take(self, *, writes: bool) -> Exchange:
        """Raises ``UpstreamError``: nothing was sent."""
        ...

    def give_back(self, connection: Any) -> None: ...

    def close(self) -> None: ...


class Connect(Protocol):
    """Makes the connections of a tool; ``internal``: its name may stand for a private address."""

    def __call__(
        self, origin: Origin, bounds: Bounds, *, internal: bool, lookup: Lookup = look_up
    ) -> Connections: ...


def nothing_kept(sha256: str) -> Payload | None:  # noqa: ARG001 - there is nothing to look through
    return None


class LiveAnswer:
    """``Incoming`` over a connection that is given back when it ends."""

    def __init__(
        self,
        status: int,
        headers: Sequence[tuple[str, str]],
        connection: Exchange,
        pool: Connections,
        first: Sequence[bytes],
        bounds: Bounds,
    ) -> None:
        self.status = status
        self.headers = headers
        self._connection: Exchange | None = connection
        self._pool = pool
        self._first = first
        self._idle_s = bounds.idle_s
        self._most = bounds.response_bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        connection = self._connection
        if connection is None:
            return
        seen = 0
        for chunk in self._first:
            seen += len(chunk)
            yield chunk
        async for chunk in connection.chunks(self._idle_s):
            seen += len(chunk)
            if seen > self._most:
                raise cut_off(f"it has more than {self._most} bytes")
            yield chunk

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._pool.give_back(connection)


class HttpTransport:
    def __init__(
        self, tool: DeclaredTool, table: Table, pool: Connections, find: Find = nothing_kept
    ) -> None:
        self._tool = tool
        self._table = table
        self._pool = pool
        self._find = find

    async def send(
        self,
        request: Mapping[str, Json],
        *,
        key: str | None = None,
        body: Any = None,
        live: bool = False,
    ) -> Answer:
        """``body`` is the ``Payload`` that ``request`` names by its hash."""
        found = self._table.find(request["method"], segments_of(request["path"]))
        route = found[0] if found is not None else None
        head, content = self._encoded(request, route.key_header if route else None, key, body)
        bounds = self._tool.bounds
        connection = await self._pool.take(writes=request["method"] not in READING)
        incoming: LiveAnswer | None = None
        try:
            status, raw = await connection.exchange(
                head,
                content,
                bodiless=request["method"] == "HEAD",
                answer_s=bounds.answer_s,
                idle_s=bounds.idle_s,
            )
            headers = passed_on(raw, status, tool=self._tool.name, origin=self._tool.origin)
            gathered, whole = await self._gathered(connection, headers, request, live=live)
            if not whole and live:
                incoming = LiveAnswer(status, headers, connection, self._pool, gathered, bounds)
        finally:
            if incoming is None:
                self._pool.give_back(connection)
        content_read = b"".join(gathered) if whole else None
        return Answer(
            view=view_of(status, headers, content_read),
            result=record_of(status, headers, content_read),
            failed=status >= 400 or status in _ELSEWHERE,
            proves_no_effect=status in (route.no_effect if route else NO_EFFECT)
            or status in _ELSEWHERE,
            absent=status in (404, 410),
            away=status in _AWAY,
            live=incoming,
        )

    def _encoded(
        self, request: Mapping[str, Json], key_header: str | None, key: str | None, payload: Any
    ) -> tuple[bytes, AsyncIterator[bytes] | None]:
        content = body_of(request)
        kept_aside = content is None and request.get("type") is not None
        if kept_aside and payload is None:
            payload = self._find(_hash_of(request))
        if kept_aside and not _is_of(payload, request):
            raise UpstreamError(
                "The body of this call is not at hand any more; send the call again. Nothing was "
                "sent.",
                reason="upstream.failed",
                blames_target=False,
            )
        length = payload.size if kept_aside else None if content is None else len(content)
        head = head_of(
            self._tool.origin,
            request,
            self._tool.headers,
            length=length,
            key_header=key_header,
            key=key,
        )
        if kept_aside:
            chunks: AsyncIterator[bytes] = payload.chunks()
            return head, chunks
        return head + (content or b""), None

    async def _gathered(
        self,
        connection: Exchange,
        headers: Sequence[tuple[str, str]],
        request: Mapping[str, Json],
        *,
        live: bool,
    ) -> tuple[list[bytes], bool]:
        """What arrived of the body, and whether that is all of it. A reader that may have the
        answer as it comes does not wait for an end that is not announced."""
        bounds = self._tool.bounds
        announced, streams = _announced(headers)
        if live and request["method"] != "HEAD":
            reading = request["method"] in READING
            if announced is None and (reading or streams):
                return [], False
            if announced is not None and announced > bounds.recorded_bytes:
                return [], False
        gathered: list[bytes] = []
        size = 0
        patience = _PATIENCE_S if live and announced is None else None
        try:
            async with asyncio.timeout(patience):
                async for chunk in connection.chunks(bounds.idle_s):
                    gathered.append(chunk)
                    size += len(chunk)
                    if size > bounds.recorded_bytes:
                        return gathered, False
        except TimeoutError:
            return gathered, False
        return gathered, True


def _announced(headers: Sequence[tuple[str, str]]) -> tuple[int | None, bool]:
    length, streams = None, False
    for name, value in headers:
        if name == "content-length" and value.isascii() and value.isdigit():
            length = int(value)
        if name == "content-type" and value.lower().startswith("text/event-stream"):
            streams = True
    return length, streams


def _hash_of(request: Mapping[str, Json]) -> str:
    named = request.get("body")
    return str(named.get("sha256")) if isinstance(named, Mapping) else ""


def _is_of(payload: Any, request: Mapping[str, Json]) -> bool:
    """Whether the payload at hand is the one that was judged."""
    named = request.get("body")
    if payload is None or not isinstance(named, Mapping):
        return False
    held: Payload = payload
    return named.get("sha256") == held.sha256 and named.get("size") == held.size
