"""Reading: pages of calls and of snapshots, newest first.

Newest is by the order of the permits (for calls without one, of their first entry): two calls that
changed the same rows have their permits in the order in which the target serialized them, so
taking calls back newest first is right whatever order they arrived in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.errors import Malformed
from gateway.interfaces import SnapshotInfo
from gateway.lifecycle import State
from gateway.model import CallRecord
from gateway.store.cells import dumped, record_of, snapshot_of, stamp, stamp_or_none
from gateway.store.rows import Filter
from gateway.store.tables import Tables


def position(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise Malformed("The cursor is not one that this listing gave.")
    return int(cursor)


def wanted(
    *,
    session: str | None,
    agent: str | None,
    since: datetime | None,
    until: datetime | None,
    states: Sequence[State],
    tool: str | None,
    reverts: bool | None,
    limit: int,
    cursor: str | None,
) -> Filter:
    return Filter(
        session=session,
        agent=agent,
        since=stamp_or_none(since),
        until=stamp_or_none(until),
        states=dumped([s.value for s in states]) if states else None,
        tool=tool,
        reverts=None if reverts is None else int(reverts),
        before=position(cursor),
        limit=max(1, limit),
    )


def calls(t: Tables, now: datetime, wanted: Filter) -> tuple[list[CallRecord], str | None]:
    # One row more than asked for tells whether there is another page.
    rows = t.calls(wanted._replace(limit=wanted.limit + 1))
    page = rows[: wanted.limit]
    more = str(page[-1].ord) if len(rows) > wanted.limit else None
    return [record_of(row, stamp(now)) for row in page], more


def find(t: Tables, now: datetime, subject: str, key: str) -> CallRecord | None:
    holder = t.key_holder(subject, key)
    row = None if holder is None else t.call(holder)
    return None if row is None else record_of(row, stamp(now))


def snapshots(
    t: Tables, call: str | None, before: int | None, limit: int
) -> tuple[list[SnapshotInfo], str | None]:
    limit = max(1, limit)
    rows = t.snapshots(call, before, limit + 1)
    page = rows[:limit]
    more = str(page[-1].ord) if len(rows) > limit else None
    return [snapshot_of(row) for row in page], more
