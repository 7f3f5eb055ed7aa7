"""One connection to a tool: HTTP/1.1, one exchange at a time, nothing repeated, nothing decoded.

The parser is httptools; what it would let through is checked here: sizes of heads, statuses that do
not exist, endless interim answers, bytes after the end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httptools

from gateway.errors import UpstreamError

_HEAD_BYTES = 65_536
_HEADERS = 256
_INTERIM = 16
_HIGH, _LOW = 262_144, 65_536
_BODILESS = frozenset({204, 205, 304})


def cut_off(why: str) -> UpstreamError:
    """The exchange broke after something was sent."""
    return UpstreamError(f"The tool's answer broke off: {why}.", proves_no_effect=False)


def late(why: str) -> UpstreamError:
    return UpstreamError(why, reason="upstream.timeout", proves_no_effect=False)


@dataclass(slots=True)
class _Answer:
    """What has arrived of one answer."""

    bodiless: bool
    headers: list[tuple[str, str]] = field(default_factory=list)
    status: int = 0
    head: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    chunks: deque[bytes] = field(default_factory=deque)
    held: int = 0
    head_bytes: int = 0
    interim: int = 0
    complete: bool = False
    until_close: bool = False
    error: UpstreamError | None = None


class Connection(asyncio.Protocol):
    """``reusable`` once an exchange has ended as HTTP says it should."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: _Answer | None = None
        self._reading = True
        self._room = asyncio.Event()
        self._room.set()
        self._sent_all = True
        self._keep = True
        self.idle_since = 0.0

    # --- the transport's side -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment] # a stream transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep = False
        self._room.set()
        answer = self._answer
        if answer is None or answer.complete:
            return
        if answer.until_close and exc is None:
            self._completed(answer)
        else:
            self._fail(cut_off("the connection was closed"))

    def eof_received(self) -> bool:
        self._keep = False
        return False

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None or answer.complete or answer.error is not None:
            # Nobody asked for this: whoever sends it cannot be trusted with the next request.
            self.abort()
            return
        if not answer.head.is_set():
            answer.head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(cut_off("it switched protocols"))
        except httptools.HttpParserError:
            self._fail(cut_off("it is not HTTP"))
        if not answer.head.is_set() and answer.head_bytes > _HEAD_BYTES:
            self._fail(cut_off("its head is too large"))
        if answer.held > _HIGH and self._reading and self._transport is not None:
            self._transport.pause_reading()
            self._reading = False

    # --- the parser's side ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is not None and self._answer.complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        answer = self._answer
        if answer is None or answer.head.is_set():
            return  # trailers are not passed on
        answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        if len(answer.headers) > _HEADERS:
            self._fail(cut_off("it has too many headers"))

    def on_headers_complete(self) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None or answer.error is not None or answer.complete:
            return
        status = parser.get_status_code()
        if 100 <= status < 200:
            return
        if not 200 <= status <= 599:
            self._fail(cut_off(f"the status {status} does not exist"))
            return
        names = [name for name, _ in answer.headers]
        coded = "transfer-encoding" in names
        if names.count("content-length") > 1 or ("content-length" in names and coded):
            self._fail(cut_off("its length is given twice"))
            return
        self._keep = self._keep and parser.should_keep_alive()
        answer.status = status
        answer.until_close = not coded and "content-length" not in names
        answer.head.set()
        if answer.bodiless or status in _BODILESS:
            answer.bodiless = True
            if coded or _length(answer) > 0:
                # Honest for HEAD and 304, nonsense for the others: not read, so not reused.
                self._keep = self._keep and status not in (204, 205)
            self._completed(answer)

    def on_body(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.error is not None:
            return
        if answer.complete:
            # A body where none belongs, or an answer that nobody asked for.
            self._keep = False
            return
        answer.chunks.append(data)
        answer.held += len(data)
        answer.news.set()

    def on_message_complete(self) -> None:
        answer = self._answer
        if answer is None or answer.error is not None or answer.complete:
            return
        if answer.head.is_set():
            self._completed(answer)
            return
        answer.interim += 1
        answer.headers.clear()
        if answer.interim > _INTERIM:
            self._fail(cut_off("interim answers only"))

    def _completed(self, answer: _Answer) -> None:
        answer.complete = True
        answer.news.set()

    def _fail(self, error: UpstreamError) -> None:
        answer = self._answer
        if answer is not None and answer.error is None and not answer.complete:
            answer.error = error
            answer.head.set()
            answer.news.set()
        self.abort()

    # --- the caller's side ----------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        answer, transport = self._answer, self._transport
        ended = answer is None or (answer.complete and not answer.chunks)
        return (
            self._keep
            and self._sent_all
            and ended
            and transport is not None
            and not transport.is_closing()
        )

    def abort(self) -> None:
        self._keep = False
        if self._transport is not None:
            self._transport.abort()

    async def exchange(
        self,
        head: bytes,
        body: AsyncIterator[bytes] | None,
        *,
        bodiless: bool,
        answer_s: float | None,
        idle_s: float | None,
    ) -> tuple[int, list[tuple[str, str]]]:
        """Sends one request and waits for the head of its answer. Raises ``UpstreamError``; from
        the first byte on, none that proves that nothing happened. Without ``answer_s`` or
        ``idle_s`` the caller has a deadline of its own."""
        if self._transport is None or not self.reusable:
            raise UpstreamError("The tool closed the connection.", reason="upstream.unreachable")
        answer = self._answer = _Answer(bodiless=bodiless)
        self._parser = httptools.HttpResponseParser(self)
        self._sent_all = False
        self._transport.write(head)
        try:
            if body is not None:
                await self._send_body(body, answer, idle_s)
            self._sent_all = self._sent_all or body is None
            if answer_s is None:
                await answer.head.wait()
            else:
                async with asyncio.timeout(answer_s):
                    await answer.head.wait()
        except TimeoutError:
            self.abort()
            raise late("The tool did not answer in time.") from None
        except BaseException:
            self.abort()
            raise
        if answer.error is not None:
            raise answer.error
        return answer.status, answer.headers

    async def _send_body(
        self, body: AsyncIterator[bytes], answer: _Answer, idle_s: float | None
    ) -> None:
        transport = self._transport
        assert transport is not None
        async for chunk in body:
            if answer.head.is_set():
                return  # it has answered already, and reads no more
            transport.write(chunk)
            if not self._room.is_set():
                async with asyncio.timeout(idle_s):
                    await self._room.wait()
        self._sent_all = True

    async def chunks(self, idle_s: float | None) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ``UpstreamError`` when it does not arrive whole."""
        answer = self._answer
        assert answer is not None
        while True:
            while answer.chunks:
                chunk = answer.chunks.popleft()
                answer.held -= len(chunk)
                if not self._reading and answer.held < _LOW and self._transport is not None:
                    self._transport.resume_reading()
                    self._reading = True
                yield chunk
            if answer.error is not None:
                raise answer.error
            if answer.complete:
                return
            answer.news.clear()
            try:
                async with asyncio.timeout(idle_s):
                    await answer.news.wait()
            except TimeoutError:
                self.abort()
                raise late("The tool's answer stopped arriving.") from None


def _length(answer: _Answer) -> int:
    for name, value in answer.headers:
        if name == "content-length":
            return int(value) if value.isascii() and value.isdigit() else 1
    return 0
