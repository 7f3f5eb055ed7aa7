"""Values of columns on the way back of a schema change: laid out where columns come back, kept
where they go, so that this can be taken back in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from psycopg.sql import Identifier

from gateway.errors import SnapshotFailed
from gateway.model import Conflict
from gateway.upstreams.sql.postgres import catalog
from gateway.upstreams.sql.postgres.catalog import Table
from gateway.upstreams.sql.postgres.copying import Segments
from gateway.upstreams.sql.postgres.ddl.columns import keep, kept_again, laid_out, stored
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.ddl.records import Part
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.sink import Sink


async def valued(
    session: Session, part: Part, segments: Callable[[], Segments], sink: Sink, budget: int
) -> Part:
    """Before the statements of ``part.undo`` run; gives the part that takes them back in turn.
    ``segments`` opens the image of ``part``, and ``sink`` takes the values that go. Raises
    ``NoWayBack``."""
    if part.kept is None:
        return await _taken_along(session, part, sink, budget)
    if part.kept.fill in part.undo:
        await laid_out(session, part.kept, segments())
        return part.swapped
    return replace(part.swapped, kept=await kept_again(session, part.kept, sink, budget))


async def written_since(session: Session, part: Part) -> list[Conflict]:
    """Values that others gave to columns which the call added. Where a column's default is more
    than a constant that cannot be told, and nothing is said."""
    found: list[Conflict] = []
    if part.kept is not None:
        return found  # it filled them
    for table, names in await _going(session, part):
        for name in names:
            given = _given(part, table, name)
            rows = 0 if given is None else await _unlike(session, table, name, given)
            if rows:
                found.append(
                    Conflict(
                        resource=table.resource,
                        key={"column": name},
                        before=None,
                        after={"rows": 0},
                        now={"rows": rows},
                        why="changed",
                    )
                )
    return found


def _given(part: Part, table: Table, name: str) -> str | None:
    """The constant that every row had in a column as the call added it."""
    made = part.difference.after[f"relation {table.oid} column {name}"]
    default = made["default"] or "NULL"
    return None if "(" in default or made["attidentity"] else str(default)


async def _unlike(session: Session, table: Table, name: str, value: str) -> int:
    column = Identifier(name).as_string()
    (rows,) = await session.one(
        f"SELECT count(*) FROM ONLY {table.quoted} AS x "
        f"WHERE x.{column}::text IS DISTINCT FROM ({value})::text"
    )
    return int(rows)


async def _taken_along(session: Session, part: Part, sink: Sink, budget: int) -> Part:
    """Columns that the call added go with the values in them."""
    going = await _going(session, part)
    if not await _own(session, part, going):
        return part.swapped  # adding them again gives every row the same
    lost = replace(part.swapped, undo=())  # what cannot be kept cannot be had once more
    ((table, names), *others) = going
    if others or not part.redo:
        return lost
    try:
        await session.run(f"LOCK TABLE ONLY {table.quoted} IN EXCLUSIVE MODE")
        _, found = await keep(session, table.oid, names, f"holdfast_added_{table.oid}")
        if found is None:
            return lost
        kept = await stored(session, found, sink, budget)
    except (NoWayBack, SnapshotFailed):
        return lost
    adding = [n for n, statement in enumerate(part.redo) if " ADD COLUMN " in statement]
    if not adding:
        return lost
    after = adding[-1] + 1
    undo = (*part.redo[:after], kept.fill, *part.redo[after:])
    return replace(part.swapped, undo=undo, kept=kept)


async def _going(session: Session, part: Part) -> list[tuple[Table, list[str]]]:
    """Tables with the stored columns that taking ``part`` back removes from them."""
    added: dict[int, list[str]] = {}
    for key in part.difference.after:
        first, number, kind, *name = [*key.split(" ", 3), "", ""]
        if (first, kind) == ("relation", "column") and key not in part.difference.before:
            added.setdefault(int(number), []).append(name[0])
    if not added or not _drops(part.undo):
        return []
    tables = await catalog.tables(session, sorted(added))
    found = []
    for oid, table in tables.items():
        there = {c.name for c in table.stored}
        names = [name for name in added[oid] if name in there]
        if names:
            found.append((table, names))
    return found


def _drops(statements: Sequence[str]) -> bool:
    return any(" DROP COLUMN " in statement for statement in statements)


async def _own(session: Session, part: Part, going: Sequence[tuple[Table, list[str]]]) -> bool:
    """Whether columns hold values that adding them again would not give them."""
    for table, names in going:
        for name in names:
            if await _unlike(session, table, name, _given(part, table, name) or "NULL"):
                return True
    return False
