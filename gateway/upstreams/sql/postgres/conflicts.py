"""The rows of a revert that others touched, as people are shown them: a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gateway.model import Conflict
from gateway.upstreams.sql.postgres.phrases import texts
from gateway.upstreams.sql.postgres.restore import Restore
from gateway.upstreams.sql.postgres.session import Session

_PAGE = 1000


async def conflicts(session: Session, restore: Restore) -> AsyncIterator[Conflict]:
    """While the revert's temporary tables stand."""
    lines = restore.disputed()
    for start in range(0, len(lines), _PAGE):
        for conflict in await _listed(session, restore, lines[start : start + _PAGE]):
            yield conflict


async def _listed(session: Session, restore: Restore, lines: Sequence[int]) -> list[Conflict]:
    stored = restore.table.stored
    names = [c.name for c in stored]
    found = await session.rows(
        f"SELECT w.n, CASE WHEN w.sct IS NOT NULL THEN {texts('b', stored)} END, "
        f"CASE WHEN w.act IS NOT NULL THEN {texts('a', stored)} END, "
        f"CASE WHEN w.nct IS NOT NULL THEN {texts('o', stored)} END "
        f"FROM {restore.w} w LEFT JOIN {restore.b} b ON b.ctid = w.sct "
        f"LEFT JOIN {restore.a} a ON a.ctid = w.act "
        f"LEFT JOIN {restore.o} o ON o.{restore.mark} = w.n "
        f"WHERE w.n = ANY('{{{','.join(map(str, lines))}}}'::int8[]) ORDER BY w.n"
    )
    key = restore.table.key.columns if restore.table.key else ()
    listed: list[Conflict] = []
    for row, *sides in found:
        before, after, now = (
            None if side is None else dict(zip(names, side, strict=True)) for side in sides
        )
        known = before or after or now or {}
        listed.append(
            Conflict(
                resource=restore.image.resource,
                key={name: known.get(name) for name in key} or None,
                before=before,
                after=after,
                now=now,
                why=restore.why(row),
            )
        )
    return listed
