"""Connections to one tool: resolved, checked, pinned, bounded and used again."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.errors import UpstreamError
from gateway.hosts import Address, Origin, is_internal, why_never
from gateway.upstreams.remote.connection import Connection

Lookup = Callable[[str, int], Awaitable[list[str]]]

# Shorter than what servers keep idle connections for, so that a request seldom meets one that is
# being closed: after that, nobody could tell whether it arrived.
_IDLE_S = 4.0
_IDLE_FOR_WRITES_S = 1.0


async def look_up(host: str, port: int) -> list[str]:
    """Every address of ``host``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def unreachable(why: str, *, blames_target: bool = True) -> UpstreamError:
    """Nothing was sent."""
    return UpstreamError(
        f"The tool cannot be reached: {why}.",
        reason="upstream.unreachable",
        blames_target=blames_target,
    )


class Bounds(Protocol):
    """``connect_s``: seconds for a connection to be free and made. ``connections``: at once."""

    @property
    def connect_s(self) -> float: ...
    @property
    def connections(self) -> int: ...


class Pool:
    """``internal``: the name may stand for a private or loopback address."""

    def __init__(
        self, origin: Origin, bounds: Bounds, *, internal: bool, lookup: Lookup = look_up
    ) -> None:
        self._origin = origin
        self._bounds = bounds
        self._internal = internal or origin.host == "localhost"
        self._lookup = lookup
        self._idle: deque[Connection] = deque()
        self._room = asyncio.Semaphore(bounds.connections)
        self._tls = ssl.create_default_context() if origin.secure else None

    async def take(self, *, writes: bool) -> Connection:
        """Raises ``UpstreamError``: nothing was sent. Every connection is given back."""
        if self._room.locked():
            await self._wait_for_room()
        else:
            await self._room.acquire()  # at once
        try:
            used = self._used(_IDLE_FOR_WRITES_S if writes else _IDLE_S)
            return await self._connected() if used is None else used
        except BaseException:
            self._room.release()
            raise

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                await self._room.acquire()
        except TimeoutError:
            raise unreachable("all connections to it are in use", blames_target=False) from None

    def give_back(self, connection: Connection) -> None:
        self._room.release()
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    def _used(self, most_s: float) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._idle[0].idle_since > _IDLE_S:
            self._idle.popleft().abort()
        while self._idle and now - self._idle[-1].idle_since <= most_s:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.abort()
        return None

    async def addresses(self) -> list[Address]:
        """Where the tool lives now, each address checked. Raises ``UpstreamError``."""
        literal = self._origin.address
        if literal is not None:
            return [literal]
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                names = await self._lookup(self._origin.host, self._origin.port)
        except (OSError, UnicodeError):
            raise unreachable("its name cannot be resolved") from None
        except TimeoutError:
            raise unreachable("its name was not resolved in time") from None
        found = [ipaddress.ip_address(name.partition("%")[0]) for name in names]
        for address in found:
            refusal = why_never(address)
            if refusal is None and is_internal(address) and not self._internal:
                refusal = "its name stands for a private address, which `internal` does not allow"
            if refusal is not None:
                # One bad address spoils the name: the next look-up could begin with it.
                raise unreachable(refusal)
        return found

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        why = "it has no address"
        for address in await self.addresses():
            try:
                async with asyncio.timeout(self._bounds.connect_s):
                    # The checked address itself, so that no second look-up can change it.
                    _, connection = await loop.create_connection(
                        Connection,
                        str(address),
                        self._origin.port,
                        ssl=self._tls,
                        server_hostname=self._origin.host if self._tls else None,
                    )
                    return connection
            except TimeoutError:
                why = "it did not accept the connection in time"
            except ssl.SSLCertVerificationError as error:
                raise unreachable(
                    f"its certificate is not valid ({error.verify_message})"
                ) from None
            except OSError as error:
                why = error.strerror or type(error).__name__
        raise unreachable(why)

    def close(self) -> None:
        while self._idle:
            self._idle.popleft().abort()
