"""From running to settled, and what a crash left in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.errors import ImageDamaged, StoreUnavailable
from gateway.interfaces import Pace, StaleGeneration
from gateway.lifecycle import RUNNING, IllegalMove, Move, State
from gateway.model import (
    CallRecord,
    Deny,
    EffectState,
    Freeze,
    Json,
    Measured,
    Outcome,
    Permit,
    Reach,
    Reversibility,
    Running,
    Spooled,
    Undo,
)
from gateway.store import keeping
from gateway.store.binding import Bound, bind_answer, snapshot_id
from gateway.store.cells import (
    dumped,
    loaded,
    outcome_json,
    reach_of,
    record_of,
    stamp,
    stamp_or_none,
    timed,
)
from gateway.store.freezing import stopped
from gateway.store.refusing import release
from gateway.store.rows import Head, SnapshotRow
from gateway.store.sealing import Keys
from gateway.store.tables import Tables
from gateway.store.trail import write_move


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What a permit makes durable."""

    undo: Undo | None
    image: Spooled | None
    bound: Bound | None
    receipt: str
    measured: Measured
    reach: Reach
    windows: Sequence[Freeze]
    expires_at: datetime | None
    pace: Pace | None = None


def permit(t: Tables, now: datetime, running: Running, landing: Landing) -> Permit | Deny:
    head = t.head(running.call)
    if head is None or head.generation != running.generation or State(head.state) not in RUNNING:
        return Deny(
            reason="interrupted",
            detail="The call took too long and was given up. Nothing was changed.",
        )
    if head.permitted:
        raise IllegalMove("a call gets one permit")
    wider = _joined(reach_of(head.reach), landing.reach)
    if head.state != State.REVERTING:
        refusal = stopped(t, now, wider, landing.windows) or _spent(t, now, head, landing)
        if refusal is not None:
            return refusal
    snapshot = None if landing.undo is None else snapshot_id(head.id)
    measured = landing.measured.as_json()
    moved = write_move(
        t,
        now,
        Move.PERMIT,
        head,
        State(head.state),
        State(head.state),
        head.generation,
        receipt=landing.receipt,
        measured=measured,
        epoch=t.epoch(),
        snapshot=_shown(snapshot, landing),
    )
    if snapshot is not None:
        t.add_snapshot(_snapshot_row(snapshot, moved.order, head, landing, now))
    undo = landing.undo
    t.change_call(
        "permit_call",
        head.id,
        ord=moved.order,
        permitted=1,
        receipt=landing.receipt,
        measured=dumped(measured),
        reach=dumped(wider.as_json()),
        snapshot=snapshot,
        undo_reversibility=(Reversibility.NONE if undo is None else undo.reversibility).value,
        undo_expires_at=stamp_or_none(landing.expires_at),
        updated_at=stamp(now),
    )
    return Permit.issue(head.id, head.generation)


def _spent(t: Tables, now: datetime, head: Head, landing: Landing) -> Deny | None:
    """The budget of rows, counted where nobody else can get a permit in between."""
    pace, wanted = landing.pace, landing.measured.rows
    if pace is None or pace.rows is None:
        return None
    changed = t.rows_changed(head.agent, stamp(now - pace.within))
    if changed + wanted <= pace.rows:
        return None
    return Deny(
        reason="limit.budget",
        detail=f"This would change {wanted} rows after {changed} in the last "
        f"{pace.within.total_seconds():g} s; {pace.rows} are allowed. Nothing was changed.",
        extra={
            "rows": wanted,
            "changed": changed,
            "budget": pace.rows,
            "within_s": pace.within.total_seconds(),
        },
    )


def _joined(recorded: Reach | None, measured: Reach) -> Reach:
    """A permit may reach further than the intent did, never less far."""
    if recorded is None:
        return measured
    tables = tuple(dict.fromkeys((*recorded.tables, *measured.tables)))
    verbs = tuple(dict.fromkeys((*recorded.verbs, *measured.verbs)))
    return replace(measured, cls=recorded.cls, tables=tables, verbs=verbs)


def _shown(id: str | None, landing: Landing) -> Json:
    if landing.undo is None or landing.image is None:
        return None
    return {
        "id": id,
        "kind": landing.undo.kind,
        "reversibility": landing.undo.reversibility.value,
        "sha256": landing.image.sha256,
        "bytes": landing.image.size,
        "key": None if landing.bound is None or landing.bound.key is None else landing.bound.key.id,
        "expires_at": stamp_or_none(landing.expires_at),
    }


def _snapshot_row(id: str, order: int, head: Head, landing: Landing, now: datetime) -> SnapshotRow:
    undo, image, bound = landing.undo, landing.image, landing.bound
    if undo is None or image is None or bound is None:
        raise IllegalMove("a snapshot without its undo and image")
    return SnapshotRow(
        id=id,
        ord=order,
        call=head.id,
        upstream=undo.upstream,
        kind=undo.kind,
        reversibility=undo.reversibility.value,
        manifest=bound.manifest,
        size=image.size,
        sha256=image.sha256,
        image=image.inline,
        file=image.file,
        created_at=stamp(now),
        expires_at=stamp_or_none(landing.expires_at),
        deleted_at=None,
        seal=image.seal,
        packed=image.packed,
        spooled=int(undo.spooled is not None),
        key_id=None if bound.key is None else bound.key.id,
        data_key=None if bound.key is None else bound.key.key,
        erased_at=None,
    )


# --- settling -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    record: CallRecord
    unused: SnapshotRow | None = None  # its image may be removed


# A revert whose outcome was unknown settles by what is known now (``lifecycle`` has no others).
_FROM_UNKNOWN = {State.REVERTED: State.SUCCEEDED, State.CONFLICT: State.FAILED}


def settle(
    t: Tables,
    now: datetime,
    running: Running,
    outcome: Outcome,
    keys: Keys | None = None,
    **more: Json,
) -> Settled:
    head = _own(t, running)
    source = State(head.state)
    if source is State.UNKNOWN:
        outcome = replace(outcome, state=_FROM_UNKNOWN.get(outcome.state, outcome.state))
    _truthful(head, outcome)
    unused = None
    if outcome.effect is EffectState.NONE and head.snapshot is not None:
        unused = t.snapshot(head.snapshot)
        t.drop_snapshot(head.snapshot, stamp(now))
    moved = write_move(
        t,
        now,
        Move.SETTLE,
        head,
        source,
        outcome.state,
        head.generation,
        effect=outcome.effect.value,
        reason=outcome.refusal.reason if outcome.refusal else None,
        reverts=loaded(head.reverts),
        steps={s.call: s.state for s in outcome.steps},
        dropped=None if unused is None else unused.sha256,
        **more,
    )
    t.change_call(
        "settle_call",
        head.id,
        state=moved.state,
        effect=outcome.effect.value,
        outcome=outcome_json(outcome),
        undo_deleted=int(unused is not None),
        updated_at=stamp(now),
    )
    if unused is None and outcome.kept is not None:
        _keep_answer(t, head, outcome.kept, keys)
    _settle_claims(t, head, outcome)
    keeping.purged(t, now, head, outcome.effect)
    return Settled(record=_record(t, head.id, now), unused=unused)


def _own(t: Tables, running: Running) -> Head:
    """The call that ``running`` may settle. Raises ``StaleGeneration``."""
    head = t.head(running.call)
    if head is None or head.generation != running.generation:
        raise StaleGeneration(f"{running} was taken over")
    state = State(head.state)
    if state not in RUNNING and state is not State.UNKNOWN:
        raise StaleGeneration(f"{running} is {state} already")
    return head


def _keep_answer(t: Tables, head: Head, kept: Mapping[str, Json], keys: Keys | None) -> None:
    """What the way back needs of the answer. An outcome is recorded without it rather than not at
    all: a revert then says that it is missing."""
    row = None if head.snapshot is None else t.snapshot(head.snapshot)
    if row is None or row.deleted_at is not None:
        return
    try:
        bound = bind_answer(keys, row, kept)
    except (ImageDamaged, StoreUnavailable):
        return
    t.keep_answer(row.id, bound)


def resolve(
    t: Tables,
    now: datetime,
    id: str,
    outcome: Outcome,
    keys: Keys | None,
    by: str,
    note: str | None,
) -> Settled | None:
    head = t.head(id)
    if head is None or head.state != State.UNKNOWN:
        return None
    # Nobody runs it any more: whoever knows may say how it ended.
    running = Running.issue(id, head.generation)
    return settle(t, now, running, outcome, keys, by=by, note=note)


def permitted(t: Tables, running: Running) -> Permit | None:
    head = t.head(running.call)
    if head is None or head.generation != running.generation or not head.permitted:
        return None
    return Permit.issue(head.id, head.generation) if State(head.state) in RUNNING else None


def renew(t: Tables, now: datetime, running: Running, lease: timedelta) -> bool:
    head = t.head(running.call)
    if head is None or head.generation != running.generation or State(head.state) not in RUNNING:
        return False
    t.change_call("renew_call", head.id, lease_until=stamp(now + lease))
    return True


def _truthful(head: Head, outcome: Outcome) -> None:
    """A state that contradicts its effect, or an effect without a permit, is a bug of ours."""
    without = outcome.state in (State.FAILED, State.CONFLICT)
    if without and outcome.effect is not EffectState.NONE:
        raise IllegalMove(f"{outcome.state} means no effect, not {outcome.effect}")
    if (outcome.state is State.UNKNOWN) != (outcome.effect is EffectState.UNKNOWN):
        raise IllegalMove(f"{outcome.state} with effect {outcome.effect}")
    if outcome.effect is EffectState.APPLIED and not head.permitted:
        raise IllegalMove("an effect without a permit")


def _settle_claims(t: Tables, head: Head, outcome: Outcome) -> None:
    if outcome.state in (State.FAILED, State.CONFLICT):
        release(t, head, keep=())
    elif outcome.state is not State.UNKNOWN and outcome.steps:
        release(t, head, keep=[s.call for s in outcome.steps if s.state == "reverted"])


def _record(t: Tables, id: str, now: datetime) -> CallRecord:
    row = t.call(id)
    if row is None:
        raise IllegalMove(f"{id} is not recorded")
    return record_of(row, stamp(now))


# --- recovery -------------------------------------------------------------------------------


def take_over(
    t: Tables, now: datetime, everything: bool, lease: timedelta
) -> list[tuple[CallRecord, Running | None]]:
    taken: list[tuple[CallRecord, Running | None]] = []
    for head in t.unsettled():
        # Nobody works on a call whose outcome is unknown: it has no lease to wait for.
        waits = head.state != State.UNKNOWN and not _overdue(head, now, lease)
        if waits and not everything:
            continue
        generation = head.generation + 1
        running: Running | None = None
        if head.state == State.INTENT:
            _give_up(t, now, head, generation)
        elif head.state == State.UNKNOWN:
            # Whoever ran it has ended: there is nothing to fence, so there is no move.
            running = Running.issue(head.id, head.generation)
        else:
            _fence(t, now, head, generation, stamp(now + lease))
            running = Running.issue(head.id, generation)
        taken.append((_record(t, head.id, now), running))
    return taken


def _overdue(head: Head, now: datetime, lease: timedelta) -> bool:
    # An intent has no lease of its own: it gets as long as a running call does.
    until = timed(head.updated_at) + lease if head.lease_until is None else timed(head.lease_until)
    return until <= now


def _give_up(t: Tables, now: datetime, head: Head, generation: int) -> None:
    refusal = Deny(
        reason="interrupted",
        detail="The gateway stopped before this call began. Nothing was changed; it may be sent "
        "again.",
    )
    outcome = Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal)
    moved = write_move(
        t,
        now,
        Move.RECOVER,
        head,
        State.INTENT,
        State.FAILED,
        generation,
        effect=EffectState.NONE.value,
        reason=refusal.reason,
    )
    t.change_call(
        "give_up_call",
        head.id,
        state=moved.state,
        generation=generation,
        outcome=outcome_json(outcome),
        updated_at=stamp(now),
    )
    release(t, head, keep=())


def _fence(t: Tables, now: datetime, head: Head, generation: int, until: str) -> None:
    state = State(head.state)
    moved = write_move(t, now, Move.RECOVER, head, state, state, generation, lease_until=until)
    t.change_call(
        "recover_call",
        head.id,
        state=moved.state,
        generation=generation,
        lease_until=until,
        updated_at=stamp(now),
    )
