"""The conversations with one server: opened when needed, kept, opened anew with growing pauses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.errors import UpstreamError
from gateway.interfaces.mcp import Client, Wanted
from gateway.model import Json
from gateway.upstreams.mcp.channel import Channel
from gateway.upstreams.mcp.session import GATEWAY, Session, greet

_log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
MOST_CONVERSATIONS = 64
MOST_HEARD = 256
_Key = tuple[str, ...]
_ASKABLE = ("elicitation", "sampling", "roots")
# What a process that all agents share may ask: the client of the one running call. Not their
# folders: it would take those of one agent for all of them.
_SHARED: dict[str, Json] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}}


@dataclass(slots=True)
class Link:
    """A conversation with what is known from it. ``changed`` grows with every announced change of
    the tools."""

    session: Session
    changed: int = 0
    used: float = 0.0
    running: int = 0
    listeners: dict[int, tuple[Wanted, asyncio.Queue[tuple[str, Mapping[str, Json]] | None]]] = (
        field(default_factory=dict)
    )
    hearing: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self.session.channel.alive


class Links:
    """``reach`` starts the process or makes a channel to the address. ``shared``: one conversation
    for all agents (a process); otherwise each agent has its own in the eras that have sessions."""

    def __init__(
        self,
        name: str,
        *,
        reach: Callable[[], Awaitable[Channel]],
        shared: bool,
        protocol: str = "auto",
    ) -> None:
        self._name = name
        self._reach = reach
        self._shared = shared
        self._links: dict[_Key, Link] = {}
        self._opening: dict[_Key, asyncio.Lock] = {}
        self._failures = 0
        self._not_before = 0.0
        self._only: str | None = {"auto": None}.get(protocol, protocol)

    async def link(self, client: Client) -> Link:
        """Raises ``UpstreamError`` while the server cannot be reached."""
        key = self._key(client)
        link = self._links.get(key)
        if link is not None and link.alive:
            link.used = time.monotonic()
            return link
        async with self._opening.setdefault(key, asyncio.Lock()):
            link = self._links.get(key)
            if link is None or not link.alive:
                if link is not None:
                    await self._drop(key)
                link = await self._open(client)
                spoken = "current" if link.session.current else "previous"
                if spoken != key[0]:
                    self._only = spoken  # it does not speak as this client does
                    key = self._key(client)
                self._links[key] = link
                await self._make_room()
        return link

    def _key(self, client: Client) -> _Key:
        """The era in which the server is spoken to; in the eras with sessions, for whom too."""
        era = self._only or ("current" if client.current or self._shared else "previous")
        if self._shared or era == "current":
            return (era,)
        asked = sorted(name for name in _ASKABLE if name in client.capabilities)
        return (era, client.owner, *asked)

    async def _open(self, client: Client) -> Link:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            raise UpstreamError(
                f"The MCP server {self._name!r} is not there; it is tried again in {pause:.1f} s.",
                reason="upstream.unreachable",
            )
        channel: Channel | None = None
        try:
            channel = await self._reach()
            first = self._key(client)[0]
            session = await greet(
                channel, self._introduced(client), first=first, only=self._only is not None
            )
        except UpstreamError:
            self._failed()
            if channel is not None:
                await channel.close()
            raise
        self._failures = 0
        link = Link(session, used=time.monotonic())
        if not session.current or not session.channel.headed:
            link.hearing = asyncio.create_task(_hear(link), name=f"mcp {self._name} listens")
        return link

    def _introduced(self, client: Client) -> Client:
        capabilities = _SHARED if self._shared else client.capabilities
        return Client(
            owner=client.owner,
            capabilities={name: capabilities[name] for name in _ASKABLE if name in capabilities},
            info=GATEWAY,
        )

    def _failed(self) -> None:
        pause = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 10)
        self._not_before = time.monotonic() + pause

    def ended(self, link: Link) -> None:
        """Called when a call met a dead conversation: the next one waits a little."""
        if not link.alive and self._not_before < time.monotonic():
            self._failed()

    async def _make_room(self) -> None:
        idle = sorted(
            (key for key, link in self._links.items() if not link.running), key=self._used
        )
        for key in idle[: max(0, len(self._links) - MOST_CONVERSATIONS)]:
            await self._drop(key)

    def _used(self, key: _Key) -> float:
        return self._links[key].used

    async def _drop(self, key: _Key) -> None:
        link = self._links.pop(key, None)
        if link is None:
            return
        for _, heard in link.listeners.values():
            _put(heard, None)
        if link.hearing is not None:
            link.hearing.cancel()
            await asyncio.gather(link.hearing, return_exceptions=True)
        await link.session.close()

    async def close(self) -> None:
        for key in list(self._links):
            await self._drop(key)


async def _hear(link: Link) -> None:
    async for method, params in link.session.unasked():
        if method == "notifications/tools/list_changed":
            link.changed += 1
        for wanted, heard in list(link.listeners.values()):
            if wanted.wants(method, params):
                _put(heard, (method, params))
    for _, heard in list(link.listeners.values()):
        _put(heard, None)


def _put(
    heard: asyncio.Queue[tuple[str, Mapping[str, Json]] | None],
    item: tuple[str, Mapping[str, Json]] | None,
) -> None:
    # A listener that does not read misses what is too much; a change is only a hint to look.
    with contextlib.suppress(asyncio.QueueFull):
        heard.put_nowait(item)


async def heard_on(link: Link, wanted: Wanted) -> AsyncIterator[tuple[str, Mapping[str, Json]]]:
    """What the server announces on this conversation, as ``wanted``."""
    heard: asyncio.Queue[tuple[str, Mapping[str, Json]] | None] = asyncio.Queue(MOST_HEARD)
    link.listeners[id(heard)] = (wanted, heard)
    try:
        while link.alive and (item := await heard.get()) is not None:
            yield item
    finally:
        link.listeners.pop(id(heard), None)
