"""Sequences that a call set back. No rollback takes that back, and the next numbers drawn would be
ones that are taken, so it is noticed and mended while the transaction is still open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.sql import Identifier

from gateway.upstreams.sql.postgres.ddl.sequences import further, stands
from gateway.upstreams.sql.postgres.session import Session

_ALL = """
SELECT s.oid::int8, n.nspname, s.relname, q.seqincrement
  FROM pg_catalog.pg_class s
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
 WHERE s.relkind = 'S' AND s.relpersistence <> 't'
   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_table_privilege(s.oid, 'SELECT')"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one sequence stood: the last value, and whether it was drawn."""

    schema: str
    name: str
    step: int
    value: tuple[int, bool]

    @property
    def resource(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return Identifier(self.schema, self.name).as_string()


async def standings(peer: Session) -> dict[str, Standing]:
    """Every sequence that the role of ``peer`` may read, by ``schema.name``."""
    found = {oid: rest for oid, *rest in await peer.rows(_ALL)}
    if not found:
        return {}
    parts = (
        f"SELECT {oid}::int8, last_value, is_called FROM {Identifier(schema, name).as_string()}"
        for oid, (schema, name, _) in found.items()
    )
    values = {oid: (last, drawn) for oid, last, drawn in await peer.rows(" UNION ALL ".join(parts))}
    return {
        f"{schema}.{name}": Standing(schema=schema, name=name, step=step, value=values[oid])
        for oid, (schema, name, step) in found.items()
    }


async def set_back(
    peer: Session, before: Mapping[str, Standing], locked: Sequence[str]
) -> str | None:
    """Mends the sequences among ``locked`` that stand behind where they stood, and says so in a
    sentence. ``peer`` is not part of the transaction that set them."""
    said: list[str] = []
    for name in locked:
        stood = before.get(name)
        if stood is None:
            continue
        now = await stands(peer, stood.quoted)
        if further(now, stood.value, stood.step) == now:
            continue
        values = (stood.quoted, *stood.value)
        done = "and put where it stood"
        try:
            await peer.rows("SELECT pg_catalog.setval(%s::text::regclass, %s, %s)", *values)
        except psycopg.errors.InsufficientPrivilege:
            done = f"and the capture role needs UPDATE ON SEQUENCE {stood.quoted} to put it back"
        said.append(f"{name} was set back from {stood.value[0]} to {now[0]} {done}")
    return "; ".join(said) or None
