"""``/admin/approvals``: what waits for a person."""

from __future__ import annotations

from enum import StrEnum

from starlette.responses import Response

from gateway.errors import NotFound, PreconditionFailed
from gateway.lifecycle import State
from gateway.model import Approval, CallRecord
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.calls import shown
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.views import approval_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


class Ruling(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


async def listed(gateway: Gateway, visit: Visit) -> Act:
    everything = visit.query.flag("all")

    async def run() -> Response:
        approvals = [
            approval_json(approval, await gateway.store.call(approval.call))
            for approval in await gateway.store.approvals(waiting=not everything)
        ]
        return answer({"approvals": approvals})

    return Act(what="approvals.list", run=run)


async def rule(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()
    fields = Fields(await read_json(visit.request, gateway.bounds))
    ruling = fields.choice("decision", Ruling)
    note = fields.optional_text("note")
    fields.end()

    async def run() -> Response:
        approval = await _ruled(gateway, id, ruling, note, visit.subject.id)
        visit.call, visit.began = approval.call, ruling is Ruling.APPROVE
        if ruling is Ruling.APPROVE:
            await gateway.pipeline.resume(approval)
        record = await gateway.store.call(approval.call)
        current = await gateway.store.approval(id) or approval
        document = approval_json(current, record)
        document["outcome"] = None if record is None else await shown(gateway, record, full=True)
        return answer(document)

    about = {"approval": id, "decision": str(ruling), "note": note}
    return Act(what="approvals.decide", about=about, run=run)


async def _ruled(gateway: Gateway, id: str, ruling: Ruling, note: str | None, by: str) -> Approval:
    approve = ruling is Ruling.APPROVE
    decided = await gateway.store.decide_approval(id, approve=approve, by=by, note=note)
    if decided is not None and decided.state == ("approved" if approve else "rejected"):
        return decided
    approval = decided or await gateway.store.approval(id)
    if approval is None:
        raise NotFound("There is no such approval.")
    if approve and approval.state == "approved" and await _held(gateway, approval) is not None:
        # Approved before, but the gateway stopped before the call was carried out.
        return approval
    raise PreconditionFailed(f"The approval is {approval.state}; nothing was decided.")


async def _held(gateway: Gateway, approval: Approval) -> CallRecord | None:
    record = await gateway.store.call(approval.call)
    return record if record is not None and record.state is State.HELD else None


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/approvals",
        access=Access.ADMIN,
        read=listed,
        summary="Calls that wait for a person, with the exact action and its measured extent.",
        query={"all": {"type": "boolean", "default": False}},
        answers={200: "Approvals"},
    ),
    Endpoint(
        method="POST",
        path="/admin/approvals/{id}",
        access=Access.ADMIN,
        read=rule,
        summary="Approves (and carries out) or rejects a held call.",
        body="Ruling",
        answers={200: "Approval"},
    ),
)
