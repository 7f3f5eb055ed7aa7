"""The seam between an era of the protocol and a transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from gateway.model import Json

# Called with each notification or request of the server that belongs to one exchange.
OnMessage = Callable[[Mapping[str, Json]], None]


def ignored(message: Mapping[str, Json]) -> None:  # noqa: ARG001 - nobody asked for it
    return None


class Channel(Protocol):
    """One server, reached. Raises ``UpstreamError``; its ``proves_no_effect`` is true only where
    the message cannot have reached the server."""

    @property
    def alive(self) -> bool: ...

    @property
    def headed(self) -> bool:
        """Whether requests carry HTTP headers."""
        ...

    def remember(self, header: str, value: str) -> None:
        """A header for every later message."""
        ...

    async def exchange(
        self,
        message: Mapping[str, Json],
        *,
        headers: Mapping[str, str] | None = None,
        on_message: OnMessage = ignored,
    ) -> Mapping[str, Json]:
        """Sends a request once; the response message with its id."""
        ...

    async def post(
        self, message: Mapping[str, Json], *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends a notification or a response."""
        ...

    def unasked(self) -> AsyncIterator[Mapping[str, Json]]:
        """What the server sends that belongs to no exchange, until the channel ends."""
        ...

    async def close(self) -> None: ...
