"""The way back where nobody touched anything since: three statements over the images of a table.

Each names its rows by key and demands that they are still what the call left, compared as whole
rows (``*=``) by the statement itself. When they met every row of both images, that was the whole
way back, and nothing had to be listed, locked or decided. Otherwise the caller rolls back to where
it was and compares row by row (``restore``).
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from gateway.upstreams.sql.postgres import references
from gateway.upstreams.sql.postgres.catalog import ForeignKey, Key
from gateway.upstreams.sql.postgres.comparing import Met
from gateway.upstreams.sql.postgres.phrases import listed, same_row
from gateway.upstreams.sql.postgres.restore import UNIQUE, Restore
from gateway.upstreams.sql.postgres.session import Session

_ANALYZED = 1000  # rows from which on the planner is told of them


async def straight(
    session: Session, restores: Sequence[Restore], keys: Sequence[ForeignKey], *, replica: bool
) -> bool:
    """Whether everything is restored now. If not, the caller rolls back to its savepoint.
    ``replica``: foreign keys are not enforced meanwhile."""
    if not all(r.keyed and not r.table.deferrable for r in restores):
        return False
    try:
        for restore in restores:
            if not await _met(session, restore):
                return False
    except (*UNIQUE, psycopg.errors.ForeignKeyViolation):
        return False
    return not (replica and await references.broken(session, restores, keys))


async def _met(session: Session, restore: Restore) -> bool:
    image, table = restore.image, restore.table
    assert table.key is not None
    b, a, target = restore.b, restore.a, f"ONLY {table.quoted}"
    for name, rows in ((b, image.before), (a, image.after)):
        if rows.count >= _ANALYZED:
            columns = listed([restore.table_column(c) for c in table.key.columns])
            await session.run(f"ANALYZE {name} ({columns})")
    found = _equal(restore, table.key, "t", "a")
    pair = _equal(restore, table.key, "b", "a")
    still = same_row("t", "a", table.stored)
    deleted = inserted = updated = same = 0
    before, after = image.before.count, image.after.count
    if before and after:
        sets = ", ".join(f"{c.quoted} = b.{c.quoted}" for c in restore.soft)
        alike = same_row("b", "a", table.stored)
        if sets:
            hard = [same_row("b", "a", restore.hard)] if restore.hard else []
            updated = await session.run(
                f"UPDATE {target} t SET {sets} FROM {b} b, {a} a WHERE {pair} AND {found} "
                f"AND {_all(still, *hard, f'NOT {alike}')}"
            )
        if updated < min(before, after):
            (same,) = await session.one(
                f"SELECT count(*) FROM {target} t, {b} b, {a} a "
                f"WHERE {pair} AND {found} AND {_all(still, alike)}"
            )
    both = updated + same
    if both < after:
        deleted = await session.run(
            f"DELETE FROM {target} t USING {a} a WHERE {found} AND {_all(still)}"
            f"{_lacks(before, b, pair)}"
        )
    if both + deleted != after:
        return False
    if both < before:
        inserted = await session.run(
            f"INSERT INTO {table.quoted} ({listed(table.stored)}) OVERRIDING SYSTEM VALUE "
            f"SELECT {listed(table.stored, 'b')} FROM {b} b WHERE true{_lacks(after, a, pair)}"
        )
    restore.met = Met(inserted=inserted, updated=updated, deleted=deleted)
    return both + inserted == before


def _all(*conditions: str) -> str:
    """The planner takes one ``*=`` for something that hardly any row meets, and then goes through
    the index for every row."""
    return f"CASE WHEN {' AND '.join(conditions)} THEN true ELSE false END"


def _lacks(rows: int, other: str, pair: str) -> str:
    return f" AND NOT EXISTS (SELECT FROM {other} {other[-1]} WHERE {pair})" if rows else ""


def _equal(restore: Restore, key: Key, left: str, right: str) -> str:
    names = [restore.table_column(name).quoted for name in key.columns]
    return " AND ".join(
        f"{left}.{name} {op} {right}.{name}" for name, op in zip(names, key.operators, strict=True)
    )
