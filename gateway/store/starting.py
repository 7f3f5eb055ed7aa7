"""From received to running, or refused: the moves before anything can have an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from gateway.interfaces import Pace
from gateway.lifecycle import IllegalMove, Move, State
from gateway.model import (
    Approval,
    Call,
    Deny,
    EffectState,
    Freeze,
    Hold,
    Intent,
    Json,
    Measured,
    Reach,
    Running,
)
from gateway.store.cells import (
    approval_of,
    dumped,
    dumped_or_none,
    reach_of,
    stamp,
    timed,
    why_no_undo,
)
from gateway.store.freezing import stopped
from gateway.store.refusing import SPARED, about, deny_stored, new_row
from gateway.store.rows import ApprovalRow, Head
from gateway.store.tables import Tables
from gateway.store.trail import write_move


def hold(
    t: Tables,
    now: datetime,
    call: Call,
    hold: Hold,
    action: Mapping[str, Json],
    reach: Reach,
    measured: Measured | None,
    default_ttl: timedelta,
) -> Approval | Deny:
    taken = _taken(t, call)
    if taken is not None:
        return taken
    if t.head(call.id) is not None:
        raise IllegalMove("a recorded call may not be held again")
    approval = _waiting(call, hold, now, default_ttl)
    extent = None if measured is None else measured.as_json()
    moved = write_move(
        t,
        now,
        Move.HOLD,
        call,
        State.RECEIVED,
        State.HELD,
        0,
        approval=approval.id,
        reasons=list(hold.reasons),
        revision=hold.revision,
        measured=extent,
        **about(reach),
    )
    row = new_row(
        call,
        State.HELD,
        moved.order,
        now,
        action=action,
        reach=reach,
        decision=_as_json(hold),
        approval=approval.id,
        measured=dumped_or_none(extent),
    )
    t.add_call(row)
    t.add_approval(approval)
    return approval_of(approval, stamp(now))


def _as_json(hold: Hold) -> dict[str, Json]:
    return {
        "decision": "hold",
        "reason": None,
        "reasons": list(hold.reasons),
        "obligations": hold.obligations.as_json(),
        "revision": hold.revision,
    }


def _waiting(call: Call, hold: Hold, now: datetime, default_ttl: timedelta) -> ApprovalRow:
    ttl = hold.obligations.approval_ttl
    expires_at = now + (default_ttl if ttl is None else timedelta(seconds=ttl))
    return ApprovalRow(
        id=f"apr_{call.id.removeprefix('call_')}",
        call=call.id,
        digest=call.digest,
        revision=hold.revision,
        reasons=dumped(list(hold.reasons)),
        obligations=dumped(hold.obligations.as_json()),
        state="waiting",
        created_at=stamp(now),
        expires_at=stamp(expires_at),
        decided_by=None,
        note=None,
    )


def _taken(t: Tables, call: Call) -> Deny | None:
    """Why the call may not be recorded: its id or its key already stands for another one."""
    if call.idempotency_key is None:
        holder = None
    else:
        holder = t.key_holder(call.subject.id, call.idempotency_key)
    head = None if holder is None else t.head(holder)
    if head is None or head.id == call.id:
        return None
    extra = {"call": head.id, "state": head.state}
    if head.digest != call.digest:
        return Deny(
            reason="idempotency.mismatch",
            detail="This idempotency key was used for another call. Use a new key.",
            extra=extra,
        )
    if head.state == State.UNKNOWN:
        return Deny(
            reason="idempotency.unknown",
            detail="The call with this key has an unknown outcome. Ask for its state before "
            "anything is repeated.",
            extra=extra,
            effect=EffectState.UNKNOWN,
        )
    return Deny(
        reason="idempotency.in_progress",
        detail="The call with this key was accepted. Ask again for its outcome.",
        extra=extra,
        effect=EffectState.UNKNOWN,
    )


def intend(
    t: Tables,
    now: datetime,
    call: Call,
    action: Mapping[str, Json],
    reach: Reach,
    decision: Mapping[str, Json],
    approval: str | None,
    pace: Pace | None = None,
) -> Intent | Deny:
    head = t.head(call.id)
    refusal = _taken(t, call) or _not_held(head, approval) or _claimable(t, now, call)
    if refusal is None and pace is not None and not call.reverts:
        refusal = _too_fast(t, now, call, pace, approved=approval is not None)
    if refusal is not None:
        return refusal
    moved = write_move(
        t,
        now,
        Move.INTEND,
        call,
        State.RECEIVED if head is None else State.HELD,
        State.INTENT,
        1,
        revision=decision.get("revision"),
        reasons=list(decision.get("reasons") or ()),
        approval=approval,
        reverts=list(call.reverts),
        **about(reach),
    )
    fresh = new_row(
        call,
        State.INTENT,
        moved.order,
        now,
        action=action,
        reach=reach,
        decision=decision,
        generation=1,
        approval=approval,
    )
    if head is None:
        t.add_call(fresh)
    else:
        kept = ("state", "generation", "action", "reach", "decision", "revision", "updated_at")
        cells = {name: getattr(fresh, name) for name in kept}
        t.change_call("intend_call", call.id, approval=approval, **cells)
    for target in call.reverts:
        t.change_call("claim_call", target, reverted_by=call.id)
    return Intent.issue(call.id, 1)


def _too_fast(t: Tables, now: datetime, call: Call, pace: Pace, *, approved: bool) -> Deny | None:
    found = _twin(t, now, call, pace) or _too_many(t, now, call, pace)
    if approved:
        return found  # by a person, who has seen how often it failed
    return found or _in_vain(t, now, call, pace)


def _too_many(t: Tables, now: datetime, call: Call, pace: Pace) -> Deny | None:
    if pace.calls is None:
        return None
    oldest = t.since_newest(call.subject.id, pace.calls)
    if oldest is None or timed(oldest) + pace.within <= now:
        return None
    wait = (timed(oldest) + pace.within - now).total_seconds()
    return Deny(
        reason="limit.rate",
        detail=f"More than {pace.calls} calls in {pace.within.total_seconds():g} s. Nothing ran; "
        f"wait {wait:.0f} s.",
        extra={
            "calls": pace.calls,
            "within_s": pace.within.total_seconds(),
            "retry_after_s": round(wait, 3),
        },
    )


def _in_vain(t: Tables, now: datetime, call: Call, pace: Pace) -> Deny | None:
    """The same call as some that were denied or failed, one time too many."""
    if pace.misses is None:
        return None
    since = stamp(now - pace.misses_within)
    missed = t.misses(call.subject.id, call.digest, since, SPARED)
    # What runs now may be the next miss: those that come at once must not all pass the bound.
    running = t.under_way(call.subject.id, call.digest, since) if missed else 0
    if missed + running < pace.misses:
        return None
    beside = f", and {running} more of them run now" if running else ""
    return Deny(
        reason="repetition",
        detail=f"This same call was refused or failed {missed} times in a short time{beside}. "
        "Repeating it does not help: change it, or ask a person.",
        extra={
            "times": missed,
            "running": running,
            "within_s": pace.misses_within.total_seconds(),
        },
    )


def _twin(t: Tables, now: datetime, call: Call, pace: Pace) -> Deny | None:
    """A call without a key that is the same as one whose end nobody knows yet is that one."""
    if call.idempotency_key is not None or pace.apart is None:
        return None
    twin = t.twin(call.subject.id, call.digest, stamp(now - pace.apart))
    if twin is None or twin.id == call.id:
        return None
    unknown = twin.state == State.UNKNOWN
    what = "has an unknown outcome" if unknown else "is running"
    return Deny(
        reason="idempotency.unknown" if unknown else "idempotency.in_progress",
        detail=f"The same call was made a moment ago and {what}; it was not run again. Ask for "
        "its state. If it is meant twice, give each call an Idempotency-Key of its own.",
        extra={"call": twin.id, "state": twin.state},
        effect=EffectState.UNKNOWN,
    )


def _not_held(head: Head | None, approval: str | None) -> Deny | None:
    if head is None:
        return None
    if head.state != State.HELD:
        return Deny(
            reason="idempotency.in_progress",
            detail=f"This call was taken up before; it is {head.state}.",
            extra={"call": head.id, "state": head.state},
        )
    if approval is None or approval != head.approval:
        return Deny(
            reason="approval.required", detail="A held call needs the approval made for it."
        )
    return None


def _claimable(t: Tables, now: datetime, call: Call) -> Deny | None:
    for id in call.reverts:
        target = t.head(id)
        if target is None:
            why: str | None = "there is no such call"
        elif target.reverted_by is not None:
            why = f"it was reverted by {target.reverted_by}"
        else:
            why = why_no_undo(target, stamp(now))
        if why is not None:
            return Deny(
                reason="revert.not_revertible",
                detail=f"The call {id} cannot be reverted: {why}.",
                extra={"call": id, "why": why},
            )
    return None


def begin(
    t: Tables,
    now: datetime,
    intent: Intent,
    windows: Sequence[Freeze],
    revision: str,
    lease: timedelta,
) -> Running | Deny:
    head = t.head(intent.call)
    if head is None or head.state != State.INTENT or head.generation != intent.generation:
        return Deny(
            reason="interrupted",
            detail="The call waited too long before it could begin and was given up. Nothing ran.",
        )
    reverting = head.reverts != "[]"
    refusal = _policy_changed(head, revision) or _not_approved(t, now, head, revision)
    if refusal is None and not reverting:
        refusal = stopped(t, now, reach_of(head.reach), windows)
    if refusal is not None:
        return deny_stored(t, now, head, refusal)
    until = stamp(now + lease)
    moved = write_move(
        t,
        now,
        Move.BEGIN,
        head,
        State.INTENT,
        State.REVERTING if reverting else State.EXECUTING,
        head.generation,
        revision=revision,
        approval=head.approval,
        epoch=t.epoch(),
        lease_until=until,
    )
    if head.approval is not None:
        used = t.approval(head.approval)
        if used is not None:
            t.change_approval(used.id, "used", used.decided_by, used.note)
    t.change_call(
        "begin_call", head.id, state=moved.state, lease_until=until, updated_at=stamp(now)
    )
    return Running.issue(head.id, head.generation)


def _policy_changed(head: Head, revision: str) -> Deny | None:
    if head.revision == revision:
        return None
    return Deny(
        reason="policy.unavailable",
        detail="The policies changed after this call was decided. Send it again.",
        revision=revision,
    )


_NOT_USABLE = {
    "waiting": ("approval.required", "The approval is still waiting for a person."),
    "rejected": ("approval.rejected", "A person rejected this call."),
    "expired": ("approval.expired", "The approval ran out before it was used."),
    "used": ("approval.expired", "The approval was used before; it is good for one call."),
}


def _not_approved(t: Tables, now: datetime, head: Head, revision: str) -> Deny | None:
    if head.approval is None:
        return None
    row = t.approval(head.approval)
    if row is None:
        return Deny(reason="approval.required", detail="There is no such approval.")
    approval = approval_of(row, stamp(now))
    if approval.state != "approved":
        reason, detail = _NOT_USABLE[approval.state]
        return Deny(reason=reason, detail=detail)
    if approval.digest != head.digest:
        return Deny(reason="approval.rejected", detail="The approval is for another call.")
    if approval.revision != revision:
        return Deny(
            reason="approval.expired",
            detail="The policies changed after the approval was asked for. Ask again.",
        )
    return None
