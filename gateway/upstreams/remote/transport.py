"""The seam to a remote tool: one request out, one answer back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the tool said.

    ``view``: what templates see as ``before`` or ``response`` (HTTP: ``{"status", "headers",
    "body"}``; MCP: the structured content, or ``{"text"}``). ``result``: what is recorded on the
    call's row. ``failed``: the tool itself reports failure; ``proves_no_effect``: and its
    declaration says that then nothing happened. ``absent``: a read found nothing there (HTTP: 404
    or 410). ``away``: the answer says that the tool is not there (HTTP: 502, 503, 504). ``live``:
    the surface's own (a stream that is still open); never recorded.
    """

    view: Mapping[str, Json]
    result: Mapping[str, Json]
    failed: bool = False
    proves_no_effect: bool = False
    absent: bool = False
    away: bool = False
    live: Any = None


class Transport(Protocol):
    async def send(
        self,
        request: Mapping[str, Json],
        *,
        key: str | None = None,
        body: Any = None,
        live: bool = False,
    ) -> Answer:
        """Sends once, never again by itself.

        ``key`` is the idempotency key, put where the plan's route says. ``body``: a payload that
        is not in ``request`` because JSON cannot hold it. ``live``: the answer may be left open in
        ``Answer.live``. Raises ``UpstreamError``, with ``proves_no_effect`` only where the request
        cannot have reached the tool (refused connection, failed look-up, nothing written).
        """
        ...
