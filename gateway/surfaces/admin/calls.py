"""``/admin/calls``."""

from __future__ import annotations

from enum import StrEnum

from starlette.responses import Response

from gateway.errors import NotFound, PreconditionFailed
from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Outcome
from gateway.surfaces.admin import paging
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.calls import shown
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.hiding import hiding, taken_back
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
        hidden = await hiding(gateway, taken_back(records), own=False)
        calls = [record_json(record, full=True, hiding=hidden) for record in records]
        return answer({"calls": calls, "cursor": cursor})

    about = {"session": session, "agent": agent, "tool": tool}
    return Act(what="calls.list", about=about, run=run)


async def show(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        record = await gateway.store.call(id)
        if record is None:
            raise NotFound("There is no such call.")
        return answer(await shown(gateway, record, full=True))

    return Act(what="calls.show", about={"call": id}, run=run)


class Found(StrEnum):
    """What somebody found out about a call whose outcome was unknown."""

    APPLIED = "applied"
    NONE = "none"


async def resolve(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()
    fields = Fields(await read_json(visit.request, gateway.bounds))
    found = fields.choice("effect", Found)
    note = fields.optional_text("note")
    fields.end()

    async def run() -> Response:
        visit.call = id
        by = visit.subject.id
        record = await gateway.store.resolve(id, _outcome(found, by, note), by=by, note=note)
        if record is not None:
            return answer(await shown(gateway, record, full=True))
        record = await gateway.store.call(id)
        if record is None:
            raise NotFound("There is no such call.")
        raise PreconditionFailed(f"The call is {record.state}, not unknown; nothing was changed.")

    about = {"call": id, "effect": str(found), "note": note}
    return Act(what="calls.resolve", about=about, run=run)


def _outcome(found: Found, by: str, note: str | None) -> Outcome:
    resolved = {"resolved": {"by": by, "note": note}}
    if found is Found.APPLIED:
        return Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=resolved)
    refusal = Deny(
        reason="interrupted",
        detail="A person found that this call had no effect. It may be sent again.",
        extra=resolved,
    )
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)


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
    Endpoint(
        method="POST",
        path="/admin/calls/{id}/resolve",
        access=Access.ADMIN,
        read=resolve,
        summary="Settles a call of unknown outcome by what a person found out.",
        body="Resolving",
        answers={200: "Call"},
    ),
)
