"""``POST /decide``: what would be decided now. Runs and records nothing."""

from __future__ import annotations

from enum import StrEnum

from starlette.responses import Response

from gateway.audit import digest_of
from gateway.errors import NotFound
from gateway.model import Allow, Call, Decision, Deny, Json, Surface
from gateway.surfaces import headers
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.http import described, http_digest
from gateway.surfaces.mcp.actions import request_of
from gateway.surfaces.mcp.names import server_of
from gateway.surfaces.sql import sql_digest, sql_request
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


class Decidable(StrEnum):
    """The surfaces that agents' calls come by."""

    SQL = "sql"
    HTTP = "http"
    MCP = "mcp"


async def decide(gateway: Gateway, visit: Visit) -> Act:
    reason = headers.reason(visit.request)
    fields = Fields(await read_json(visit.request, gateway.bounds))
    surface = fields.choice("surface", Decidable)
    tool = fields.text("tool", most=128)
    if surface is Decidable.SQL:
        request = sql_request(fields)
        dry_run = fields.flag("dry_run")
        digest = sql_digest(tool, request, dry_run)
    elif surface is Decidable.HTTP:
        request, dry_run = described(fields), False
        digest = http_digest(tool, request)
    else:
        name, arguments, dry_run = tool, fields.take("arguments"), False
        tool = server_of(gateway.mcp.servers, name)
        named = {"name": name.removeprefix(f"{tool}."), "arguments": arguments}
        request = request_of("tools/call", named)
        digest = digest_of(Surface.MCP, tool, request)
    fields.end()
    call = Call(
        id=gateway.new_id("call"),
        subject=visit.subject,
        surface=Surface(surface),
        tool=tool,
        request=request,
        digest=digest,
        received_at=gateway.clock.now(),
        reason=reason,
        dry_run=dry_run,
    )

    async def run() -> Response:
        return answer(await _judged(gateway, call))

    return Act(what="decide", about={"tool": tool, "digest": digest}, run=run)


async def _judged(gateway: Gateway, call: Call) -> dict[str, Json]:
    if gateway.upstreams.get(call.tool) != str(call.surface):
        return _shown(_unknown(call), None)
    try:
        judgement = await gateway.pipeline.decide(call)
    except NotFound:
        return _shown(_unknown(call), None)
    return _shown(judgement.decision, judgement.document)


def _unknown(call: Call) -> Deny:
    return Deny(
        reason="unknown_tool", detail=f"There is no {call.surface} tool called {call.tool!r} here."
    )


def _shown(decision: Decision, document: Json) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "reason": None,
        "reasons": list(decision.reasons),
        "obligations": {},
        "revision": decision.revision or None,
        "input": document,
    }
    if isinstance(decision, Deny):
        return {**shown, "decision": "deny", "reason": decision.reason, "detail": decision.detail}
    shown["obligations"] = decision.obligations.as_json()
    if isinstance(decision, Allow):
        return {**shown, "decision": "allow"}
    return {**shown, "decision": "hold", "reason": "approval.required"}


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/decide",
        access=Access.EITHER,
        read=decide,
        summary="Decides a call without running or recording it.",
        headers=("Holdfast-Session", "Holdfast-Reason"),
        body="DecideCall",
        answers={200: "Decided"},
    ),
)
