"""Freezes: what is stopped now, and by which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from gateway.interfaces import Frozen
from gateway.lifecycle import RUNNING, State
from gateway.model import Deny, Freeze, Reach, Scope
from gateway.store.cells import freeze_of, freeze_row, reach_of, stamp, stamp_or_none
from gateway.store.tables import Tables
from gateway.store.trail import write


def stopped(
    t: Tables, now: datetime, reach: Reach | None, windows: Sequence[Freeze]
) -> Deny | None:
    """The refusal while a freeze covers ``reach``; a call of unknown reach is covered by all."""
    standing = (*(freeze_of(row) for row in t.standing_freezes(stamp(now))), *windows)
    found = [f for f in standing if f.active(now) and (reach is None or f.scope.covers(reach))]
    if not found:
        return None
    ends = [f.ends_at for f in found]
    until = "it is lifted" if None in ends else max(e for e in ends if e is not None).isoformat()
    return Deny(
        reason="frozen",
        detail=f"Frozen until {until}: {'; '.join(f.reason for f in found)}. Nothing ran.",
        extra={
            "freezes": [
                {
                    "id": f.id,
                    "reason": f.reason,
                    "until": None if f.ends_at is None else f.ends_at.isoformat(),
                }
                for f in found
            ]
        },
    )


def freeze(t: Tables, now: datetime, wanted: Freeze) -> Frozen:
    if t.freeze(wanted.id) is not None:
        raise ValueError(f"there is a freeze {wanted.id} already")
    made = replace(wanted, epoch=t.epoch() + 1, lifted_at=None)
    in_flight_now = in_flight(t, made.scope)
    t.add_freeze(freeze_row(made))
    write(
        t,
        now,
        "freeze.add",
        {
            "freeze": made.id,
            "epoch": made.epoch,
            "scope": made.scope.as_json(),
            "reason": made.reason,
            "starts_at": stamp(made.starts_at),
            "ends_at": stamp_or_none(made.ends_at),
            "by": made.created_by,
            "in_flight": list(in_flight_now),
        },
    )
    return Frozen(freeze=made, in_flight=in_flight_now)


def in_flight(t: Tables, scope: Scope) -> tuple[str, ...]:
    return tuple(
        head.id
        for head in t.unsettled()
        if State(head.state) in RUNNING
        and ((reach := reach_of(head.reach)) is None or scope.covers(reach))
    )


def lift(t: Tables, now: datetime, id: str, by: str) -> Freeze | None:
    row = t.freeze(id)
    if row is None or row.lifted_at is not None:
        return None
    t.lift_freeze(id, stamp(now))
    write(t, now, "freeze.lift", {"freeze": id, "epoch": row.epoch, "by": by})
    return freeze_of(row._replace(lifted_at=stamp(now)))


def freezes(t: Tables, now: datetime, lifted: bool) -> list[Freeze]:
    """All that stand, also those that start later; with ``lifted`` the whole history."""
    rows = t.freezes() if lifted else t.standing_freezes(stamp(now))
    return [freeze_of(row) for row in rows]
