"""Sessions of the previous era, each bound to the agent that opened it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import NotFound
from gateway.interfaces.mcp import INTERNAL_ERROR, Client, McpFault
from gateway.model import Json
from gateway.surfaces.mcp.exchange import Exchange
from gateway.surfaces.mcp.tracks import RESUMABLE, Tracks

MOST_PER_AGENT = 64
IDLE_S = 3600.0


@dataclass(slots=True, kw_only=True)
class Session:
    """``scope``: the server that it was opened for, or ``None`` for all. ``changed`` is set when
    the subscriptions change."""

    id: str
    owner: str
    scope: str | None
    version: str
    client: Client
    used: float
    uris: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    running: dict[Json, Exchange] = field(default_factory=dict)
    asked: dict[str, asyncio.Future[Json]] = field(default_factory=dict)
    tracks: Tracks = field(default_factory=Tracks)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def resumable(self) -> bool:
        return self.version >= RESUMABLE

    def subscribe(self, uri: str, *, wanted: bool) -> None:
        (self.uris.add if wanted else self.uris.discard)(uri)
        self.changed.set()
        self.changed = asyncio.Event()

    async def ask(
        self, exchange: Exchange, requests: Mapping[str, Json], ttl_s: float
    ) -> Mapping[str, Json]:
        """Asks on the stream of ``exchange`` and waits for the posted answers."""
        waiting: dict[str, asyncio.Future[Json]] = {}
        try:
            for key, request in requests.items():
                id = f"holdfast-{next(self.ids)}"
                waiting[key] = self.asked[id] = asyncio.get_running_loop().create_future()
                params = request.get("params")
                body = {"method": request["method"], "params": {} if params is None else params}
                exchange.say({"jsonrpc": "2.0", "id": id, **body})
            async with asyncio.timeout(ttl_s):
                return {key: await future for key, future in waiting.items()}
        finally:
            gone = [id for id, future in self.asked.items() if future in waiting.values()]
            for id in gone:
                del self.asked[id]

    def answered(self, message: Mapping[str, Json]) -> None:
        """A response that the client posted; one that nobody waits for is ignored."""
        future = self.asked.get(str(message.get("id")))
        if future is None or future.done():
            return
        error = message.get("error")
        if isinstance(error, dict):
            code, text = error.get("code"), error.get("message")
            if not isinstance(code, int) or isinstance(code, bool):
                code = INTERNAL_ERROR
            future.set_exception(McpFault(code, str(text), error.get("data")))
        else:
            future.set_result(message.get("result"))


class Sessions:
    """In this process; a client whose session is not here any more opens another one."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def open(self, *, owner: str, scope: str | None, version: str, client: Client) -> Session:
        now = time.monotonic()
        self._make_room(owner, now)
        id = secrets.token_urlsafe(24)
        session = Session(id=id, owner=owner, scope=scope, version=version, client=client, used=now)
        self._sessions[id] = session
        return session

    def _make_room(self, owner: str, now: float) -> None:
        for session in [s for s in self._sessions.values() if now - s.used > IDLE_S]:
            self.close(session)
        own = sorted((s for s in self._sessions.values() if s.owner == owner), key=lambda s: s.used)
        for session in own[: max(0, len(own) - MOST_PER_AGENT + 1)]:
            self.close(session)

    def find(self, id: str, *, owner: str, scope: str | None) -> Session:
        """Raises ``NotFound``, whether the session never was or is somebody else's; the latter is
        told apart by ``foreign``."""
        session = self._sessions.get(id)
        if session is None or session.owner != owner or session.scope != scope:
            raise NotFound("There is no such session. Initialize a new one.")
        session.used = time.monotonic()
        return session

    def foreign(self, id: str, *, owner: str) -> bool:
        """Whether ``id`` is a session of another agent."""
        session = self._sessions.get(id)
        return session is not None and session.owner != owner

    def close(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        for future in session.asked.values():
            if not future.done():
                future.set_exception(McpFault(INTERNAL_ERROR, "The client ended the session."))
