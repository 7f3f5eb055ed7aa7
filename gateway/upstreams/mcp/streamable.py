"""A server over streamable HTTP: a POST per message, answered by JSON or by an event stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from gateway.errors import UpstreamError
from gateway.interfaces.mcp import INTERRUPTED, McpFault
from gateway.model import Json
from gateway.upstreams.mcp.channel import OnMessage, ignored
from gateway.upstreams.mcp.events import EventReader
from gateway.upstreams.mcp.line import Answered, Asking, Line
from gateway.upstreams.mcp.wire import MAX_MESSAGE_BYTES, NotAMessage, decode, encode

_log = logging.getLogger(__name__)

_STREAM = "text/event-stream"
_ACCEPT = {"accept": f"application/json, {_STREAM}"}
SESSION = "Mcp-Session-Id"
_SESSION = SESSION.lower()
END_S = 2.0
LISTEN_AGAIN_S = 5.0
MOST_RETURNS = 100
LONGEST_WAIT_MS = 5000


class HttpChannel:
    """``remember`` adds the headers that the era demands on every later message."""

    def __init__(self, name: str, line: Line) -> None:
        self._name = name
        self._line = line
        self._remembered: dict[str, str] = {}
        self.lost = False

    @property
    def alive(self) -> bool:
        return not self.lost

    @property
    def headed(self) -> bool:
        return True

    def remember(self, header: str, value: str) -> None:
        self._remembered[header] = value

    async def exchange(
        self,
        message: Mapping[str, Json],
        *,
        headers: Mapping[str, str] | None = None,
        on_message: OnMessage = ignored,
    ) -> Mapping[str, Json]:
        try:
            async with self._sent(message, headers) as answer:
                self._note_session(answer)
                if answer.content_type == _STREAM:
                    return await self._streamed(answer, message["id"], on_message)
                return await self._single(answer, message["id"])
        except NotAMessage as fault:
            raise self._failed(f"its answer cannot be read: {fault}") from None
        except UpstreamError as error:
            raise self._named(error) from None

    async def post(
        self, message: Mapping[str, Json], *, headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            async with self._sent(message, headers) as answer:
                self._note_session(answer)
                if answer.status >= 400:
                    raise self._failed(f"it answered {answer.status}")
        except UpstreamError as error:
            raise self._named(error) from None

    async def unasked(self) -> AsyncIterator[Mapping[str, Json]]:
        """The GET stream of a session, taken up again when it breaks; ends at once where the
        server has none."""
        while self.alive:
            try:
                async with self._line.send("GET", self._with({"accept": _STREAM})) as answer:
                    if answer.status != 200 or answer.content_type != _STREAM:
                        return
                    async for message in _messages(answer, EventReader()):
                        yield message
            except (UpstreamError, NotAMessage) as error:
                _log.info("the stream of %s broke: %s", self._name, type(error).__name__)
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def close(self) -> None:
        """Ends the session, if there is one."""
        self.lost = True
        if SESSION not in self._remembered:
            return
        try:
            async with asyncio.timeout(END_S), self._line.send("DELETE", self._with(_ACCEPT)):
                pass
        except (UpstreamError, TimeoutError) as error:
            _log.info("the session at %s was not ended: %s", self._name, type(error).__name__)

    def _sent(self, message: Mapping[str, Json], headers: Mapping[str, str] | None) -> Asking:
        sent = self._with(_ACCEPT)
        for name, value in (headers or {}).items():
            sent[name.lower()] = value
        sent["content-type"] = "application/json"
        return self._line.send("POST", sent, encode(message))

    def _with(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, **{name.lower(): value for name, value in self._remembered.items()}}

    def _note_session(self, answer: Answered) -> None:
        session = answer.headers.get(_SESSION)
        if session is not None and session.isascii() and session.isprintable():
            self._remembered.setdefault(SESSION, session)
        if answer.status == 404 and SESSION in self._remembered:
            self.lost = True  # the server has forgotten the session: a new one is needed
            raise UpstreamError(
                f"The MCP server {self._name!r} has ended the session. Try again.",
                reason="upstream.unreachable",
                blames_target=False,
            )

    async def _single(self, answer: Answered, id: Json) -> Mapping[str, Json]:
        coding = answer.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise NotAMessage("it is compressed, which was not asked for")
        data = bytearray()
        async for piece in answer.pieces():
            data += piece
            if len(data) > MAX_MESSAGE_BYTES:
                raise NotAMessage("it is too large")
        if answer.content_type != "application/json":
            raise self._status(answer.status)
        try:
            message = decode(bytes(data))
        except NotAMessage:
            if answer.status >= 300:
                raise self._status(answer.status) from None
            raise
        refused = answer.status >= 400 and "error" in message and message.get("id") is None
        if message.get("id") != id and not refused:
            raise NotAMessage("it answers another request")
        return message

    async def _streamed(
        self, answer: Answered, id: Json, on_message: OnMessage
    ) -> Mapping[str, Json]:
        reader = EventReader()
        found = await _answer_in(answer, reader, id, on_message)
        for _ in range(MOST_RETURNS):
            if found is not None:
                return found
            if reader.last_id is None or SESSION not in self._remembered:
                break
            on_message({"method": INTERRUPTED})
            await asyncio.sleep(min(reader.retry_ms or 1000, LONGEST_WAIT_MS) / 1000)
            found = await self._returned(reader, id, on_message)
        raise self._failed("its stream ended without an answer")

    async def _returned(
        self, reader: EventReader, id: Json, on_message: OnMessage
    ) -> Mapping[str, Json] | None:
        """Comes back for the rest of a stream that the server has ended early."""
        headers = {"accept": _STREAM, "last-event-id": str(reader.last_id)}
        async with self._line.send("GET", self._with(headers)) as answer:
            if answer.status != 200 or answer.content_type != _STREAM:
                raise self._failed(f"it answered {answer.status} to who came back")
            return await _answer_in(answer, reader, id, on_message)

    def _status(self, status: int) -> Exception:
        if status in (400, 404, 405, 406, 415):
            # Nothing of the protocol, so nothing of a tool: an older server, or no server.
            return McpFault(-32000, f"The server answered {status}.")
        detail = f"The MCP server {self._name!r} answered {status}."
        refused = status in (401, 403, 429)
        return UpstreamError(
            detail, reason="upstream.failed", proves_no_effect=refused, blames_target=status >= 500
        )

    def _failed(self, why: str) -> UpstreamError:
        return UpstreamError(
            f"The MCP server {self._name!r} failed: {why}.", proves_no_effect=False
        )

    def _named(self, error: UpstreamError) -> UpstreamError:
        """An error of the line, with the server's name; one of our own as it is."""
        own = f"The MCP server {self._name!r}"
        if error.detail.startswith(own):
            return error
        why = error.detail.removeprefix("The tool ").rstrip(".")
        return UpstreamError(
            f"{own} failed: {why}.", reason=error.reason, proves_no_effect=error.proves_no_effect
        )


async def _answer_in(
    answer: Answered, reader: EventReader, id: Json, on_message: OnMessage
) -> Mapping[str, Json] | None:
    async for message in _messages(answer, reader):
        if "method" in message:
            on_message(message)
        elif message.get("id") == id:
            return message
    return None


async def _messages(answer: Answered, reader: EventReader) -> AsyncIterator[Mapping[str, Json]]:
    async for piece in answer.pieces():
        for data in reader.feed(piece):
            yield decode(data)
