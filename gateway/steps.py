"""The steps of a revert, one per call, and what they add up to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.lifecycle import State
from gateway.model import CallRecord, EffectState, Outcome, Step, Undo


def is_open(record: CallRecord) -> bool:
    return record.state in (State.EXECUTING, State.REVERTING, State.UNKNOWN)


def cannot(record: CallRecord, why: str, *, reason: str = "revert.not_revertible") -> Step:
    return Step(
        call=record.call.id,
        upstream=record.call.tool,
        action="none",
        state="failed",
        reason=reason,
        detail=f"This call cannot be reverted: {why}.",
    )


def undecided(record: CallRecord, reverter: CallRecord) -> Step:
    return Step(
        call=record.call.id,
        upstream=record.call.tool,
        action="restore",
        state="unknown",
        reason="outcome.unknown",
        detail=f"It is not known yet whether {reverter.call.id} has taken this call back.",
    )


def failed_steps(
    upstream: str, undos: Sequence[tuple[str, Undo]], reason: str, detail: str
) -> tuple[Step, ...]:
    """The same failure for every call of a group."""
    return tuple(
        Step(
            call=call,
            upstream=upstream,
            action="restore",
            state="failed",
            reason=reason,
            detail=detail,
        )
        for call, _ in undos
    )


def left_alone(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(replace(s, state="skipped", restored=0) for s in steps)


def foreseen_only(steps: Sequence[Step]) -> list[Step]:
    """Steps of a foreseen abort: what would have gone through was left alone."""
    return [replace(s, state="skipped", restored=0) if s.state == "planned" else s for s in steps]


def stopped_before(upstream: str, undos: Sequence[tuple[str, Undo]]) -> tuple[Step, ...]:
    """Calls older than one that could not be taken back: their turn never came."""
    steps = failed_steps(
        upstream,
        undos,
        "revert.conflict",
        "Left alone: a newer call could not be taken back before it.",
    )
    return tuple(replace(s, state="skipped") for s in steps)


def nothing_restored(steps: tuple[Step, ...]) -> Outcome:
    """Leaving the transaction rolls it back: what the steps restored in it is undone."""
    if any(s.state in ("conflict", "failed", "skipped", "partial") for s in steps):
        shown = tuple(
            replace(s, state="skipped", restored=0) if s.state == "reverted" else s for s in steps
        )
        return Outcome(state=State.CONFLICT, effect=EffectState.NONE, steps=shown)
    # Everything already stood as it was before: the revert holds, with nothing left to do.
    return Outcome(state=State.REVERTED, effect=EffectState.NONE, steps=steps)


def ordered_like(steps: Sequence[Step], records: Sequence[CallRecord]) -> tuple[Step, ...]:
    place = {record.call.id: index for index, record in enumerate(records)}
    return tuple(sorted(steps, key=lambda s: place.get(s.call, len(place))))


def verdict_of(steps: Sequence[Step]) -> str:
    states = {s.state for s in steps}
    if not states or states == {"reverted"}:
        return "reverted"
    if "reverted" in states or "partial" in states:
        return "partial"
    return "conflict" if "conflict" in states else "failed"
