"""The connections to the address of one MCP server, and one request over them.

No proxy, no cookie and no credential of the environment; no redirect is followed: the configured
headers go to the configured address alone.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from gateway.addresses import Ambiguous
from gateway.errors import UpstreamError
from gateway.hosts import Origin, origin_of
from gateway.upstreams.remote.connection import Connection
from gateway.upstreams.remote.pool import Pool

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = {"user-agent": "holdfast", "accept-encoding": "identity"}


def place_of(url: str) -> tuple[Origin, str]:
    """Where ``url`` is and what is asked for there. Raises ``Ambiguous``."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise Ambiguous("the URL has characters that have to be written as %XX")
    parts = urlsplit(url)
    origin = origin_of(f"{parts.scheme}://{parts.netloc}")
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    connect_s: float
    connections: int


class Line:
    """``headers`` are the configured ones. Raises ``Ambiguous`` for a URL that readers could take
    for different places."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        connect_s: float = 10.0,
        connections: int = 256,
    ) -> None:
        origin, self._target = place_of(url)
        bounds = _Bounds(connect_s=connect_s, connections=connections)
        self._pool = Pool(origin, bounds, internal=True)
        configured = {name.lower(): value for name, value in (headers or {}).items()}
        self._head = _lines({"host": origin.authority, **_OURS, **configured})

    def send(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> Asking:
        """One request. Its ``with`` gives the ``Answered``, raises ``UpstreamError`` where there
        is none, and frees the connection."""
        length = f"content-length: {len(body)}\r\n" if body is not None else ""
        head = f"{method} {self._target} HTTP/1.1\r\n{self._head}{_lines(headers)}{length}\r\n"
        return Asking(self._pool, head.encode("latin-1") + (body or b""))

    def close(self) -> None:
        self._pool.close()


def _lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise UpstreamError(
                "A header of the request cannot be sent.",
                reason="upstream.failed",
                proves_no_effect=True,
            )
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """``headers`` by lower-case name, the first of each."""

    status: int
    headers: Mapping[str, str]
    connection: Connection

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, however long that takes."""
        return self.connection.chunks(None)


class Asking:
    """One request while it is asked."""

    __slots__ = ("_connection", "_pool", "_sent")

    def __init__(self, pool: Pool, sent: bytes) -> None:
        self._pool = pool
        self._sent = sent
        self._connection: Connection | None = None

    async def __aenter__(self) -> Answered:
        connection = self._connection = await self._pool.take(writes=True)
        try:
            status, raw = await connection.exchange(
                self._sent, None, bodiless=False, answer_s=None, idle_s=None
            )
        except BaseException:
            self._pool.give_back(connection)
            raise
        headers: dict[str, str] = {}
        for name, value in raw:
            headers.setdefault(name, value)
        return Answered(status=status, headers=headers, connection=connection)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._pool.give_back(self._connection)
