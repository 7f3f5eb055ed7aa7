"""A walk's reply as an HTTP answer, true about the effect whatever else goes wrong."""

from __future__ import annotations

from starlette.responses import Response

from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Reply
from gateway.surfaces.answers import answer
from gateway.surfaces.problems import internal, problem
from gateway.surfaces.views import reply_json


def render(reply: Reply) -> Response:
    """200 for a success, 202 for a call that waits for a person, otherwise its problem."""
    headers = {"Holdfast-Call": reply.call}
    if reply.replayed:
        headers["Idempotency-Replayed"] = "true"
    refusal = reply.outcome.refusal
    if refusal is None and reply.state is State.SUCCEEDED:
        try:
            return answer(reply_json(reply), headers=headers)
        except (TypeError, ValueError):
            # The result cannot be said in JSON; what happened at the target still can.
            return internal(call=reply.call, effect=reply.effect)
    if refusal is None:
        refusal = _told_by_state(reply)
    if refusal.reason == "approval.required":
        headers["Holdfast-Call"] = str(refusal.extra.get("call", reply.call))
        headers["Location"] = f"/calls/{headers['Holdfast-Call']}"
    return problem(refusal, call=reply.call, effect=reply.effect, headers=headers)


def _told_by_state(reply: Reply) -> Deny:
    if reply.effect is EffectState.NONE and reply.state in (State.FAILED, State.DENIED):
        return Deny(reason="interrupted", detail="The call ended without an effect.")
    return Deny(
        reason="outcome.unknown",
        detail=f"The call is {reply.state}. Poll it; do not repeat it.",
        effect=reply.effect,
    )
