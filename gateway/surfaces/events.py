"""Server-sent events: a call at each of its changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from gateway.errors import HoldfastError, Overloaded
from gateway.lifecycle import SETTLED
from gateway.model import CallRecord
from gateway.surfaces.answers import SAFE, encoded
from gateway.surfaces.hiding import hiding, taken_back
from gateway.surfaces.views import record_json
from gateway.surfaces.wiring import Gateway

_log = logging.getLogger(__name__)


def stream(gateway: Gateway, id: str, subject: str, *, own: bool) -> Response:
    """Ends when the call is settled, or after ``Bounds.watch_total_s``. Raises ``Overloaded``
    when the subject watches too many already."""
    if gateway.watching.get(subject, 0) >= gateway.bounds.watchers:
        raise Overloaded("Too many event streams are open. Close one or poll the call.")
    return StreamingResponse(
        _counted(gateway, id, subject, own), media_type="text/event-stream", headers=SAFE
    )


async def _counted(gateway: Gateway, id: str, subject: str, own: bool) -> AsyncIterator[bytes]:
    gateway.watching[subject] = gateway.watching.get(subject, 0) + 1
    try:
        async for piece in _changes(gateway, id, own):
            yield piece
    finally:
        gateway.watching[subject] -= 1
        if not gateway.watching[subject]:
            del gateway.watching[subject]


async def _changes(gateway: Gateway, id: str, own: bool) -> AsyncIterator[bytes]:
    bounds = gateway.bounds
    seen: tuple[str, str] | None = None
    waited = quiet = 0.0
    while waited <= bounds.watch_total_s:
        try:
            record = await gateway.store.call(id)
        except HoldfastError as error:
            yield event("error", {"reason": error.reason})
            return
        if record is None:
            return
        state = (str(record.state), record.updated_at.isoformat())
        if state != seen:
            seen, quiet = state, 0.0
            yield await _shown(gateway, record, own)
            if record.state in SETTLED:
                return
        elif quiet >= bounds.watch_beat_s:
            quiet = 0.0
            yield b": still waiting\n\n"
        await asyncio.sleep(bounds.watch_poll_s)
        waited += bounds.watch_poll_s
        quiet += bounds.watch_poll_s
    yield event("timeout", {"call": id})


async def _shown(gateway: Gateway, record: CallRecord, own: bool) -> bytes:
    hidden = await hiding(gateway, taken_back([record]), own=own)
    return event("state", record_json(record, full=False, hiding=hidden))


def event(name: str, document: dict[str, object]) -> bytes:
    """One event. JSON has no raw line break, so data cannot start another one."""
    return b"event: " + name.encode("ascii") + b"\ndata: " + encoded(document) + b"\n\n"
