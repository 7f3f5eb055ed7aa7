"""``/admin/calls``."""

from __future__ import annotations

from starlette.responses import Response

from gateway.errors import NotFound
from gateway.lifecycle import State
from gateway.surfaces.admin import paging
from gateway.surfaces.answers import answer
from gateway.surfaces.calls import shown
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.views import record_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


async def listed(gateway: Gateway, visit: Visit) -> Act:
    query = visit.query
    page = paging.page_of(query)
    since, until = query.time("since"), query.time("until")
    states = query.choices("state", State)
    session, agent, tool = query.text("session"), query.text("agent"), query.text("tool")

    async def run() -> Response:
        records, cursor = await gateway.store.calls(
            session=session,
            agent=agent,
            since=since,
            until=until,
            states=states,
            tool=tool,
            limit=page.limit,
            cursor=page.cursor,
        )
        calls = [record_json(record, full=True) for record in records]
        return answer({"calls": calls, "cursor": cursor})

    about = {"session": session, "agent": agent, "tool": tool}
    return Act(what="calls.list", about=about, run=run)


async def show(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        record = await gateway.store.call(id)
        if record is None:
            raise NotFound("There is no such call.")
        return answer(await shown(gateway.store, record, full=True))

    return Act(what="calls.show", about={"call": id}, run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/calls",
        access=Access.ADMIN,
        read=listed,
        summary="Calls, newest first.",
        query={
            "session": {"type": "string"},
            "agent": {"type": "string"},
            "tool": {"type": "string"},
            "since": {"type": "string", "format": "date-time"},
            "until": {"type": "string", "format": "date-time"},
            "state": {"type": "string", "description": "states, separated by commas"},
            **paging.SCHEMA,
        },
        answers={200: "Calls"},
    ),
    Endpoint(
        method="GET",
        path="/admin/calls/{id}",
        access=Access.ADMIN,
        read=show,
        summary="One call with everything that is on record.",
        answers={200: "Call"},
    ),
)
