"""Values of columns that an ALTER TABLE takes away or turns into another type: kept with the key of
their rows, and put back by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.sql import Identifier

from gateway.errors import SnapshotFailed
from gateway.model import Json
from gateway.upstreams.sql.postgres import catalog
from gateway.upstreams.sql.postgres.catalog import Table
from gateway.upstreams.sql.postgres.copying import Segments, copy_in, copy_out
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.phrases import row_text
from gateway.upstreams.sql.postgres.session import Session, TooMuch
from gateway.upstreams.sql.postgres.sink import Sink

_PARTS = """
SELECT c.relkind = 'p' OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
         WHERE i.inhparent = c.oid OR i.inhrelid = c.oid)
FROM pg_catalog.pg_class c WHERE c.oid = %s::int8::oid"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The values of one call, as they lie in its image. ``copy``: a temporary table of this name is
    filled with them; ``definition``: its columns; ``fill``: puts them back from there."""

    table: int
    copy: str
    definition: str
    fill: str
    offset: int
    size: int
    binary: bool
    taken: tuple[str, ...] = ()  # the columns whose values these are

    def as_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Kept:
        return cls(**{**data, "taken": tuple(data.get("taken", ()))})


async def keep(
    own: Session, oid: int, names: Sequence[str], copy: str
) -> tuple[Table, Kept | None]:
    """Copies the columns ``names`` of the table ``oid`` into the temporary table ``copy`` of the
    open transaction. Nobody writes the table until it ends. ``None`` where rows have no key, or
    the key is among what is taken. Raises ``NoWayBack``."""
    (parts,) = await own.one(_PARTS, oid)
    (hidden,) = await own.one("SELECT pg_catalog.row_security_active(%s::int8::oid)", oid)
    if hidden:
        raise NoWayBack("row security hides rows of the table from the role that changes it")
    table = (await catalog.tables(own, [oid])).get(oid)
    if parts or table is None:
        raise NoWayBack("it takes values out of a table that has parts or heirs")
    taken = [c for c in table.stored if c.name in names]
    if table.key is None or set(table.key.columns) & {c.name for c in taken}:
        return table, None
    keys = [c for c in table.stored if c.name in table.key.columns]
    await _away(own, copy)
    listed = ", ".join(f"x.{c.quoted}" for c in (*keys, *taken))
    await own.run(
        f"CREATE TEMPORARY TABLE {copy} ON COMMIT DROP AS SELECT {listed} "
        f"FROM ONLY {table.quoted} AS x"
    )
    same = " AND ".join(
        f"t.{Identifier(name).as_string()} {operator} i.{Identifier(name).as_string()}"
        for name, operator in zip(table.key.columns, table.key.operators, strict=True)
    )
    values = ", ".join(f"{c.quoted} = i.{c.quoted}" for c in taken)
    return table, Kept(
        table=oid,
        copy=copy,
        definition=", ".join(f"{c.quoted} {c.type}" for c in (*keys, *taken)),
        fill=f"UPDATE ONLY {table.quoted} AS t SET {values} FROM pg_temp.{copy} AS i WHERE {same}",
        offset=0,
        size=0,
        binary=table.binary,
        taken=tuple(names),
    )


async def _away(session: Session, copy: str) -> None:
    """Another revert in the same transaction may have filled it."""
    await session.run("SET LOCAL client_min_messages = warning")
    await session.run(f"DROP TABLE IF EXISTS pg_temp.{copy}")


async def kept_again(session: Session, kept: Kept, sink: Sink, budget: int) -> Kept:
    """The values as they are now, before the same columns are taken away once more. Raises
    ``NoWayBack`` and ``SnapshotFailed``."""
    table = (await catalog.tables(session, [kept.table])).get(kept.table)
    if table is None or not kept.taken:
        raise NoWayBack("the values that it takes away once more cannot be kept")
    await session.run(f"LOCK TABLE ONLY {table.quoted} IN EXCLUSIVE MODE")
    _, found = await keep(session, kept.table, kept.taken, kept.copy)
    if found is None:
        raise NoWayBack("the values that it takes away once more cannot be kept")
    return await stored(session, found, sink, budget)


async def stored(own: Session, kept: Kept, sink: Sink, budget: int) -> Kept:
    """The copy goes into the image of the call."""
    offset = sink.size
    try:
        done = await copy_out(
            own,
            f"SELECT * FROM pg_temp.{kept.copy}",
            sink.write,
            binary=kept.binary,
            budget=budget,
        )
    except TooMuch:
        raise SnapshotFailed(
            "The values are more than the bytes that are kept for one call."
        ) from None
    return Kept(**{**asdict(kept), "offset": offset, "size": done.size})


async def laid_out(session: Session, kept: Kept, segments: Segments) -> None:
    """The copy stands again, for the statement that fills the columns from it."""
    await _away(session, kept.copy)
    await session.run(f"CREATE TEMPORARY TABLE {kept.copy} ({kept.definition}) ON COMMIT DROP")
    if kept.size:
        parts = segments.part(kept.offset, kept.size)
        await copy_in(session, f"pg_temp.{kept.copy}", parts, binary=kept.binary)


async def digest(session: Session, table: Table) -> tuple[Any, ...]:
    """Of all values of all rows, whatever the order of columns."""
    columns = sorted(table.columns, key=lambda c: c.name)
    return await session.one(
        f"SELECT count(*), COALESCE(sum(pg_catalog.hashtextextended({row_text('x', columns)}, 0)"
        f"::numeric), 0)::text FROM ONLY {table.quoted} AS x"
    )
