"""``POST /sql/{source}``."""

from __future__ import annotations

from starlette.responses import Response

from gateway.audit import digest_of
from gateway.errors import Malformed, NotFound
from gateway.model import Call, Json, Surface
from gateway.surfaces import headers
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.early import respond_async
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.replies import render
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


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
            return await respond_async(gateway, call, gateway.pipeline.handle(call), render)
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
    stdin = _stdin(fields.take("stdin"))
    return {"sql": sql, "params": params, **({"stdin": stdin} if stdin else {})}


def _stdin(given: Json) -> list[str]:
    """What each COPY FROM STDIN reads; one may be given as a text."""
    parts = [] if given is None else given if isinstance(given, list) else [given]
    if not all(isinstance(part, str) for part in parts):
        raise Malformed("'stdin' must be a text, or a list of texts.")
    return parts


def sql_digest(source: str, request: dict[str, Json], dry_run: bool) -> str:
    """A rehearsal is another action than the real one: neither replays or approves the other."""
    named = {**request, "dry_run": True} if dry_run else request
    return digest_of(Surface.SQL, source, named)


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
