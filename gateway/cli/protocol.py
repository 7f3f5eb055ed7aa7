"""HTTP as uvicorn speaks it, where its own answers would be plain text or never come."""

from __future__ import annotations

import asyncio
import http
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.model import Deny
from gateway.surfaces.problems import problem


class StrictProtocol(HttpToolsProtocol):
    """What is no HTTP, a head that does not arrive within ``head_s`` seconds, and one connection
    too many are answered with problem documents too."""

    head_s = 10.0
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        limit, app = self.limit_concurrency, self.app
        if limit is not None and max(len(self.connections), len(self.tasks)) >= limit:
            self.limit_concurrency, self.app = None, _overloaded
        try:
            super().on_headers_complete()
        finally:
            self.limit_concurrency, self.app = limit, app

    def send_400_response(self, msg: str) -> None:
        self._refuse(Deny(reason="malformed", detail=msg))

    def _await_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.head_s, self._late)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _late(self) -> None:
        self._waiting = None
        self._refuse(Deny(reason="deadline", detail="The request did not arrive in time."))

    def _refuse(self, refusal: Deny) -> None:
        answer = problem(refusal, headers={"Connection": "close"})
        status = http.HTTPStatus(answer.status_code)
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode("ascii")]
        head += [name + b": " + value for name, value in answer.raw_headers]
        if not self.transport.is_closing():
            self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
            self.transport.close()


async def _overloaded(scope: Any, receive: Any, send: Any) -> None:
    refusal = Deny(reason="overloaded", detail="Too many connections are open. Try again.")
    await problem(refusal, headers={"Connection": "close"})(scope, receive, send)


def protocol(head_s: float) -> type[StrictProtocol]:
    """With its own deadline for the head of a request, in seconds."""
    return type("Protocol", (StrictProtocol,), {"head_s": head_s})
