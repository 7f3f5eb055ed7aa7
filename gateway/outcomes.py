"""Decisions, outcomes and replies: how the walk's values become each other. Pure."""

from __future__ import annotations

from gateway.errors import HoldfastError, UpstreamError
from gateway.interfaces import Ran
from gateway.lifecycle import State
from gateway.model import (
    EXECUTE,
    Action,
    ActionClass,
    Approval,
    Call,
    CallRecord,
    Decision,
    Deny,
    EffectState,
    Hold,
    Json,
    Outcome,
    Reply,
    Reversibility,
    ToolClass,
)


def decision_json(decision: Decision) -> dict[str, Json]:
    """A decision as the store keeps it and ``GET /calls/{id}`` shows it."""
    if isinstance(decision, Deny):
        return {
            "decision": "deny",
            "reason": decision.reason,
            "reasons": list(decision.reasons),
            "obligations": {},
            "revision": decision.revision,
        }
    return {
        "decision": "hold" if isinstance(decision, Hold) else "allow",
        "reason": None,
        "reasons": list(decision.reasons),
        "obligations": decision.obligations.as_json(),
        "revision": decision.revision,
    }


def failed(refusal: Deny) -> Outcome:
    """The outcome of a call that proved to have no effect."""
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)


def upstream_outcome(error: UpstreamError) -> Outcome:
    """``failed`` only where the error itself shows that nothing happened."""
    effect = EffectState.NONE if error.proves_no_effect else EffectState.UNKNOWN
    return Outcome(
        state=State.FAILED if error.proves_no_effect else State.UNKNOWN,
        effect=effect,
        refusal=Deny(reason=error.reason, detail=error.detail, extra=error.extra, effect=effect),
    )


def reply_from(record: CallRecord) -> Reply:
    """The reply that a call's row stands for, whatever state it is in."""
    outcome = record.outcome or Outcome(state=record.state, effect=record.effect)
    return Reply(
        call=record.call.id,
        state=record.state,
        effect=record.effect,
        outcome=outcome,
        undo=record.undo,
    )


def rehearsed(ran: Ran) -> Outcome:
    return Outcome(
        state=State.SUCCEEDED,
        effect=EffectState.NONE,
        result={**ran.result, "dry_run": True, "measured": ran.measured.as_json()},
    )


def refused(call: Call, deny: Deny) -> Reply:
    outcome = Outcome(state=State.DENIED, effect=deny.effect, refusal=deny)
    return Reply(call=call.id, state=State.DENIED, effect=deny.effect, outcome=outcome)


def approval_needed(call_id: str, approval: Approval) -> Deny:
    return Deny(
        reason="approval.required",
        detail="A person has to approve this call. Nothing ran. Poll the call; it is carried out "
        "when it is approved.",
        reasons=approval.reasons,
        extra={
            "approval": approval.id,
            "call": call_id,
            "expires_at": approval.expires_at.isoformat(),
        },
    )


def waiting(call: Call, approval: Approval) -> Reply:
    refusal = approval_needed(call.id, approval)
    outcome = Outcome(state=State.HELD, effect=EffectState.NONE, refusal=refusal)
    return Reply(
        call=call.id,
        state=State.HELD,
        effect=EffectState.NONE,
        outcome=outcome,
        approval=approval.id,
    )


def denied_by(error: HoldfastError) -> Deny:
    """The refusal that an error of ours stands for when it is known that nothing ran."""
    return Deny(reason=error.reason, detail=error.detail, extra=error.extra)


def unresolved(call: Call, outcome: Outcome) -> Reply:
    """The reply while only the target knows whether the effect happened."""
    return Reply(call=call.id, state=State.UNKNOWN, effect=EffectState.UNKNOWN, outcome=outcome)


def unrecorded(call: Call, outcome: Outcome, error: HoldfastError) -> Reply:
    """The call is over, but its outcome could not be written: recovery writes it later. The
    reply says what is true of the target now."""
    refusal = Deny(
        reason=error.reason,
        detail=f"The call ended (effect: {outcome.effect}), but that could not be recorded yet. "
        "Poll the call; do not repeat it.",
        effect=outcome.effect,
    )
    ended = Outcome(state=State.EXECUTING, effect=outcome.effect, refusal=refusal)
    return Reply(call=call.id, state=State.EXECUTING, effect=outcome.effect, outcome=ended)


def without_effect(ran: Ran) -> Outcome:
    """A write that met no row: it is rolled back, as there is nothing to commit or to undo."""
    return Outcome(state=State.SUCCEEDED, effect=EffectState.NONE, result=ran.result)


def rows_tell_all(action: Action) -> bool:
    """Whether no changed row means no effect: not so for a schema change or a TRUNCATE, for code
    that may do either, nor where rows are what a declaration says."""
    if action.tool_class is not ToolClass.TRANSACTIONAL:
        return False
    by_rows = action.cls in (ActionClass.WRITE, ActionClass.DESTRUCTIVE)
    by_rows = by_rows and action.name not in ("truncate", EXECUTE)
    return by_rows and action.reversibility is Reversibility.EXACT
