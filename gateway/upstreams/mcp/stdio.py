"""A server as a process of ours: one JSON message a line over its standard streams.

The process gets the environment that is configured for it and a few names without secrets, nothing
else of ours. A line that is no message ends the process: what follows it could mean anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from gateway.errors import UpstreamError
from gateway.interfaces.mcp import SUBSCRIPTION_KEY
from gateway.model import Json
from gateway.upstreams.mcp.channel import OnMessage, ignored
from gateway.upstreams.mcp.wire import MAX_MESSAGE_BYTES, NotAMessage, decode, encode

_log = logging.getLogger(__name__)

STOP_S = 2.0
KEPT_LINES = 20
MOST_UNASKED = 1000


class StdioChannel:
    """``environment`` is the whole environment of the process. Opened by ``start``."""

    def __init__(self, name: str, process: Process) -> None:
        self._name = name
        self._process = process
        self._waiting: dict[Json, tuple[asyncio.Future[Mapping[str, Json]], OnMessage]] = {}
        self._unasked: asyncio.Queue[Mapping[str, Json] | None] = asyncio.Queue(MOST_UNASKED)
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._fault: str | None = None
        self._ended = False
        self._writing = asyncio.Lock()
        self._tasks = [
            asyncio.create_task(self._read(), name=f"mcp {name} reads"),
            asyncio.create_task(self._listen_to_errors(), name=f"mcp {name} errors"),
        ]

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: str | None = None,
        most: int = MAX_MESSAGE_BYTES,
    ) -> StdioChannel:
        """Raises ``UpstreamError`` when the command cannot be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=dict(environment),
                cwd=folder,
                limit=most,
                # A group of its own: a Ctrl-C at our terminal is not for it, and its children end
                # with it.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise UpstreamError(
                f"The MCP server {name!r} cannot be started: {error}.",
                reason="upstream.unreachable",
            ) from None
        return cls(name, process)

    @property
    def alive(self) -> bool:
        return self._fault is None and self._process.returncode is None

    @property
    def headed(self) -> bool:
        return False

    def remember(self, header: str, value: str) -> None:  # noqa: ARG002 - a pipe has none
        return None

    async def exchange(
        self,
        message: Mapping[str, Json],
        *,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - a pipe has none
        on_message: OnMessage = ignored,
    ) -> Mapping[str, Json]:
        if not self.alive:
            raise self._gone(sent=False)
        answer: asyncio.Future[Mapping[str, Json]] = asyncio.get_running_loop().create_future()
        self._waiting[message["id"]] = (answer, on_message)
        try:
            await self._write(message)
            return await answer
        finally:
            self._waiting.pop(message["id"], None)

    async def post(
        self,
        message: Mapping[str, Json],
        *,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - a pipe has none
    ) -> None:
        if not self.alive:
            raise self._gone(sent=False)
        await self._write(message)

    async def unasked(self) -> AsyncIterator[Mapping[str, Json]]:
        while True:
            message = await self._unasked.get()
            if message is None:
                return
            yield message

    async def _write(self, message: Mapping[str, Json]) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        async with self._writing:
            try:
                pipe.write(encode(message) + b"\n")
                await pipe.drain()
            except (OSError, RuntimeError):
                # Part of it may have arrived.
                raise self._gone(sent=True) from None

    async def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            while line := await pipe.readline():
                if line.strip():
                    self._take(decode(line))
            self._end("it ended")
        except ValueError as error:
            # ``readline`` says so for a line beyond the bound, ``decode`` for what is no message.
            why = str(error) if isinstance(error, NotAMessage) else "a line of it is too long"
            self._end(why)
        finally:
            self._end("it ended")

    def _take(self, message: Mapping[str, Json]) -> None:
        if "method" not in message:
            waiting = self._waiting.get(message.get("id"))
            if waiting is not None and not waiting[0].done():
                waiting[0].set_result(message)
            return  # an answer that nobody waits for any more
        exchange = self._exchange_of(message)
        if exchange is not None:
            exchange(message)
        elif self._unasked.full():
            raise NotAMessage("it sends more than anybody reads")
        else:
            self._unasked.put_nowait(message)

    def _exchange_of(self, message: Mapping[str, Json]) -> OnMessage | None:
        """The exchange that a message of the server belongs to. Progress and changes name it;
        anything else can be told only while there is just one."""
        params = message.get("params")
        meta = params.get("_meta") if isinstance(params, dict) else None
        if isinstance(meta, dict) and SUBSCRIPTION_KEY in meta:
            named = self._waiting.get(meta[SUBSCRIPTION_KEY])
            return ignored if named is None else named[1]
        if message["method"] == "notifications/progress":
            token = params.get("progressToken") if isinstance(params, dict) else None
            named = self._waiting.get(token)
            return ignored if named is None else named[1]
        changes = str(message["method"]).endswith(("/list_changed", "/updated", "/acknowledged"))
        if not changes and len(self._waiting) == 1:
            return next(iter(self._waiting.values()))[1]
        return None

    async def _listen_to_errors(self) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        while piece := await pipe.read(4096):
            for line in piece.decode("utf-8", "replace").splitlines():
                self._said.append(line[:500])

    def _end(self, why: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self._fault is None:
            self._fault = why
            _log.warning("the MCP server %s is gone: %s", self._name, why)
        for answer, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._gone(sent=True))
        while self._unasked.full():
            self._unasked.get_nowait()
        self._unasked.put_nowait(None)
        self._signal(signal.SIGKILL)

    def _gone(self, *, sent: bool) -> UpstreamError:
        return UpstreamError(
            f"The MCP server {self._name!r} is not there: {self._fault or 'it ended'}.",
            reason="upstream.failed" if sent else "upstream.unreachable",
            proves_no_effect=not sent,
        )

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, number)

    async def close(self) -> None:
        """Closes its input, then asks, then insists."""
        self._fault = self._fault or "it was stopped"
        pipe = self._process.stdin
        if pipe is not None and not pipe.is_closing():
            pipe.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S / 2)
                break
            except TimeoutError:
                self._signal(number)
        self._signal(signal.SIGKILL)  # what it has started
        await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end("it was stopped")
