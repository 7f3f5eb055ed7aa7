"""What JSON cannot hold on its way through the walk: bodies kept aside, answers still coming."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class Payload(Protocol):
    """A request body kept aside as it came; ``Call.request`` names it by its hash."""

    @property
    def sha256(self) -> str: ...

    @property
    def size(self) -> int: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the beginning; may be asked for again."""
        ...


class Incoming(Protocol):
    """An answer whose head has arrived. Whoever holds it closes it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """End-to-end headers that may be passed on, names in lower case."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it came, compressed or not. Raises ``UpstreamError`` when it is cut off."""
        ...

    async def close(self) -> None: ...
