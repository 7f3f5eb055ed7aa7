"""A request of the protocol to its result, whatever the era."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import __version__
from gateway.errors import HoldfastError
from gateway.interfaces.mcp import (
    CURRENT,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LISTS,
    METHOD_NOT_FOUND,
    NOT_FOUND_PREVIOUS,
    PREVIOUS,
    SERVER_KEY,
    Client,
    McpFault,
    ServerDescription,
)
from gateway.model import Deny, EffectState, Json
from gateway.surfaces import headers
from gateway.surfaces.mcp.actions import ACTIONS, KEY_META, call_of, carried_out, fate, request_of
from gateway.surfaces.mcp.exchange import LEVELS, Exchange
from gateway.surfaces.mcp.messages import Message
from gateway.surfaces.mcp.names import Scope
from gateway.surfaces.mcp.sessions import Session
from gateway.surfaces.problems import problem_document
from gateway.surfaces.visit import Visit
from gateway.surfaces.wiring import Gateway

GATEWAY = {"name": "holdfast", "title": "Holdfast", "version": __version__}
# What clients of the current era may keep, and for whom: nothing, and for themselves alone.
_CACHEABLE = frozenset({*LISTS, "resources/read", "server/discover"})
_NO_TASKS = (
    "Tasks are not served here, and not offered: a call is answered when it has ended. What became "
    "of one whose answer was lost, GET /calls/ID tells."
)
_SERVED = ("tools", "resources", "prompts", "completions", "logging", "experimental")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request with everything that is known of it. ``session`` in the previous era only."""

    gateway: Gateway
    visit: Visit
    scope: Scope
    message: Message
    exchange: Exchange
    session: Session | None = None

    async def result(self) -> dict[str, Json]:
        """Raises ``McpFault``, for everything that goes wrong in a foreseen way."""
        return await self._told(self._result())

    async def fate_of(self, call: str) -> dict[str, Json]:
        """What became of a call that asked its client something and ended with its process. Raises
        ``McpFault``."""
        return await self._told(fate(self.gateway, self.visit, call))

    async def _told(self, work: Coroutine[Any, Any, dict[str, Json]]) -> dict[str, Json]:
        try:
            result = await work
        except McpFault as fault:
            raise self._translated(fault) from None
        except HoldfastError as error:
            deny = Deny(reason=error.reason, detail=error.detail, extra=error.extra)
            problem = problem_document(deny, self.visit.call, EffectState.NONE)
            raise McpFault(INTERNAL_ERROR, error.detail, problem) from None
        except TimeoutError:
            raise McpFault(INTERNAL_ERROR, "The MCP server did not answer in time.") from None
        return self._dressed(result)

    async def _result(self) -> dict[str, Json]:
        method, params = self.message.method, self.message.params
        if method in ACTIONS:
            return await self._action(method, params)
        if method in LISTS:
            return await self._list(method, params)
        if method == "server/discover" and self.session is None:
            return await discovered(self.scope, self.exchange.client)
        if method == "ping" and self.session is not None:
            return {}
        if self.session is not None and method == "logging/setLevel":
            return await self._set_level(self.session, params)
        if self.session is not None and method in ("resources/subscribe", "resources/unsubscribe"):
            return await self._subscribe(self.session, method, params)
        if method.startswith("tasks/"):
            raise McpFault(METHOD_NOT_FOUND, _NO_TASKS)
        raise McpFault(METHOD_NOT_FOUND, f"There is no method {method[:64]} here.")

    async def _action(self, method: str, params: Mapping[str, Json]) -> dict[str, Json]:
        server, inner = self.scope.split(method, params)
        arguments = inner.get("arguments")
        if not isinstance(arguments, dict | None):
            raise McpFault(INVALID_PARAMS, "The arguments must be an object.")
        key = headers.idempotency_key(self.visit.request) or self._key()
        call = call_of(
            self.gateway,
            self.visit,
            server.name,
            request_of(method, inner),
            key=key,
            reason=headers.reason(self.visit.request),
            exchange=self.exchange,
        )
        self.visit.call = self.exchange.call = call.id
        return await carried_out(self.gateway, call)

    def _key(self) -> str | None:
        key = self.message.meta.get(KEY_META)
        if key is None:
            return None
        if not isinstance(key, str) or headers.KEY.fullmatch(key) is None:
            raise McpFault(INVALID_PARAMS, f"{KEY_META} must be 1 to 255 printable characters.")
        return key

    async def _list(self, method: str, params: Mapping[str, Json]) -> dict[str, Json]:
        if params.get("cursor") is not None:
            raise McpFault(INVALID_PARAMS, "There is no such cursor: every list is one page.")
        found: list[Json] = []
        for server in self.scope.targets:
            try:
                if method == "tools/list":
                    items = await server.tools(self.exchange.client)
                else:
                    items = (await server.ask(method, {}, self.exchange))[LISTS[method]]
            except HoldfastError:
                # One server that is away must not hide the others.
                if self.scope.only is not None:
                    raise
                continue
            found += self.scope.renamed(method, server.name, items)
        return {LISTS[method]: found}

    async def _set_level(self, session: Session, params: Mapping[str, Json]) -> dict[str, Json]:
        level = params.get("level")
        if level not in LEVELS:
            raise McpFault(INVALID_PARAMS, "There is no such log level.")
        old = session.client
        session.client = Client(
            owner=old.owner,
            capabilities=old.capabilities,
            info=old.info,
            log_level=level,
            current=False,
        )
        for server in self.scope.targets:
            described = await server.describe(session.client)
            if "logging" in described.capabilities:
                await server.ask("logging/setLevel", {"level": level}, self.exchange)
        return {}

    async def _subscribe(
        self, session: Session, method: str, params: Mapping[str, Json]
    ) -> dict[str, Json]:
        server, inner = self.scope.split(method, params)
        await server.ask(method, {"uri": inner["uri"]}, self.exchange)
        session.subscribe(str(params["uri"]), wanted=method == "resources/subscribe")
        return {}

    def _translated(self, fault: McpFault) -> McpFault:
        """A missing resource has another code in the current era."""
        if self.session is None and fault.code == NOT_FOUND_PREVIOUS:
            return McpFault(INVALID_PARAMS, fault.message, fault.data)
        return fault

    def _dressed(self, result: dict[str, Json]) -> dict[str, Json]:
        """With what the era of the client demands of a result, without what it does not know."""
        if self.session is not None:
            return {k: v for k, v in result.items() if k not in ("ttlMs", "cacheScope")}
        meta = result.get("_meta")
        result = {**result, "resultType": "complete"}
        result["_meta"] = {SERVER_KEY: GATEWAY, **(meta if isinstance(meta, dict) else {})}
        if self.message.method in _CACHEABLE:
            ttl = result.get("ttlMs")
            kept = isinstance(ttl, int) and not isinstance(ttl, bool) and ttl >= 0
            # Never shared between agents, whatever the server thinks of it.
            result |= {"ttlMs": ttl if kept else 0, "cacheScope": "private"}
        return result


async def described(scope: Scope, client: Client, *, current: bool) -> ServerDescription:
    """What the servers of the scope can do together. A server that is away adds nothing; the one
    of the path has to be there."""
    capabilities: dict[str, Json] = {}
    instructions: list[str] = []
    for server in scope.targets:
        try:
            found = await server.describe(client)
        except HoldfastError:
            if scope.only is not None:
                raise
            continue
        for name in _SERVED:
            ours = found.capabilities.get(name)
            if isinstance(ours, dict):
                capabilities[name] = {**capabilities.get(name, {}), **ours}
        if found.instructions:
            instructions.append(found.instructions)
    if current:
        capabilities.pop("experimental", None)
    elif "resources" in capabilities:
        capabilities["resources"] = {**capabilities["resources"], "subscribe": True}
    if not scope.targets:
        capabilities["tools"] = {}
    return ServerDescription(
        capabilities=capabilities,
        info=GATEWAY,
        instructions="\n\n".join(instructions) or None,
    )


async def discovered(scope: Scope, client: Client) -> dict[str, Json]:
    found = await described(scope, client, current=True)
    result: dict[str, Json] = {
        "supportedVersions": [CURRENT, *PREVIOUS],
        "capabilities": dict(found.capabilities),
    }
    return result if found.instructions is None else {**result, "instructions": found.instructions}


def initialized(found: ServerDescription, version: str) -> dict[str, Json]:
    result: dict[str, Json] = {
        "protocolVersion": version,
        "capabilities": dict(found.capabilities),
        "serverInfo": dict(found.info),
    }
    return result if found.instructions is None else {**result, "instructions": found.instructions}
