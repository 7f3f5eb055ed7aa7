"""Requests that are actions: each becomes a call, and its reply an answer of the protocol."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.audit import digest_of
from gateway.errors import HoldfastError, UpstreamError
from gateway.interfaces.mcp import INVALID_PARAMS, REFUSED, McpFault
from gateway.lifecycle import State
from gateway.model import Call, Deny, EffectState, Json, Reply, Reversibility, Surface
from gateway.outcomes import reply_from
from gateway.surfaces.mcp.exchange import Exchange, is_page
from gateway.surfaces.problems import problem_document, reason_of
from gateway.surfaces.views import time_json
from gateway.surfaces.visit import Visit
from gateway.surfaces.wiring import Gateway

ACTIONS = ("tools/call", "resources/read", "prompts/get", "completion/complete")
CALL_META = "holdfast/call"
KEY_META = "holdfast/idempotency-key"
# What the parameters of an action consist of; the rest is not sent on.
_PARTS = {
    "tools/call": ("name", "arguments"),
    "resources/read": ("uri",),
    "prompts/get": ("name", "arguments"),
    "completion/complete": ("ref", "argument", "context"),
}


def request_of(method: str, params: Mapping[str, Json]) -> dict[str, Json]:
    """What is judged, recorded and sent."""
    parts = {part: params[part] for part in _PARTS[method] if params.get(part) is not None}
    if method == "tools/call":
        parts.setdefault("arguments", {})
    return {"method": method, **parts}


def call_of(
    gateway: Gateway,
    visit: Visit,
    server: str,
    request: Mapping[str, Json],
    *,
    key: str | None,
    reason: str | None,
    exchange: Exchange | None = None,
) -> Call:
    return Call(
        id=gateway.new_id("call"),
        subject=visit.subject,
        surface=Surface.MCP,
        tool=server,
        request=request,
        digest=digest_of(Surface.MCP, server, request),
        received_at=gateway.clock.now(),
        idempotency_key=key,
        reason=reason,
        body=exchange,
    )


async def carried_out(gateway: Gateway, call: Call) -> dict[str, Json]:
    """The result of a call. Raises ``McpFault``."""
    tool = call.request["method"] == "tools/call"
    try:
        reply = await gateway.pipeline.handle(call)
    except HoldfastError as error:
        doubt = isinstance(error, UpstreamError) and not error.proves_no_effect
        effect = EffectState.UNKNOWN if doubt else EffectState.NONE
        deny = Deny(reason=error.reason, detail=error.detail, extra=error.extra)
        return _refused(deny, call.id, effect, tool=tool)
    return answer_of(reply, tool=tool)


async def fate(gateway: Gateway, visit: Visit, call: str) -> dict[str, Json]:
    """What is recorded of a call of this visitor that a stopped gateway left behind: its answer, if
    it had ended, else that it did not, and whether it had an effect. Raises ``McpFault``."""
    anew = "The gateway was started anew while this request waited for your answer."
    if not call:
        raise McpFault(INVALID_PARAMS, f"{anew} It only read; send it again without requestState.")
    record = await gateway.store.call(call)
    if record is None or record.call.subject.id != visit.subject.id:
        raise McpFault(
            INVALID_PARAMS,
            f"{anew} There is no record of call {call} here: it is not known whether it had an "
            "effect. Do not repeat it.",
        )
    method = record.call.request.get("method")
    return answer_of(reply_from(record), tool=method == "tools/call")


def answer_of(reply: Reply, *, tool: bool) -> dict[str, Json]:
    """What the server answered, with what became of the call; a decision, where it never got
    that far. Raises ``McpFault`` for the server's own errors and for what is no tool."""
    recorded = reply.outcome.result or {}
    said = recorded.get("mcp")
    if isinstance(said, dict) and isinstance(said.get("error"), dict):
        error = said["error"]
        raise McpFault(error["code"], error["message"], _told(error.get("data")))
    if isinstance(said, dict) and isinstance(said.get("result"), dict):
        return _with_outcome(dict(said["result"]), reply, tool=tool)
    refusal = reply.outcome.refusal or _by_state(reply)
    return _refused(refusal, reply.call, reply.effect, tool=tool)


def _told(data: Json) -> Json:
    """The particulars of a server's error, unless they send people where no page is."""
    asked = data.get("elicitations") if isinstance(data, dict) else None
    urls = [each.get("url") for each in asked or () if isinstance(each, dict)]
    return data if all(is_page(url) for url in urls if url is not None) else None


def _by_state(reply: Reply) -> Deny:
    if reply.effect is EffectState.NONE and reply.state in (State.FAILED, State.DENIED):
        return Deny(reason="interrupted", detail="The call ended without an effect.")
    return Deny(
        reason="outcome.unknown",
        detail=f"The call is {reply.state}; what the tool answered was not kept.",
        effect=reply.effect,
    )


def _with_outcome(result: dict[str, Json], reply: Reply, *, tool: bool) -> dict[str, Json]:
    meta = result.get("_meta")
    result["_meta"] = {**(meta if isinstance(meta, dict) else {}), CALL_META: _call_meta(reply)}
    note = _note(reply) if tool else None
    if note is not None:
        content = result.get("content")
        result["content"] = [*(content if isinstance(content, list) else []), _text(note)]
    return result


def _call_meta(reply: Reply) -> dict[str, Json]:
    return {
        "call": reply.call,
        "state": str(reply.state),
        "effect": str(reply.effect),
        "replayed": reply.replayed,
        "poll": f"/calls/{reply.call}",
        "undo": {
            "reversibility": str(reply.undo.reversibility),
            "available": reply.undo.available,
            "expires_at": time_json(reply.undo.expires_at),
        },
    }


def _note(reply: Reply) -> str | None:
    """What an agent has to know about a call that may have changed something."""
    if reply.effect is EffectState.UNKNOWN:
        return (
            f"Holdfast: it is not known whether call {reply.call} had its effect. Do not repeat "
            f"it. GET /calls/{reply.call} tells what becomes of it."
        )
    if reply.effect is not EffectState.APPLIED:
        return None
    if reply.undo.available:
        until = time_json(reply.undo.expires_at)
        return (
            f"Holdfast: this was call {reply.call}. It can be taken back"
            + (f" until {until}" if until else "")
            + f" (holdfast revert {reply.call}, or POST /calls/{reply.call}/undo where agents may)."
        )
    if reply.undo.reversibility is Reversibility.IRREVERSIBLE:
        return f"Holdfast: this was call {reply.call}. It cannot be taken back."
    return f"Holdfast: this was call {reply.call}."


def _refused(deny: Deny, call: str, effect: EffectState, *, tool: bool) -> dict[str, Json]:
    problem = problem_document(deny, call, effect)
    text = _sentences(deny, problem)
    if deny.reason == "malformed":
        raise McpFault(INVALID_PARAMS, deny.detail, problem)
    if not tool:
        raise McpFault(REFUSED, text, problem)
    return {
        "content": [_text(text)],
        "structuredContent": problem,
        "isError": True,
        "_meta": {CALL_META: {"call": problem["call"], "effect": str(effect)}},
    }


def _sentences(deny: Deny, problem: Mapping[str, Json]) -> str:
    """Complete by itself: many clients show their model nothing else."""
    call = problem["call"]
    parts = [f"Holdfast: {reason_of(deny.reason).title} ({deny.reason}). {deny.detail}"]
    if deny.reasons:
        parts.append("Policy says: " + "; ".join(deny.reasons) + ".")
    parts.append(f"Effect: {problem['effect']}. Call: {call}.")
    if deny.reason == "approval.required":
        parts.append(
            f"Approval: {deny.extra.get('approval')}. A person approves it with: holdfast approve "
            f"{deny.extra.get('approval')}. GET /calls/{call} tells when it was carried out; do "
            "not send it again."
        )
    elif problem["effect"] == "unknown":
        parts.append(f"Do not repeat it. GET /calls/{call} tells what becomes of it.")
    elif problem["retryable"]:
        parts.append("The same call may be sent again later.")
    else:
        parts.append("Sending the same call again will not help.")
    return " ".join(parts)


def _text(text: str) -> dict[str, Json]:
    return {"type": "text", "text": text}
