"""Streams on which a client hears of changes: ``subscriptions/listen`` and the GET of a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from gateway.errors import HoldfastError, TooManyStreams
from gateway.interfaces.mcp import (
    INVALID_PARAMS,
    SUBSCRIPTION_KEY,
    Client,
    McpFault,
    McpServer,
    Wanted,
)
from gateway.model import Json
from gateway.surfaces.mcp.messages import Message
from gateway.surfaces.mcp.names import Scope
from gateway.surfaces.mcp.sessions import Session
from gateway.surfaces.mcp.streams import BEAT_S, event, response
from gateway.surfaces.wiring import Gateway

MOST_HEARD = 256
MOST_URIS = 100
AGAIN_S = 5.0
_Heard = asyncio.Queue[tuple[str, Mapping[str, Json]]]


def admit(gateway: Gateway, owner: str) -> None:
    """Counts one more stream of the agent. Raises ``TooManyStreams``."""
    if gateway.watching.get(owner, 0) >= gateway.bounds.watchers:
        raise TooManyStreams("Too many event streams are open. Close one of them first.")
    gateway.watching[owner] = gateway.watching.get(owner, 0) + 1


def dismiss(gateway: Gateway, owner: str) -> None:
    gateway.watching[owner] -= 1
    if not gateway.watching[owner]:
        del gateway.watching[owner]


def wanted_by(message: Message) -> Wanted:
    """Raises ``McpFault``."""
    asked = message.params.get("notifications")
    uris = asked.get("resourceSubscriptions", []) if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(uris, list) or len(uris) > MOST_URIS:
        raise McpFault(INVALID_PARAMS, "notifications must say what is wanted.")
    if not all(isinstance(uri, str) for uri in uris):
        raise McpFault(INVALID_PARAMS, "resourceSubscriptions must be URIs.")
    return Wanted(
        tools=asked.get("toolsListChanged") is True,
        prompts=asked.get("promptsListChanged") is True,
        resources=asked.get("resourcesListChanged") is True,
        uris=tuple(uris),
    )


def acknowledged(wanted: Wanted) -> dict[str, Json]:
    kinds = {
        "toolsListChanged": wanted.tools,
        "promptsListChanged": wanted.prompts,
        "resourcesListChanged": wanted.resources,
        "resourceSubscriptions": list(wanted.uris),
    }
    return {name: value for name, value in kinds.items() if value}


async def subscription(
    scope: Scope, message: Message, wanted: Wanted, client: Client, total_s: float
) -> AsyncIterator[bytes]:
    """The stream of ``subscriptions/listen``: what was agreed to, then the changes, then, when
    its time is over, the result."""
    meta = {SUBSCRIPTION_KEY: message.id}
    agreed = {"_meta": meta, "notifications": acknowledged(wanted)}
    yield _noted("notifications/subscriptions/acknowledged", agreed)
    async with _hearing(scope, wanted, client) as heard:
        async for item in _until(heard, total_s):
            if item is None:
                yield b": still here\n\n"
            else:
                yield _noted(item[0], {**item[1], "_meta": {**item[1].get("_meta", {}), **meta}})
    yield event(response(message.id, result={"resultType": "complete", "_meta": meta}))


async def session_stream(scope: Scope, session: Session, total_s: float) -> AsyncIterator[bytes]:
    """The GET stream of a session. It ends with its time; the client opens it again."""
    ends = asyncio.get_running_loop().time() + total_s
    yield b": listening\n\n"
    while (left := ends - asyncio.get_running_loop().time()) > 0:
        changed, uris = session.changed, tuple(sorted(session.uris))
        wanted = Wanted(tools=True, prompts=True, resources=True, uris=uris)
        async with _hearing(scope, wanted, session.client) as heard:
            async for item in _until(heard, left, changed):
                yield b": still here\n\n" if item is None else _noted(*item)


def _noted(method: str, params: Mapping[str, Json]) -> bytes:
    return event({"jsonrpc": "2.0", "method": method, "params": params})


async def _until(
    heard: _Heard, total_s: float, changed: asyncio.Event | None = None
) -> AsyncIterator[tuple[str, Mapping[str, Json]] | None]:
    """What is heard, and ``None`` at every beat without news, until the time is over or what is
    wanted has ``changed``."""
    now = asyncio.get_running_loop().time
    ends = now() + total_s
    beat = now() + BEAT_S
    while now() < ends and not (changed is not None and changed.is_set()):
        try:
            # Short, so that a change of what is wanted is taken up soon.
            async with asyncio.timeout(min(0.25, max(0.0, ends - now()))):
                item = await heard.get()
        except TimeoutError:
            if now() >= beat:
                beat = now() + BEAT_S
                yield None
            continue
        yield item


@contextlib.asynccontextmanager
async def _hearing(scope: Scope, wanted: Wanted, client: Client) -> AsyncIterator[_Heard]:
    heard: _Heard = asyncio.Queue(MOST_HEARD)
    tasks = [
        asyncio.create_task(_hear(server, scope, own, client, heard))
        for server, own in _shares(scope, wanted)
    ]
    try:
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _shares(scope: Scope, wanted: Wanted) -> list[tuple[McpServer, Wanted]]:
    """What is wanted of each server, in its own names."""
    uris: dict[str, list[str]] = {}
    for uri in wanted.uris:
        with contextlib.suppress(McpFault):  # of a server that is not here: nothing will change
            server, inner = scope.target_uri(uri)
            uris.setdefault(server.name, []).append(inner)
    return [
        (
            server,
            Wanted(
                tools=wanted.tools,
                prompts=wanted.prompts,
                resources=wanted.resources,
                uris=tuple(uris.get(server.name, ())),
            ),
        )
        for server in scope.targets
    ]


async def _hear(
    server: McpServer, scope: Scope, wanted: Wanted, client: Client, heard: _Heard
) -> None:
    """Listens again when the server was away."""
    while True:
        with contextlib.suppress(HoldfastError, McpFault):
            async for method, params in server.listen(wanted, client):
                if not wanted.wants(method, params):
                    continue
                shown = {k: v for k, v in params.items() if k != "_meta"}
                if "uri" in shown:
                    shown["uri"] = scope.outer_uri(server.name, str(shown["uri"]))
                if not heard.full():  # a change is only a hint to look
                    heard.put_nowait((method, shown))
        await asyncio.sleep(AGAIN_S)
