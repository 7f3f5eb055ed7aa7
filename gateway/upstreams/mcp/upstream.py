"""One MCP server: an upstream to the walk, a server to the surface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from gateway.errors import StoreUnavailable, UpstreamError
from gateway.interfaces import Clock, Probe, no_probe
from gateway.interfaces.mcp import (
    LISTS,
    Client,
    Dialogue,
    McpFault,
    Pin,
    PinStore,
    ServerDescription,
    Wanted,
)
from gateway.model import Action, Call, Deny, Finding, Json
from gateway.upstreams.mcp.catalog import Catalog, Tool
from gateway.upstreams.mcp.channel import Channel
from gateway.upstreams.mcp.line import Line
from gateway.upstreams.mcp.links import Links, heard_on
from gateway.upstreams.mcp.parsing import action_of, plan_of
from gateway.upstreams.mcp.shelf import Shelf, pages
from gateway.upstreams.mcp.spec import ANY, ServerSpec
from gateway.upstreams.mcp.stdio import StdioChannel
from gateway.upstreams.mcp.streamable import HttpChannel
from gateway.upstreams.mcp.suspicion import without_bad_icons
from gateway.upstreams.mcp.transport import McpTransport
from gateway.upstreams.remote.plan import Plan
from gateway.upstreams.remote.target import RemoteTarget

CHECK_S = 10.0
_OWNER = Client(owner="holdfast")
# What a stateless server is not asked: the surface keeps it for the session.
_OF_SESSIONS = ("logging/setLevel", "resources/subscribe", "resources/unsubscribe")


class McpUpstream(RemoteTarget):
    """``Upstream``, ``Resident`` and ``McpServer``. Connects when it is first needed."""

    def __init__(
        self,
        spec: ServerSpec,
        *,
        pins: PinStore,
        clock: Clock,
        probe: Probe = no_probe,
    ) -> None:
        self._spec = spec
        self._line = None if spec.url is None else Line(spec.url, spec.headers)
        self._links = Links(
            spec.name, reach=self._reach, shared=spec.url is None, protocol=spec.protocol
        )
        catalog = Catalog(spec.name, pins=pins, clock=clock, mode=spec.pin)
        self._shelf = Shelf(self._links, catalog)
        super().__init__(
            spec.name,
            McpTransport(spec, self._shelf),
            clock=clock,
            plan_of=self._plan_of,
            deadline_s=spec.timeout_s,
            probe=probe,
        )

    async def _reach(self) -> Channel:
        if self._line is None:
            return await StdioChannel.start(
                self._spec.name,
                self._spec.command,
                environment=self._spec.environment,
                folder=self._spec.folder,
            )
        return HttpChannel(self._spec.name, self._line)

    # --- the walk

    async def parse(self, call: Call) -> Action | Deny:
        return await action_of(call, self._spec, self._shelf)

    async def _plan_of(self, call: Call) -> Plan | None:
        return plan_of(call, self._spec)

    # --- the surface

    async def describe(self, client: Client) -> ServerDescription:
        return (await self._links.link(client)).session.description

    async def tools(self, client: Client) -> list[Json]:
        tools = await self._shelf.tools(client, fresh=True)
        return [dict(tool.shown) for tool in tools.values() if tool.fault is None]

    async def headed_schema(self, client: Client, tool: str) -> Json:
        found = await self._shelf.tool(client, tool)
        return None if found is None or not found.headed else found.schema

    async def ask(self, method: str, params: Mapping[str, Json], dialogue: Dialogue) -> Json:
        client = dialogue.client
        link = await self._links.link(client)
        if method in LISTS:
            items = await pages(link, method, LISTS[method], client)
            shown = (without_bad_icons(item) for item in items if isinstance(item, dict))
            return {LISTS[method]: list(shown)}
        if method in _OF_SESSIONS and link.session.current:
            return {}
        async with asyncio.timeout(self._spec.timeout_s):
            return await link.session.request(method, params, client=client, dialogue=dialogue)

    async def listen(
        self, wanted: Wanted, client: Client
    ) -> AsyncIterator[tuple[str, Mapping[str, Json]]]:
        link = await self._links.link(client)
        if link.session.current:
            async for item in link.session.listen(wanted, client):
                yield item
            return
        for uri in wanted.uris:
            await link.session.request("resources/subscribe", {"uri": uri}, client=client)
        async for item in heard_on(link, wanted):
            yield item

    async def pins(self) -> list[Pin]:
        """The tools as they were seen, approved or not."""
        return await self._shelf.catalog.pins()

    async def approve(self, tool: str, *, seen: str | None, by: str) -> Pin | None:
        pin = await self._shelf.catalog.approve(tool, seen=seen, by=by)
        self._shelf.forget()
        return pin

    # --- its life

    async def open(self) -> None:
        """Nothing yet: a server that is not there must not keep the gateway from starting."""

    async def close(self) -> None:
        await self._links.close()
        if self._line is not None:
            self._line.close()

    async def check(self) -> list[Finding]:
        try:
            async with asyncio.timeout(CHECK_S):
                link = await self._links.link(_OWNER)
                listed = await pages(link, "tools/list", "tools", _OWNER)
        except TimeoutError:
            return [self._finding("warning", "the server does not answer")]
        except (UpstreamError, McpFault) as error:
            return [self._finding("warning", str(error))]
        names = {tool.get("name") for tool in listed if isinstance(tool, dict)}
        unknown = self._unknown(names)
        try:
            return [*unknown, *self._waiting(await self._shelf.tools(_OWNER))]
        except StoreUnavailable:
            return unknown  # without the store nobody knows what was approved

    def _unknown(self, names: set[Json]) -> list[Finding]:
        return [
            self._finding("error", f"the server has no tool {name!r}, which the file declares")
            for name in self._spec.tools
            if name != ANY and name not in names
        ]

    def _waiting(self, tools: Mapping[str, Tool]) -> list[Finding]:
        return [
            self._finding("warning", f"the tool {tool.name} is disabled: {tool.fault}")
            for tool in tools.values()
            if tool.fault is not None
        ]

    def _finding(self, level: str, message: str) -> Finding:
        return Finding(level=level, about=self._spec.name, message=message)
