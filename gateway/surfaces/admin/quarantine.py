"""``/admin/quarantine``: what was put away instead of being dropped, and purging it."""

from __future__ import annotations

from starlette.responses import Response

from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.replies import render
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


async def listed(gateway: Gateway, visit: Visit) -> Act:  # noqa: ARG001 - every reader has it
    async def run() -> Response:
        now = gateway.clock.now()
        items = [
            {
                **kept.as_json(),
                "age_s": max(0, int((now - kept.at).total_seconds())),
                "agent": record.call.subject.id if record else None,
                "expires_at": record.undo.expires_at.isoformat()
                if record and record.undo.expires_at
                else None,
            }
            for kept, record in await gateway.purger.listed()
        ]
        return answer({"quarantine": items, "bytes": sum(int(i["bytes"]) for i in items)})

    return Act(what="quarantine.list", about={}, run=run)


async def purge(gateway: Gateway, visit: Visit) -> Act:
    fields = Fields(await read_json(visit.request, gateway.bounds))
    source, call = fields.text("source"), fields.text("call")
    fields.end()

    async def run() -> Response:
        reply = await gateway.purger.propose(source, [call], by=visit.subject.id)
        return render(reply)

    return Act(what="quarantine.purge", about={"source": source, "call": call}, run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/quarantine",
        access=Access.ADMIN,
        read=listed,
        summary="What was put away instead of being dropped: its size, age and call.",
        answers={200: "Quarantine"},
    ),
    Endpoint(
        method="POST",
        path="/admin/quarantine/purges",
        access=Access.ADMIN,
        read=purge,
        summary="Asks to throw away for good what is kept for a call; a person has to approve it.",
        body="Purge",
        answers={202: "Problem"},
    ),
)
