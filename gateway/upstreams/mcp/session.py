"""One conversation with a server in the era that it speaks, and how that era is found out."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import __version__
from gateway.errors import UpstreamError
from gateway.interfaces.mcp import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    CURRENT,
    INTERNAL_ERROR,
    INTERRUPTED,
    LOG_LEVEL_KEY,
    METHOD_NOT_FOUND,
    NAMED_BY,
    PREVIOUS,
    SERVER_KEY,
    VERSION_KEY,
    Client,
    Dialogue,
    McpFault,
    ServerDescription,
    Wanted,
)
from gateway.model import Json
from gateway.upstreams.mcp.channel import Channel
from gateway.upstreams.mcp.wire import NotAMessage, result_of

_log = logging.getLogger(__name__)

GATEWAY = {"name": "holdfast", "title": "Holdfast", "version": __version__}
MAX_ROUNDS = 16
PROBE_S = 5.0
HELLO_S = 30.0
_ASKABLE = ("elicitation/create", "sampling/createMessage", "roots/list")
_TOLD = ("notifications/progress", "notifications/message", INTERRUPTED)
_PAUSES_S = (0.05, 0.1, 0.25)


@dataclass(slots=True)
class _Ids:
    count: itertools.count[int]

    def next(self) -> int:
        return next(self.count)


class Session:
    """``current``: the server speaks 2026-07-28. Open one by ``greet``."""

    def __init__(
        self, channel: Channel, *, current: bool, description: ServerDescription, ids: _Ids
    ) -> None:
        self.channel = channel
        self.current = current
        self.description = description
        self._ids = ids
        self._tasks: set[asyncio.Task[None]] = set()

    async def request(
        self,
        method: str,
        params: Mapping[str, Json],
        *,
        client: Client,
        dialogue: Dialogue | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Json]:
        """The result, without what only one era has. Raises ``McpFault`` and ``UpstreamError``."""
        try:
            if self.current:
                return await self._in_rounds(method, params, client, dialogue, headers)
            return await self._once(method, params, client, dialogue, headers)
        except NotAMessage as fault:
            raise UpstreamError(
                f"The MCP server's answer cannot be read: {fault}.", proves_no_effect=False
            ) from None

    async def _in_rounds(
        self,
        method: str,
        params: Mapping[str, Json],
        client: Client,
        dialogue: Dialogue | None,
        headers: Mapping[str, str] | None,
    ) -> dict[str, Json]:
        """Asks the client whatever the server wants to know before it can answer."""
        more: dict[str, Json] = {}
        if dialogue is not None and dialogue.inputs is not None:
            more["inputResponses"] = dialogue.inputs
        for round in range(MAX_ROUNDS):
            result = await self._once(method, {**params, **more}, client, dialogue, headers)
            kind = result.pop("resultType", "complete")
            if kind == "complete":
                return result
            if kind != "input_required" or dialogue is None:
                raise UpstreamError(
                    f"The MCP server answered with {kind!r}, which cannot be followed up here.",
                    proves_no_effect=False,
                )
            wanted = result.get("inputRequests")
            more = {}
            if isinstance(wanted, dict) and wanted:
                more["inputResponses"] = dict(await dialogue.ask(wanted))
            else:
                await asyncio.sleep(_PAUSES_S[min(round, len(_PAUSES_S) - 1)])
            if isinstance(result.get("requestState"), str):
                more["requestState"] = result["requestState"]
        raise UpstreamError("The MCP server asks without an end.", proves_no_effect=False)

    async def _once(
        self,
        method: str,
        params: Mapping[str, Json],
        client: Client,
        dialogue: Dialogue | None,
        headers: Mapping[str, str] | None,
    ) -> dict[str, Json]:
        id = self._ids.next()
        meta = {k: v for k, v in (params.get("_meta") or {}).items() if k != "progressToken"}
        if self.current:
            meta = {**meta, **_envelope(client)}
        if dialogue is not None and dialogue.wants_progress:
            meta["progressToken"] = id
        sent = (
            {**params, "_meta": meta} if meta else {k: v for k, v in params.items() if k != "_meta"}
        )
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": sent}

        def take(incoming: Mapping[str, Json]) -> None:
            self._take(incoming, dialogue)

        try:
            response = await self.channel.exchange(
                message, headers=self._headers(method, params, headers), on_message=take
            )
        except asyncio.CancelledError:
            self._start(self._cancelled(id))
            raise
        return _plain(result_of(response))

    def _headers(
        self, method: str, params: Mapping[str, Json], more: Mapping[str, str] | None
    ) -> dict[str, str]:
        if not self.current or not self.channel.headed:
            return {}
        headers = {"MCP-Protocol-Version": CURRENT, "Mcp-Method": method, **(more or {})}
        named = params.get(NAMED_BY.get(method, ""))
        if isinstance(named, str):
            from mcp.shared.inbound import encode_header_value  # see catalog.py

            headers["Mcp-Name"] = encode_header_value(named)
        return headers

    def _take(self, message: Mapping[str, Json], dialogue: Dialogue | None) -> None:
        """What the server says while it works on a request."""
        method, params = str(message["method"]), message.get("params") or {}
        if "id" in message:
            self._start(self._answer(message["id"], method, params, dialogue))
        elif dialogue is not None and method in _TOLD:
            dialogue.tell(method, params)

    async def _answer(
        self, id: Json, method: str, params: Mapping[str, Json], dialogue: Dialogue | None
    ) -> None:
        """Answers a request of the server; only the client of a running request is ever asked."""
        reply: dict[str, Json] = {"jsonrpc": "2.0", "id": id}
        try:
            if method == "ping":
                reply["result"] = {}
            elif method not in _ASKABLE or dialogue is None:
                raise McpFault(METHOD_NOT_FOUND, f"{method} is not answered here")
            else:
                answers = await dialogue.ask({"input": {"method": method, "params": params}})
                if "input" not in answers:
                    raise McpFault(INTERNAL_ERROR, "the client gave no answer")
                reply["result"] = answers["input"]
        except McpFault as fault:
            reply["error"] = fault.as_json()
        except TimeoutError:
            reply["error"] = {
                "code": INTERNAL_ERROR,
                "message": "the client did not answer in time",
            }
        try:
            await self.channel.post(reply)
        except UpstreamError as error:
            _log.info("an answer did not reach the server: %s", error.detail)

    async def _cancelled(self, id: int) -> None:
        """Tells the server that nobody waits any more. Over HTTP in the current era the closed
        stream has said so."""
        if self.current and self.channel.headed:
            return
        note = {"method": "notifications/cancelled", "params": {"requestId": id}}
        try:
            await self.channel.post({"jsonrpc": "2.0", **note})
        except UpstreamError as error:
            _log.info("a cancellation did not reach the server: %s", error.detail)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def unasked(self) -> AsyncIterator[tuple[str, Mapping[str, Json]]]:
        """Changes that the server announces; its requests outside of a call are refused."""
        async for message in self.channel.unasked():
            if "method" not in message:
                continue
            method, params = str(message["method"]), message.get("params") or {}
            if "id" in message:
                self._start(self._answer(message["id"], method, params, None))
            else:
                yield method, params

    async def listen(
        self, wanted: Wanted, client: Client
    ) -> AsyncIterator[tuple[str, Mapping[str, Json]]]:
        """A ``subscriptions/listen`` stream of the current era."""
        heard: asyncio.Queue[tuple[str, Mapping[str, Json]] | None] = asyncio.Queue(256)

        def take(message: Mapping[str, Json]) -> None:
            if "id" not in message and not heard.full():
                heard.put_nowait((str(message["method"]), message.get("params") or {}))

        message = {
            "jsonrpc": "2.0",
            "id": self._ids.next(),
            "method": "subscriptions/listen",
            "params": {"_meta": _envelope(client), "notifications": _filter(wanted)},
        }
        headers = self._headers("subscriptions/listen", {}, None)
        stream = asyncio.ensure_future(
            self.channel.exchange(message, headers=headers, on_message=take)
        )
        stream.add_done_callback(lambda _: None if heard.full() else heard.put_nowait(None))
        try:
            while (item := await heard.get()) is not None:
                yield item
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.channel.close()


def _envelope(client: Client) -> dict[str, Json]:
    meta: dict[str, Json] = {
        VERSION_KEY: CURRENT,
        CAPABILITIES_KEY: dict(client.capabilities),
        CLIENT_KEY: dict(client.info or GATEWAY),
    }
    if client.log_level is not None:
        meta[LOG_LEVEL_KEY] = client.log_level
    return meta


def _filter(wanted: Wanted) -> dict[str, Json]:
    kinds = {
        "toolsListChanged": wanted.tools,
        "promptsListChanged": wanted.prompts,
        "resourcesListChanged": wanted.resources,
        "resourceSubscriptions": list(wanted.uris),
    }
    return {name: value for name, value in kinds.items() if value}


def _plain(result: dict[str, Json]) -> dict[str, Json]:
    meta = result.get("_meta")
    if isinstance(meta, dict) and SERVER_KEY in meta:
        rest = {key: value for key, value in meta.items() if key != SERVER_KEY}
        result = {key: value for key, value in result.items() if key != "_meta"}
        if rest:
            result["_meta"] = rest
    return result


async def greet(
    channel: Channel, client: Client, *, first: str = "current", only: bool = False
) -> Session:
    """Says hello in the era that is tried ``first``, then in the other one unless it is the
    ``only`` one. Raises ``UpstreamError``."""
    ids = _Ids(itertools.count(1))
    try:
        if first == "previous":
            try:
                return await _initialized(channel, client, ids)
            except McpFault:
                if only:
                    raise
        found = await _discovered(channel, client, ids, insist=only or first == "previous")
        if found is None:
            found = await _older(channel, client, ids, only=first == "previous")
        return found
    except (McpFault, NotAMessage) as error:
        raise UpstreamError(
            f"The MCP server does not take up a conversation: {error}.",
            reason="upstream.unreachable",
        ) from None
    except TimeoutError:
        raise UpstreamError(
            "The MCP server did not take up a conversation in time.", reason="upstream.unreachable"
        ) from None


async def _older(channel: Channel, client: Client, ids: _Ids, *, only: bool) -> Session:
    """The older hello. A server that starts slowly looks like one that does not know the newer
    one: where it refuses the older, the newer is tried once more, with patience."""
    try:
        return await _initialized(channel, client, ids)
    except McpFault:
        if only:
            raise
    found = await _discovered(channel, client, ids, insist=True)
    assert found is not None
    return found


async def _discovered(
    channel: Channel, client: Client, ids: _Ids, *, insist: bool
) -> Session | None:
    message = {
        "jsonrpc": "2.0",
        "id": ids.next(),
        "method": "server/discover",
        "params": {"_meta": _envelope(client)},
    }
    headers = {"MCP-Protocol-Version": CURRENT, "Mcp-Method": "server/discover"}
    try:
        async with asyncio.timeout(HELLO_S if insist else PROBE_S):
            result = result_of(await channel.exchange(message, headers=headers))
    except (McpFault, NotAMessage, TimeoutError):
        if insist:
            raise
        return None
    if CURRENT not in (result.get("supportedVersions") or ()):
        if insist:
            raise McpFault(INTERNAL_ERROR, f"it does not speak {CURRENT}")
        return None
    meta = result.get("_meta") or {}
    description = ServerDescription(
        capabilities=_object(result.get("capabilities")),
        info=_object(meta.get(SERVER_KEY) or result.get("serverInfo")),
        instructions=_text(result.get("instructions")),
    )
    return Session(channel, current=True, description=description, ids=ids)


async def _initialized(channel: Channel, client: Client, ids: _Ids) -> Session:
    message = {
        "jsonrpc": "2.0",
        "id": ids.next(),
        "method": "initialize",
        "params": {
            "protocolVersion": PREVIOUS[0],
            "capabilities": dict(client.capabilities),
            "clientInfo": dict(client.info or GATEWAY),
        },
    }
    async with asyncio.timeout(HELLO_S):
        result = result_of(await channel.exchange(message))
        version = result.get("protocolVersion")
        if version not in PREVIOUS and version != "2024-11-05":
            raise McpFault(INTERNAL_ERROR, f"it speaks {version!r} only")
        channel.remember("MCP-Protocol-Version", str(version))
        await channel.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
    description = ServerDescription(
        capabilities=_object(result.get("capabilities")),
        info=_object(result.get("serverInfo")),
        instructions=_text(result.get("instructions")),
    )
    return Session(channel, current=False, description=description, ids=ids)


def _object(value: Json) -> dict[str, Json]:
    return dict(value) if isinstance(value, dict) else {}


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
