"""``Prefer: respond-async``: an answer as soon as the call is on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.responses import Response

from gateway.errors import StoreUnavailable
from gateway.lifecycle import State
from gateway.model import Call, CallRecord, Reply
from gateway.surfaces.answers import answer
from gateway.surfaces.wiring import Gateway

_log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.01

Render = Callable[[Reply], Response]


async def respond_async(
    gateway: Gateway, call: Call, handling: Coroutine[Any, Any, Reply], render: Render
) -> Response:
    """``handling`` carries ``call`` out: 202 once it is on record, so that it can be polled; its
    reply if that comes first."""
    task = asyncio.create_task(handling, name=f"answered early: {call.id}")
    gateway.tasks.add(task)
    task.add_done_callback(gateway.tasks.discard)
    try:
        while not task.done():
            record = await gateway.store.call(call.id)
            if record is not None and record.state in (State.INTENT, State.EXECUTING):
                task.add_done_callback(_note_failure)
                return accepted(record)
            await asyncio.wait([task], timeout=LOOK_AGAIN_S)
    except StoreUnavailable:
        # Only the looking failed. What became of the call, its own reply says.
        return render(await asyncio.shield(task))
    return render(task.result())


def accepted(record: CallRecord) -> Response:
    """The call runs; ``Location`` is where to ask for its outcome."""
    call = record.call.id
    where = f"/calls/{call}"
    return answer(
        {"call": call, "state": str(record.state), "effect": "unknown", "location": where},
        status=202,
        headers={"Location": where, "Holdfast-Call": call, "Preference-Applied": "respond-async"},
    )


def _note_failure(task: asyncio.Task[Reply]) -> None:
    # Nobody waits for it any more; the call's row tells the agent, recovery settles it.
    if not task.cancelled() and task.exception() is not None:
        _log.error("a call answered early failed: %s", type(task.exception()).__name__)
