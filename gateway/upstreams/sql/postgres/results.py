"""Replies of the server as the surface's JSON."""

from __future__ import annotations

from gateway.model import Json
from gateway.upstreams.sql.masking import Origin
from gateway.upstreams.sql.postgres.replies import Reply
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.values import render_text

_ORIGINS = """
SELECT c.oid::int8, a.attnum, n.nspname || '.' || c.relname, a.attname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.oid = ANY(%s::int8[]::oid[]) AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0"""

_READING = ("SELECT", "SHOW", "EXPLAIN", "FETCH", "MOVE")  # tags that count rows and change none


class TypeNames:
    """Names of types by oid, asked once each."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    async def render(self, session: Session, verb: str, reply: Reply) -> dict[str, Json]:
        """``{"verb", "columns", "rows", "affected"}``; what JSON cannot hold exactly is text."""
        await self._learn(session, {oid for _, oid in reply.columns})
        types = [self._names[oid] for _, oid in reply.columns]
        rows = [
            [
                None if value is None else render_text(value.decode(), type_)
                for value, type_ in zip(row, types, strict=True)
            ]
            for row in reply.rows
        ]
        columns = [
            {"name": name, "type": type_}
            for (name, _), type_ in zip(reply.columns, types, strict=True)
        ]
        affected = 0 if reply.tag.startswith(_READING) else reply.affected
        return {"verb": verb, "columns": columns, "rows": rows, "affected": affected}

    async def origins(self, session: Session, reply: Reply) -> list[Origin | None]:
        """Where each column of ``reply`` comes straight from. Columns of views are computed."""
        oids = sorted({oid for oid, _ in reply.origins if oid})
        found: dict[tuple[int, int], Origin] = {}
        for oid, number, table, column in await session.rows(_ORIGINS, oids) if oids else ():
            found[oid, number] = (table, column)
        return [found.get(origin) for origin in reply.origins]

    async def _learn(self, session: Session, oids: set[int]) -> None:
        unknown = sorted(oids - self._names.keys())
        if not unknown:
            return
        for oid, name in await session.rows(
            "SELECT o::int8, pg_catalog.format_type(o::oid, NULL) "
            "FROM pg_catalog.unnest(%s::int8[]) AS o",
            unknown,
        ):
            self._names[oid] = name
