"""``POST /sql/{source}``."""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import Response

from gateway.audit import digest_of
from gateway.errors import Malformed, NotFound, StoreUnavailable
from gateway.lifecycle import State
from gateway.model import Call, CallRecord, Json, Reply, Surface
from gateway.surfaces import headers
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.replies import render
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

_log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.01


async def run_sql(gateway: Gateway, visit: Visit) -> Act:
    source = str(visit.request.path_params["source"])
    if gateway.upstreams.get(source) != "sql":
        raise NotFound(f"There is no SQL source called {source[:64]!r} here.")
    key = headers.idempotency_key(visit.request)
    reason = headers.reason(visit.request)
    later = headers.wants_async(visit.request)
    fields = Fields(await read_json(visit.request, gateway.bounds))
    request = sql_request(fields)
    dry_run = fields.flag("dry_run")
    fields.end()
    call = Call(
        id=gateway.new_id("call"),
        subject=visit.subject,
        surface=Surface.SQL,
        tool=source,
        request=request,
        digest=sql_digest(source, request, dry_run),
        received_at=gateway.clock.now(),
        idempotency_key=key,
        reason=reason,
        dry_run=dry_run,
    )

    async def run() -> Response:
        visit.call, visit.began = call.id, True
        if later:
            return await _respond_async(gateway, call)
        return render(await gateway.pipeline.handle(call))

    return Act(what="sql.run", about={"call": call.id}, run=run)


def sql_request(fields: Fields) -> dict[str, Json]:
    """The part of the body that is the call itself."""
    sql = fields.take("sql")
    if not isinstance(sql, str):
        raise Malformed("'sql' must be a text.")
    params = fields.take("params")
    if params is None:
        params = []
    if not isinstance(params, list | dict):
        raise Malformed("'params' must be a list or an object.")
    return {"sql": sql, "params": params}


def sql_digest(source: str, request: dict[str, Json], dry_run: bool) -> str:
    """A rehearsal is another action than the real one: neither replays or approves the other."""
    named = {**request, "dry_run": True} if dry_run else request
    return digest_of(Surface.SQL, source, named)


async def _respond_async(gateway: Gateway, call: Call) -> Response:
    """202 once the call is on record, so that it can be polled; its reply if that comes first."""
    task = asyncio.create_task(gateway.pipeline.handle(call), name=f"answered early: {call.id}")
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


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/sql/{source}",
        access=Access.AGENT,
        read=run_sql,
        summary="Runs SQL: decided, measured, snapshotted and undoable.",
        headers=("Idempotency-Key", "Holdfast-Session", "Holdfast-Reason", "Prefer"),
        body="SqlCall",
        answers={200: "SqlResult", 202: "Accepted"},
    ),
)
