"""Every move and its one audit entry, in one place: nothing else writes to the audit table."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from gateway.audit import GENESIS, seal
from gateway.lifecycle import Move, State, move
from gateway.model import Call, Json
from gateway.store.rows import EntryRow, Head
from gateway.store.tables import Tables


def write(t: Tables, now: datetime, event: str, fields: dict[str, Json]) -> int:
    """Seals and adds the next entry; its number. Raises ``AuditUnavailable``."""
    seq, previous = t.last_entry() or (0, GENESIS)
    entry = seal(previous, seq + 1, now, event, fields)
    t.add_entry(EntryRow(seq=entry.seq, hash=entry.hash, body=entry.body))
    return entry.seq


class Moved(NamedTuple):
    """``order`` is the number of the move's audit entry: the order of all moves."""

    state: str
    order: int


def write_move(
    t: Tables,
    now: datetime,
    name: Move,
    moving: Head | Call,
    source: State,
    target: State,
    generation: int,
    **more: Json,
) -> Moved:
    """Checks the move against ``lifecycle`` and records it. Raises ``IllegalMove``."""
    move(source, name, target)
    fields: dict[str, Json] = {
        "call": moving.id,
        "from": source.value,
        "to": target.value,
        "generation": generation,
        "subject": moving.subject.id if isinstance(moving, Call) else moving.agent,
        "session": moving.subject.session if isinstance(moving, Call) else moving.session,
        "surface": str(moving.surface),
        "tool": moving.tool,
        "digest": moving.digest,
        **more,
    }
    return Moved(target.value, write(t, now, f"call.{name.value}", fields))
