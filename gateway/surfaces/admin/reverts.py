"""``/admin/reverts``."""

from __future__ import annotations

from starlette.responses import Response

from gateway.errors import Malformed, NotFound
from gateway.model import Json, OnConflict, RevertJob
from gateway.progress import Progress
from gateway.revert import RevertRequest
from gateway.surfaces import headers
from gateway.surfaces.admin import paging
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.hiding import Hiding, hiding
from gateway.surfaces.views import job_json, time_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


async def create(gateway: Gateway, visit: Visit) -> Act:
    fields = Fields(await read_json(visit.request, gateway.bounds))
    target = target_of(fields)
    request = RevertRequest(
        target=target,
        plan=fields.flag("plan"),
        on_conflict=fields.choice("on_conflict", OnConflict, OnConflict.ABORT),
        reason=fields.optional_text("reason"),
        by=visit.subject.id,
        wait=not headers.wants_async(visit.request),
    )
    fields.end()

    async def run() -> Response:
        await _check_known(gateway, target)
        visit.began = visit.doubt = not request.plan
        job = await gateway.reverter.revert(request)
        where = {} if request.plan else {"Location": f"/admin/reverts/{job.id}"}
        status = 202 if job.state == "running" else 200
        hidden = await _hiding(gateway, job)
        return answer(job_json(job, hidden), status=status, headers=where)

    about = {
        "target": _shown(target),
        "plan": request.plan,
        "on_conflict": str(request.on_conflict),
        "reason": request.reason,
    }
    return Act(what="reverts.create", about=about, run=run)


async def _check_known(gateway: Gateway, target: dict[str, Json]) -> None:
    """A name written wrong must not be answered `reverted`. Raises ``NotFound``."""
    session, agent = target.get("session"), target.get("agent")
    if session is None and agent is None:
        return
    calls, _ = await gateway.store.calls(session=session, agent=agent, limit=1)
    if not calls and agent not in gateway.configured_agents:
        what = "session" if agent is None else "agent"
        raise NotFound(f"There are no calls of this {what}.")


def target_of(fields: Fields) -> dict[str, Json]:
    """``call``, or ``session``, or ``agent`` with ``since``; times as datetimes."""
    named = [name for name in ("call", "session", "agent") if name in fields]
    if len(named) != 1:
        raise Malformed("Name exactly one of 'call', 'session' and 'agent'.")
    name = named[0]
    target: dict[str, Json] = {name: fields.text(name, most=128)}
    since, until = fields.time("since"), fields.time("until")
    if name == "agent" and since is None:
        raise Malformed("'agent' needs 'since'.")
    if name == "call" and (since or until):
        raise Malformed("'since' and 'until' go with 'session' or 'agent'.")
    if since is not None and until is not None and until <= since:
        raise Malformed("'until' must be after 'since'.")
    if since is not None:
        target["since"] = since
    if until is not None:
        target["until"] = until
    return target


def _shown(target: dict[str, Json]) -> dict[str, Json]:
    return {k: time_json(v) if k in ("since", "until") else v for k, v in target.items()}


async def show(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()
    page = paging.page_of(visit.query)

    async def run() -> Response:
        job = await gateway.store.revert(id)
        if job is None:
            raise NotFound("There is no such revert. Plans are not kept.")
        found, cursor = await gateway.store.conflicts(id, limit=page.limit, cursor=page.cursor)
        hidden = await _hiding(gateway, job, *(call for call, _ in found))
        progress = gateway.reverter.progress(id)
        shown = {
            **job_json(job, hidden),
            "progress": _progress(job, progress),
            "conflicts": [{"call": call, **hidden.conflict(call, c)} for call, c in found],
            "cursor": cursor,
        }
        return answer(shown)

    return Act(what="reverts.show", about={"revert": id}, run=run)


async def _hiding(gateway: Gateway, job: RevertJob, *more: str) -> Hiding:
    return await hiding(gateway, [*(s.call for s in job.steps if s.conflicts), *more], own=False)


def _progress(job: RevertJob, running: Progress | None) -> dict[str, Json]:
    if running is not None:
        return {"restored": running.done, "total": running.total}
    restored = sum(step.restored for step in job.steps)
    return {
        "restored": restored,
        "total": restored + sum(len(s.conflicts) + s.more for s in job.steps),
    }


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/admin/reverts",
        access=Access.ADMIN,
        read=create,
        summary="Takes back a call, a session, or an agent's calls since a time; or plans it.",
        headers=("Prefer",),
        body="RevertOrder",
        answers={200: "Revert", 202: "Revert"},
    ),
    Endpoint(
        method="GET",
        path="/admin/reverts/{id}",
        access=Access.ADMIN,
        read=show,
        summary="One revert with its steps, its progress, and a page of all its conflicts.",
        query=paging.SCHEMA,
        answers={200: "RevertShown"},
    ),
)
