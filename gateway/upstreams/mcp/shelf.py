"""The tools of a server by conversation: listed once, again when the server says that they
changed, and after a while in any case."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from gateway.errors import UpstreamError
from gateway.interfaces.mcp import METHOD_NOT_FOUND, Client, McpFault
from gateway.model import Json
from gateway.upstreams.mcp.catalog import Catalog, Tool
from gateway.upstreams.mcp.links import Link, Links
from gateway.upstreams.mcp.session import Session

FRESH_S = 60.0
MOST_PAGES = 100


@dataclass(slots=True)
class _Listed:
    tools: Mapping[str, Tool]
    changed: int
    at: float


class Shelf:
    def __init__(self, links: Links, catalog: Catalog) -> None:
        self.links = links
        self.catalog = catalog
        self._listed: WeakKeyDictionary[Session, _Listed] = WeakKeyDictionary()
        self._listing: WeakKeyDictionary[Session, asyncio.Lock] = WeakKeyDictionary()

    async def tools(self, client: Client, *, fresh: bool = False) -> Mapping[str, Tool]:
        """Every tool of the server, usable or not. ``fresh`` asks the server in any case."""
        link = await self.links.link(client)
        listed = self._listed.get(link.session)
        if not fresh and listed is not None and _current(listed, link):
            return listed.tools
        async with self._listing.setdefault(link.session, asyncio.Lock()):
            again = self._listed.get(link.session)
            if again is not None and again is not listed and _current(again, link):
                return again.tools  # another request has just listed them
            changed = link.changed
            documents = await pages(link, "tools/list", "tools", client)
            tools = await self.catalog.take(documents)
            self._listed[link.session] = _Listed(tools, changed, time.monotonic())
        return tools

    async def tool(self, client: Client, name: str) -> Tool | None:
        return (await self.tools(client)).get(name)

    def forget(self) -> None:
        """Called when a tool was approved: what is usable has changed."""
        self._listed.clear()


def _current(listed: _Listed, link: Link) -> bool:
    return listed.changed == link.changed and time.monotonic() - listed.at < FRESH_S


async def pages(link: Link, method: str, member: str, client: Client) -> list[Json]:
    """All pages of a list; none from a server that has no such list."""
    found: list[Json] = []
    cursor: Json = None
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        params: dict[str, Json] = {} if cursor is None else {"cursor": cursor}
        try:
            result = await link.session.request(method, params, client=client)
        except McpFault as fault:
            if fault.code == METHOD_NOT_FOUND:
                return found
            raise
        items = result.get(member)
        found += items if isinstance(items, list) else []
        cursor = result.get("nextCursor")
        if not isinstance(cursor, str) or cursor in seen:
            return found
        seen.add(cursor)
    raise UpstreamError(f"The MCP server's {method} has no end.", proves_no_effect=True)
