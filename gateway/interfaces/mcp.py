"""The seam between the MCP surface and MCP servers, and the words that both sides speak.

Two revisions of the protocol are served: the current one is stateless, the previous ones have
sessions. Results cross this seam without what only one of them has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gateway.model import Json

CURRENT = "2026-07-28"
PREVIOUS = ("2025-11-25", "2025-06-18", "2025-03-26")

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY = "io.modelcontextprotocol/clientInfo"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
LOG_LEVEL_KEY = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
NOT_FOUND_PREVIOUS = -32002  # a resource, before 2026-07-28
REFUSED = -32010  # ours: a decision about something that is no tool; ``data`` is the problem

# The parameter that names what a request is about.
NAMED_BY: Mapping[str, str] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

# Told to a ``Dialogue`` when the server ends its stream before the answer, which it gives to who
# comes back: the client's stream is ended alike.
INTERRUPTED = "holdfast/interrupted"

LISTS: Mapping[str, str] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


class McpFault(Exception):
    """A JSON-RPC error: a server's answer, or what is wrong with a message."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, Json]:
        error: dict[str, Json] = {"code": self.code, "message": self.message}
        return error if self.data is None else {**error, "data": self.data}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who a request comes from. ``owner`` is the subject's id, ``capabilities`` what the client
    says that it can be asked. ``current``: it speaks 2026-07-28, so a server that speaks both is
    spoken to in the same way."""

    owner: str
    capabilities: Mapping[str, Json] = field(default_factory=dict)
    info: Mapping[str, Json] | None = None
    log_level: str | None = None
    current: bool = True


class Dialogue(Protocol):
    """The way back to the client of one request, while it runs."""

    @property
    def client(self) -> Client: ...

    @property
    def inputs(self) -> Any:
        """``inputResponses`` that came with the request itself, or ``None``."""
        ...

    @property
    def wants_progress(self) -> bool: ...

    @property
    def asked(self) -> bool:
        """Whether the client was asked anything: then it is part of how long the request takes."""
        ...

    async def ask(self, requests: Mapping[str, Json]) -> Mapping[str, Json]:
        """The client's answers to ``{key: {"method", "params"}}``, by key; a key may be missing.
        Raises ``McpFault`` when the client refuses and ``TimeoutError`` when nobody answers."""
        ...

    def tell(self, method: str, params: Mapping[str, Json]) -> None:
        """A notification about this request: progress, a log message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDescription:
    capabilities: Mapping[str, Json]
    info: Mapping[str, Json]
    instructions: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a listener wants to hear of."""

    tools: bool = False
    prompts: bool = False
    resources: bool = False
    uris: tuple[str, ...] = ()

    def wants(self, method: str, params: Mapping[str, Json]) -> bool:
        if method == "notifications/resources/updated":
            return params.get("uri") in self.uris
        return {
            "notifications/tools/list_changed": self.tools,
            "notifications/prompts/list_changed": self.prompts,
            "notifications/resources/list_changed": self.resources,
        }.get(method, False)


class McpServer(Protocol):
    """A server as the surface uses it. Methods raise ``McpFault`` for what the server answered
    and ``UpstreamError`` when it cannot be asked."""

    @property
    def name(self) -> str: ...

    async def describe(self, client: Client) -> ServerDescription: ...

    async def tools(self, client: Client) -> list[Json]:
        """The tools that may be used: those whose description is the approved one."""
        ...

    async def headed_schema(self, client: Client, tool: str) -> Json:
        """The input schema of a tool whose requests repeat arguments in headers; ``None`` where
        nothing is repeated."""
        ...

    async def ask(self, method: str, params: Mapping[str, Json], dialogue: Dialogue) -> Json:
        """A request that is no action: lists, log level, subscriptions."""
        ...

    def listen(
        self, wanted: Wanted, client: Client
    ) -> AsyncIterator[tuple[str, Mapping[str, Json]]]:
        """Changes as they are announced; ends when the server goes away."""
        ...

    async def pins(self) -> list[Pin]:
        """The tools as they were seen last, approved or not."""
        ...

    async def approve(self, tool: str, *, seen: str | None, by: str) -> Pin | None:
        """Approves a tool as it was seen last; ``None`` where that is not ``seen``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One tool of a server as people approved it. ``approved`` and ``seen`` are digests over name,
    description, schemas and annotations; the tool is usable while they are equal. ``document`` is
    for people: what is hidden in it is written out."""

    server: str
    tool: str
    seen: str
    approved: str | None
    document: Json
    warnings: tuple[str, ...] = ()
    updated_at: datetime
    by: str

    @property
    def usable(self) -> bool:
        return self.approved == self.seen


class PinStore(Protocol):
    async def pins(self, server: str | None = None) -> list[Pin]: ...

    async def put_pin(self, pin: Pin) -> None:
        """Keeps the newest state of one tool and records it in the audit log."""
        ...
