"""Foreign keys while the triggers that enforce them are off: a revert never leaves an orphan."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import Identifier

from gateway.model import Deny
from gateway.upstreams.sql.postgres.catalog import ForeignKey
from gateway.upstreams.sql.postgres.restore import Problem, Restore
from gateway.upstreams.sql.postgres.session import Session


async def broken(
    session: Session, restores: Sequence[Restore], keys: Sequence[ForeignKey]
) -> list[tuple[Restore, Problem]]:
    """Restored rows whose parent is not there (``orphan``), and rows taken away that others refer
    to (``referenced``). Locks the parents found, as the trigger would."""
    found: list[tuple[Restore, Problem]] = []
    for restore in restores:
        family = set(restore.table.ancestors)
        for key in keys:
            if key.child in family:
                for row in await _orphans(session, restore, key):
                    found.append((restore, Problem(row=row, why="orphan")))
            if key.parent in family:
                for row in await _referenced(session, restore, key):
                    found.append((restore, Problem(row=row, why="referenced")))
    return found


async def loose(peer: Session, keys: Sequence[ForeignKey], refusal: Deny | None) -> Deny | None:
    """Of a call that concerns ``keys``, which are NOT VALID: ``refusal`` is what trying its way
    back came to. Where it could not be tried, the call is refused if rows refer to nothing now."""
    if refusal is None:
        return None
    for key in keys:
        if await dangling(peer, key):
            return Deny(
                reason="undo.unavailable",
                detail=f"This cannot be undone exactly: foreign key {key.name!r} is NOT VALID, and "
                "there are rows that refer to nothing, which a revert would not leave so. It was "
                "rolled back and nothing changed.",
            )
    return None if refusal.reason == "undo.unavailable" else refusal


async def dangling(peer: Session, key: ForeignKey) -> bool:
    """Whether some row refers to nothing by ``key``."""
    children = [f"c.{_quoted(c)}" for c in key.child_columns]
    filled = " AND ".join(f"{child} IS NOT NULL" for child in children)
    (found,) = await peer.one(
        f"SELECT EXISTS (SELECT 1 FROM {key.child_name} c WHERE {filled} AND NOT EXISTS "
        f"(SELECT 1 FROM {key.parent_name} p WHERE {_equal('p', key, children)}))"
    )
    return bool(found)


async def _orphans(session: Session, restore: Restore, key: ForeignKey) -> list[int]:
    source, among, line = restore.put
    rows = f"{source} WHERE {among}"
    children = [f"b.{_quoted(c)}" for c in key.child_columns]
    match = _equal("p", key, children)
    await session.rows(
        f"SELECT count(*) FROM (SELECT 1 FROM {key.parent_name} p WHERE EXISTS "
        f"(SELECT 1 FROM {rows} AND {match}) FOR KEY SHARE OF p) locked"
    )
    filled = " AND ".join(f"{child} IS NOT NULL" for child in children)
    lost = await session.rows(
        f"SELECT {line} FROM {rows} AND {filled} AND NOT EXISTS "
        f"(SELECT 1 FROM {key.parent_name} p WHERE {match})"
    )
    return [row for (row,) in lost]


async def _referenced(session: Session, restore: Restore, key: ForeignKey) -> list[int]:
    children = [f"c.{_quoted(c)}" for c in key.child_columns]
    source, among, line = restore.taken
    lost = await session.rows(
        f"SELECT DISTINCT {line} FROM {source} "
        f"JOIN {key.child_name} c ON {_equal('o', key, children)} WHERE {among} AND NOT EXISTS "
        f"(SELECT 1 FROM {key.parent_name} p WHERE {_equal('p', key, children)})"
    )
    return [row for (row,) in lost]


def _equal(alias: str, key: ForeignKey, children: Sequence[str]) -> str:
    parts = zip(key.parent_columns, key.operators, children, key.collations, strict=True)
    return " AND ".join(
        f"{alias}.{_quoted(parent)} {op} {child}{collation}"
        for parent, op, child, collation in parts
    )


def _quoted(name: str) -> str:
    return Identifier(name).as_string()
