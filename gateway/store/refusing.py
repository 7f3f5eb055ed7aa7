"""The new row of a call, and its refusal: the moves that end before anything ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.errors import REASONS
from gateway.lifecycle import IllegalMove, Move, State
from gateway.model import Call, Deny, EffectState, Json, Outcome, Reach, Reversibility
from gateway.store.cells import dumped, dumped_or_none, loaded, outcome_json, stamp
from gateway.store.rows import CallRow, Head
from gateway.store.tables import Tables
from gateway.store.trail import write_move

# Why a call may be denied or fail without counting as a miss: what asks for a repetition, or is
# none of the agent's doing.
SPARED = dumped(
    sorted(
        {reason.code for reason in REASONS.values() if reason.retryable}
        | {"repetition", "approval.required", "cancelled"}
    )
)


def new_row(
    call: Call,
    state: State,
    order: int,
    now: datetime,
    *,
    action: Mapping[str, Json] | None,
    reach: Reach | None,
    decision: Mapping[str, Json],
    **cells: str | int | None,
) -> CallRow:
    row = CallRow(
        id=call.id,
        ord=order,
        state=state.value,
        generation=0,
        agent=call.subject.id,
        session=call.subject.session,
        roles=dumped(list(call.subject.roles)),
        delegation=dumped(list(call.subject.delegation)),
        surface=call.surface.value,
        tool=call.tool,
        request=dumped(dict(call.request)),
        digest=call.digest,
        received_at=stamp(call.received_at),
        idempotency_key=call.idempotency_key,
        reason=call.reason,
        dry_run=int(call.dry_run),
        reverts=dumped(list(call.reverts)),
        effect=EffectState.NONE.value,
        action=dumped_or_none(action),
        reach=None if reach is None else dumped(reach.as_json()),
        decision=dumped(dict(decision)),
        revision=decision.get("revision"),
        approval=None,
        measured=None,
        receipt=None,
        permitted=0,
        snapshot=None,
        undo_reversibility=Reversibility.NONE.value,
        undo_expires_at=None,
        undo_deleted=0,
        outcome=None,
        reverted_by=None,
        lease_until=None,
        updated_at=stamp(now),
    )
    return row._replace(**cells)  # type: ignore[arg-type]


def refuse(
    t: Tables,
    now: datetime,
    call: Call,
    deny: Deny,
    action: Mapping[str, Json] | None,
    reach: Reach | None,
) -> bool:
    head = t.head(call.id)
    if head is not None and head.state == State.DENIED:
        return False  # settled already, by the same call: nothing more to say
    if head is not None:
        if head.state != State.HELD:
            raise IllegalMove(f"{head.state} may not be refused")
        deny_stored(t, now, head, deny)
        return True
    decision = {
        "decision": "deny",
        "reason": deny.reason,
        "reasons": list(deny.reasons),
        "obligations": {},
        "revision": deny.revision,
    }
    moved = write_move(
        t, now, Move.DENY, call, State.RECEIVED, State.DENIED, 0, **_denial(deny), **about(reach)
    )
    row = new_row(
        call,
        State.DENIED,
        moved.order,
        now,
        action=action,
        reach=reach,
        decision=decision,
        outcome=_denied(deny),
    )
    t.add_call(row)
    return True


def deny_stored(t: Tables, now: datetime, head: Head, deny: Deny) -> Deny:
    """held | intent -> denied; claims and a waiting approval end with it."""
    moved = write_move(
        t,
        now,
        Move.DENY,
        head,
        State(head.state),
        State.DENIED,
        head.generation,
        approval=head.approval,
        **_denial(deny),
    )
    t.change_call(
        "deny_call",
        head.id,
        state=moved.state,
        outcome=_denied(deny),
        lease_until=None,
        updated_at=stamp(now),
    )
    release(t, head, keep=())
    if head.approval is not None:
        approval = t.approval(head.approval)
        if approval is not None and approval.state in ("waiting", "approved"):
            t.change_approval(approval.id, "expired", approval.decided_by, approval.note)
    return deny


def _denied(deny: Deny) -> str:
    return outcome_json(Outcome(state=State.DENIED, effect=deny.effect, refusal=deny))


def _denial(deny: Deny) -> dict[str, Json]:
    return {"reason": deny.reason, "reasons": list(deny.reasons), "revision": deny.revision}


def about(reach: Reach | None) -> dict[str, Json]:
    return {"reach": None if reach is None else reach.as_json()}


def release(t: Tables, head: Head, *, keep: Sequence[str]) -> None:
    """Gives up the claims of a revert on every call that is not in ``keep``."""
    for id in loaded(head.reverts):
        target = t.head(id)
        if id not in keep and target is not None and target.reverted_by == head.id:
            t.change_call("claim_call", id, reverted_by=None)
