"""``Connections`` over httpx, chosen when the parts are put together instead of the gateway's own.

It keeps the same duties: the address that was checked is the one that is called, nothing is sent
twice, no proxy and no redirect, nothing decoded. What it costs is told in docs/benchmarks-http.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx

from gateway.hosts import Origin
from gateway.upstreams.http.declared import Bounds
from gateway.upstreams.remote.connection import cut_off, late
from gateway.upstreams.remote.pool import Lookup, Pool, look_up, unreachable

_NOT_STARTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_HEADERS = 256


class HttpxConnections:
    """``internal``: the name may stand for a private or loopback address. A writing request has a
    connection of its own: on one that was used before, a close could leave its fate unknown."""

    def __init__(
        self, origin: Origin, bounds: Bounds, *, internal: bool, lookup: Lookup = look_up
    ) -> None:
        self._origin = origin
        self._checked = Pool(origin, bounds, internal=internal, lookup=lookup)
        self._room = asyncio.Semaphore(bounds.connections)
        self._connect_s = bounds.connect_s
        self._reading = self._client(bounds.connections)
        self._writing = self._client(0)
        self._closing: set[asyncio.Task[None]] = set()

    def _client(self, kept: int) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=self._connect_s),
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=kept, keepalive_expiry=4.0
            ),
        )

    async def take(self, *, writes: bool) -> HttpxExchange:
        """Raises ``UpstreamError``: nothing was sent. Everything taken is given back."""
        try:
            async with asyncio.timeout(self._connect_s):
                await self._room.acquire()
        except TimeoutError:
            raise unreachable("all connections to it are in use") from None
        try:
            address = (await self._checked.addresses())[0]
        except BaseException:
            self._room.release()
            raise
        host = f"[{address}]" if address.version == 6 else str(address)
        client = self._writing if writes else self._reading
        return HttpxExchange(client, self._origin, host)

    def give_back(self, connection: HttpxExchange) -> None:
        self._room.release()
        response = connection.taken_from()
        if response is not None and not response.is_closed:
            self._later(response.aclose())

    def close(self) -> None:
        self._checked.close()
        for client in (self._reading, self._writing):
            self._later(client.aclose())

    def _later(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class HttpxExchange:
    """One exchange: ``Exchange`` over a streamed response."""

    def __init__(self, client: httpx.AsyncClient, origin: Origin, host: str) -> None:
        self._client = client
        self._origin = origin
        self._host = host
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._coming: asyncio.Task[bytes | None] | None = None

    async def exchange(
        self,
        head: bytes,
        body: AsyncIterator[bytes] | None,
        *,
        bodiless: bool,  # noqa: ARG002 - httpx knows it by the method
        answer_s: float | None,
        idle_s: float | None,  # noqa: ARG002 - the whole of the request has the answer's deadline
    ) -> tuple[int, list[tuple[str, str]]]:
        """Sends what ``wire`` has written, unchanged, and waits for the head of the answer."""
        request = self._request(head, body)
        try:
            async with asyncio.timeout(answer_s):
                self._response = await self._client.send(request, stream=True)
        except _NOT_STARTED as error:
            raise unreachable(str(error) or type(error).__name__) from None
        except TimeoutError:
            raise late("The tool did not answer in time.") from None
        except httpx.HTTPError as error:
            raise cut_off(type(error).__name__) from None
        return self._response.status_code, self._headers(self._response)

    def _request(self, head: bytes, body: AsyncIterator[bytes] | None) -> httpx.Request:
        written, _, content = head.partition(b"\r\n\r\n")
        line, *fields = written.split(b"\r\n")
        method, target, _ = line.split(b" ")
        headers = [(n, v) for n, _, v in (field.partition(b": ") for field in fields)]
        url = httpx.URL(
            scheme=self._origin.scheme, host=self._host, port=self._origin.port, raw_path=target
        )
        return httpx.Request(
            method.decode("ascii"),
            url,
            headers=headers,
            content=content if body is None else body,
            extensions={"sni_hostname": self._origin.host},
        )

    @staticmethod
    def _headers(response: httpx.Response) -> list[tuple[str, str]]:
        found = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in response.headers.raw
        ]
        names = [name for name, _ in found]
        coded = "transfer-encoding" in names
        if len(found) > _HEADERS:
            raise cut_off("it has too many headers")
        if names.count("content-length") > 1 or ("content-length" in names and coded):
            raise cut_off("its length is given twice")
        if not 200 <= response.status_code <= 599:
            raise cut_off(f"the status {response.status_code} does not exist")
        return found

    async def chunks(self, idle_s: float | None) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ``UpstreamError`` when it does not arrive whole."""
        assert self._response is not None
        if self._pieces is None:
            self._pieces = self._response.aiter_raw()
        while True:
            if self._coming is None:
                self._coming = asyncio.create_task(_next(self._pieces))
            try:
                # Whoever stops waiting must not stop the reading: others go on from there.
                async with asyncio.timeout(idle_s):
                    piece = await asyncio.shield(self._coming)
            except TimeoutError:
                raise late("The tool's answer stopped arriving.") from None
            except httpx.HTTPError as error:
                raise cut_off(type(error).__name__) from None
            self._coming = None
            if piece is None:
                return
            yield piece

    def taken_from(self) -> httpx.Response | None:
        """What is to be closed: whatever of it has not been read is not read any more."""
        response, self._response = self._response, None
        if self._coming is not None:
            self._coming.cancel()
        return response


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)
