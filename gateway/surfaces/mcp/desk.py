"""What the MCP surface keeps between requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.interfaces.mcp import McpServer
from gateway.surfaces.mcp.exchange import Exchange
from gateway.surfaces.mcp.sessions import Sessions
from gateway.surfaces.mcp.states import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request of the current era that waits for its client to come back with answers."""

    exchange: Exchange
    owner: str


@dataclass(slots=True, kw_only=True)
class Desk:
    """``hosts`` are the names under which the gateway may be called, ``origins`` the web origins
    that may call it. ``answer_s``: how long a client may take to answer a question."""

    servers: Mapping[str, McpServer] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    origins: frozenset[str] = frozenset()
    answer_s: float = 50.0
    waiting_per_agent: int = 32
    sessions: Sessions = field(default_factory=Sessions)
    seal: Seal = field(default_factory=Seal)
    waiting: dict[str, Waiting] = field(default_factory=dict)

    def close(self) -> None:
        """Gives up every question: what is still asked will not be answered any more."""
        for waiting in list(self.waiting.values()):
            waiting.exchange.give_up()
