"""HTTP as uvicorn speaks it, behind a strict reader, with deadlines, limits and gentle ends."""

from __future__ import annotations

import asyncio
import http
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.model import Deny
from gateway.surfaces.framing import METHODS, Fault, Framing
from gateway.surfaces.problems import problem

log = structlog.get_logger("holdfast")
# From here on only every power of two.
_LOGGED = 16
# Seconds in which what was still on its way is thrown away, so that the answer is not lost with it.
LINGER_S = 2.0
# Connections beyond the limit, on which only health and the admin side are answered.
RESERVE = 32
_RESERVED = ("/healthz", "/readyz", "/metrics", "/admin/")
_REASONS = {413: "too_large", 408: "deadline", 503: "overloaded"}


class Refused:
    """How many requests the strict reader refused, by status; each of the first few is logged,
    later ones ever more seldom, so that nobody floods the log. ``meter`` is told each reason."""

    def __init__(self, meter: Callable[[str], None] | None = None) -> None:
        self.counts: Counter[int] = Counter()
        self._meter = meter

    def note(self, status: int, why: str, *, within: bool = False) -> None:
        """``within``: in a body that an endpoint reads, which answers and counts it itself."""
        self.counts[status] += 1
        if self._meter is not None and not within:
            self._meter(_REASONS.get(status, "malformed"))
        number = self.counts.total()
        if number <= _LOGGED or number & (number - 1) == 0:
            log.warning("http.refused", status=status, why=why, refused=number)

    def tell(self) -> None:
        """Once, at the end."""
        counted = {str(status): count for status, count in sorted(self.counts.items())}
        log.info("http.refused_in_all", refused=self.counts.total(), by_status=counted)


class StrictProtocol(HttpToolsProtocol):
    """Every refusal of its own is a problem document and ends the connection; in the right order,
    where earlier requests are still being answered."""

    head_s = 10.0
    refused = Refused()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._framing = Framing()
        self._waiting: asyncio.TimerHandle | None = None
        self._refusal: bytes | None = None
        self._over = False
        self._keep = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Gentle(transport, self))  # type: ignore[arg-type]
        limit = self.limit_concurrency
        if limit is not None and len(self.connections) > limit + RESERVE:
            self.refused.note(503, "too many connections")
            self._refuse(_answer(_too_many()))
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return  # what comes now is thrown away
        heads = self._framing.heads
        plain, fault = self._framing.feed(data)
        if self._framing.heads > heads:
            self._stop_waiting()
        if plain:
            super().data_received(plain)
        if fault is not None:
            self.refused.note(fault.status, fault.why, within=self._within())
            self._refuse(_answer_to(fault))
        elif self._framing.within_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        limit, app = self.limit_concurrency, self.app
        busy = limit is not None and max(len(self.connections), len(self.tasks)) > limit
        if busy and not self.url.decode("ascii").startswith(_RESERVED):
            self.refused.note(503, "too many requests at once")
            self.app = _overloaded
        self.limit_concurrency = None  # uvicorn's own answer is no problem document
        try:
            super().on_headers_complete()
        finally:
            self.limit_concurrency, self.app = limit, app
        # An answer that does not wait for the body ends the connection: what is left of the body
        # must not be taken for the next request.
        self._keep, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and self.cycle.response_complete:
            self._end(self._refusal)

    def send_400_response(self, msg: str) -> None:
        self.refused.note(400, msg, within=self._within())
        self._refuse(_answer(Deny(reason="malformed", detail=msg)))

    # --- deadlines ------------------------------------------------------------------------

    def _await_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.head_s, self._late)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _late(self) -> None:
        self._waiting = None
        self.refused.note(408, "it did not arrive in time")
        self._refuse(_answer(Deny(reason="deadline", detail="The request did not arrive in time.")))

    # --- ends -----------------------------------------------------------------------------

    def _within(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and cycle.more_body

    def _refuse(self, answer: bytes) -> None:
        """Now, or after the answers that earlier requests still wait for."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._end(answer)
        elif not cycle.more_body:
            self._refusal = answer
            self.flow.pause_reading()
        else:
            # Its body is broken: whoever reads it learns that there will be no more.
            cycle.disconnected = True
            cycle.message_event.set()
            self._end(b"" if cycle.response_started else answer)

    def _end(self, last: bytes) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            if last:
                self.transport.write(last)
            self.transport.close()

    def let_go(self, transport: asyncio.Transport) -> None:
        """Closes ``transport``, after what is still arriving was thrown away for a moment: a close
        with unread bytes would take the answer along."""
        whole = not self._framing.within_body and not self._framing.broken
        self._over = True
        if whole or transport.is_closing() or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        transport.resume_reading()
        self.loop.call_later(LINGER_S, transport.close)


class _Gentle:
    """A transport whose ``close`` lets the protocol choose how."""

    def __init__(self, transport: asyncio.Transport, protocol: StrictProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._protocol.let_go(self._transport)


def _answer_to(fault: Fault) -> bytes:
    reason = _REASONS.get(fault.status, "malformed")
    headers = {"Allow": ", ".join(METHODS)} if fault.status == 405 else {}
    refusal = Deny(reason=reason, detail=f"The request is not accepted: {fault.why}.")
    return _answer(refusal, fault.status, headers)


def _answer(
    refusal: Deny, status: int | None = None, headers: dict[str, str] | None = None
) -> bytes:
    answer = problem(refusal, status=status, headers={**(headers or {}), "Connection": "close"})
    known = http.HTTPStatus(answer.status_code)
    head = [f"HTTP/1.1 {known.value} {known.phrase}".encode("ascii")]
    head += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join([*head, b"", bytes(answer.body)])


def _too_many() -> Deny:
    return Deny(reason="overloaded", detail="Too many connections are open. Try again.")


async def _overloaded(scope: Any, receive: Any, send: Any) -> None:
    await problem(_too_many(), headers={"Connection": "close"})(scope, receive, send)


def protocol(head_s: float, refused: Refused) -> type[StrictProtocol]:
    """With its own deadline for the head of a request, in seconds, and its own count."""
    return type("Protocol", (StrictProtocol,), {"head_s": head_s, "refused": refused})
