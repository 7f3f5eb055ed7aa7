"""``/calls/{id}``: what became of a call, its cancelling and its undoing."""

from __future__ import annotations

from starlette.responses import Response

from gateway.errors import REASONS, NotFound
from gateway.lifecycle import State
from gateway.model import CallRecord, Deny, EffectState, Json, RevertJob
from gateway.revert import RevertRequest
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_optional_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.events import stream
from gateway.surfaces.hiding import Hiding, hiding, taken_back
from gateway.surfaces.problems import problem
from gateway.surfaces.views import job_json, record_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


async def visible(gateway: Gateway, visit: Visit, id: str) -> CallRecord:
    """The call, if the visitor may see it. Raises ``NotFound``: that another agent's call exists
    is nobody else's business."""
    record = await gateway.store.call(id)
    if record is None or not visit.sees(record.call.subject.id):
        raise NotFound("There is no such call.")
    return record


async def shown(gateway: Gateway, record: CallRecord, *, full: bool) -> dict[str, Json]:
    """With the id of the approval that a held call waits for."""
    hidden = await hiding(gateway, taken_back([record]), own=not full)
    document = record_json(record, full=full, hiding=hidden)
    if record.state is State.HELD and record.approval is None:
        waiting = await gateway.store.approvals()
        document["approval"] = next((a.id for a in waiting if a.call == record.call.id), None)
    return document


async def show(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        record = await visible(gateway, visit, id)
        return answer(await shown(gateway, record, full=visit.admin))

    return Act(what="calls.show", about={"call": id}, run=run)


async def watch(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        await visible(gateway, visit, id)
        return stream(gateway, id, visit.subject.id, own=not visit.admin)

    return Act(what="calls.watch", about={"call": id}, run=run)


async def cancel(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        await visible(gateway, visit, id)
        visit.call = id
        record = await gateway.pipeline.cancel(id)
        if record is None:
            raise NotFound("There is no such call.")
        return answer(await shown(gateway, record, full=visit.admin))

    return Act(what="calls.cancel", about={"call": id}, run=run)


async def undo(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()
    fields = Fields(await read_optional_json(visit.request, gateway.bounds))
    plan = fields.flag("plan")
    reason = fields.optional_text("reason")
    fields.end()

    async def run() -> Response:
        record = await visible(gateway, visit, id)
        refusal = await gateway.may_undo(visit.subject, record)
        if refusal is not None:
            return problem(refusal, call=id)
        visit.call, visit.began, visit.doubt = id, not plan, not plan
        request = RevertRequest(target={"call": id}, plan=plan, reason=reason, by=visit.subject.id)
        job = await gateway.reverter.revert(request)
        return undone(job, await hiding(gateway, [id], own=not visit.admin))

    return Act(what="calls.undo", about={"call": id}, run=run)


def undone(job: RevertJob, hidden: Hiding) -> Response:
    """The job; as a refusal when nothing could be taken back."""
    if job.state not in ("conflict", "failed"):
        return answer(job_json(job, hidden))
    step = job.steps[0] if job.steps else None
    fallback = "revert.conflict" if job.state == "conflict" else "revert.not_revertible"
    named = step.reason if step is not None and step.reason in REASONS else None
    unknown = named == "outcome.unknown"
    refusal = Deny(
        reason=named or fallback,
        detail=(step.detail if step is not None else None) or "The call was not taken back.",
        extra=job_json(job, hidden),
        effect=EffectState.UNKNOWN if unknown else EffectState.NONE,
    )
    return problem(refusal, call=step.call if step is not None else None)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/calls/{id}",
        access=Access.EITHER,
        read=show,
        summary="One call: state, decision, outcome, result and undo. Agents see their own.",
        answers={200: "Call"},
    ),
    Endpoint(
        method="GET",
        path="/calls/{id}/events",
        access=Access.EITHER,
        read=watch,
        summary="Server-sent events: the call at each change until it is settled.",
        answers={200: None},
    ),
    Endpoint(
        method="DELETE",
        path="/calls/{id}",
        access=Access.EITHER,
        read=cancel,
        summary="Cancels a call that cannot have landed yet; says what was already done.",
        answers={200: "Call"},
    ),
    Endpoint(
        method="POST",
        path="/calls/{id}/undo",
        access=Access.AGENT,
        read=undo,
        summary="Takes back a call of the agent's own, where policy lets agents do that.",
        body="UndoCall",
        optional_body=True,
        answers={200: "Revert"},
    ),
)
