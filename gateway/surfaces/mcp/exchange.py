"""One request while it runs: what its client is told on the way, and what it is asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from gateway.interfaces.mcp import (
    INTERRUPTED,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Client,
    McpFault,
)
from gateway.model import Json

MOST_WAITING = 1000
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_NEEDS = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
# Sends requests to the client and gives its answers by key.
Asker = Callable[[Mapping[str, Json]], Awaitable[Mapping[str, Json]]]


def is_page(address: Json) -> bool:
    """Whether a person may be sent there: the web, no script and no file."""
    return isinstance(address, str) and address.lower().startswith(("https://", "http://"))


class Exchange:
    """``Dialogue``. ``task`` carries the request out; ``outgoing`` are the messages that wait to be
    sent. ``asker`` is how this client is asked; without one it is not."""

    def __init__(
        self, client: Client, *, token: Json = None, inputs: Any = None, asker: Asker | None = None
    ) -> None:
        self._client = client
        self._inputs = inputs
        self._asker = asker
        self._asking = asyncio.Lock()
        self._asked = False
        self.token = token
        self.call: str | None = None
        self.interrupted = False
        self.outgoing: deque[Mapping[str, Json]] = deque(maxlen=MOST_WAITING)
        self.paused: tuple[Mapping[str, Json], asyncio.Future[Mapping[str, Json]]] | None = None
        self.task: asyncio.Task[dict[str, Json]] | None = None
        self.news = asyncio.Event()

    @property
    def client(self) -> Client:
        return self._client

    @property
    def inputs(self) -> Any:
        return self._inputs

    @property
    def wants_progress(self) -> bool:
        return self.token is not None

    @property
    def asked(self) -> bool:
        return self._asked

    def tell(self, method: str, params: Mapping[str, Json]) -> None:
        if method == INTERRUPTED:
            self.interrupted = True
            self.news.set()
            return
        if method == "notifications/progress":
            if self.token is None:
                return
            params = {**params, "progressToken": self.token}
        elif not self._wants_to_know(params):
            return
        self.say({"jsonrpc": "2.0", "method": method, "params": params})

    def _wants_to_know(self, params: Mapping[str, Json]) -> bool:
        level, wanted = params.get("level"), self._client.log_level
        if wanted is None or level not in LEVELS:
            return False
        return LEVELS.index(str(level)) >= LEVELS.index(wanted)

    def say(self, message: Mapping[str, Json]) -> None:
        self.outgoing.append(message)
        self.news.set()

    async def ask(self, requests: Mapping[str, Json]) -> Mapping[str, Json]:
        if self._asker is None:
            raise McpFault(METHOD_NOT_FOUND, "This client cannot be asked here.")
        for request in requests.values():
            self._check(request)
        self._asked = True
        async with self._asking:  # one question at a time, however many the server has
            return await self._asker(requests)

    def _check(self, request: Json) -> None:
        method = request.get("method") if isinstance(request, dict) else None
        needed = _NEEDS.get(str(method))
        if needed is None or needed not in self._client.capabilities:
            raise McpFault(METHOD_NOT_FOUND, f"The client does not answer {str(method)[:64]}.")
        params = request.get("params")
        if isinstance(params, dict) and "url" in params and not is_page(params["url"]):
            raise McpFault(INVALID_PARAMS, "A person is not sent to an address that is no page.")

    async def pause(self, requests: Mapping[str, Json], ttl_s: float) -> Mapping[str, Json]:
        """An ``Asker`` for clients that answer with their next request."""
        future: asyncio.Future[Mapping[str, Json]] = asyncio.get_running_loop().create_future()
        self.paused = (requests, future)
        self.news.set()
        try:
            async with asyncio.timeout(ttl_s):
                return await future
        finally:
            self.paused = None

    def give_up(self) -> None:
        """The client will not come back with its answers."""
        if self.paused is not None and not self.paused[1].done():
            self.paused[1].set_exception(TimeoutError())

    def start(self, work: Coroutine[Any, Any, dict[str, Json]]) -> None:
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(lambda _: self.news.set())

    @property
    def over(self) -> bool:
        return self.task is not None and self.task.done()

    def outcome(self) -> dict[str, Json]:
        """The result of what is over. Raises what the work raised."""
        assert self.task is not None
        return self.task.result()

    async def wait(self, timeout_s: float) -> bool:
        """Until something is to be said, asked or over; whether that came in time."""
        if not (self.outgoing or self.paused or self.over or self.interrupted):
            self.news.clear()
            late = asyncio.get_running_loop().call_later(timeout_s, self.news.set)
            try:
                await self.news.wait()
            finally:
                late.cancel()
        return bool(self.outgoing or self.paused or self.over or self.interrupted)
