"""PostgreSQL for the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from gateway.model import Undo
from gateway.store.images import Images
from gateway.store.shelves import FolderShelf
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.values import render_text
from tests.fixtures.postgres_server import PostgresServer

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1"""
_PINS = "-c DateStyle=ISO -c extra_float_digits=3 -c TimeZone=UTC -c client_min_messages=error"


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


_UNCHANGING = (
    "SAVEPOINT",
    "RELEASE",
    "ROLLBACK",
    "SELECT",
    "DO",
    "CALL",
    "PREPARE",
    "DEALLOCATE",
    "DECLARE",
    "FETCH",
    "CLOSE",
)


class Postgres:
    """``Engine``. Agents have an unprivileged role with rights on everything in ``public``; the
    gateway's own role has what ``holdfast source prepare`` gives it. Neither is a superuser."""

    def __init__(self, server: PostgresServer, version: str, folder: Path) -> None:
        self.version = version
        self.server = server
        self.database = server.create_database()
        self._admin = psycopg.connect(server.url(self.database), autocommit=True, options=_PINS)
        self._admin.execute(
            "DO $$ BEGIN CREATE ROLE agent LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        self._agent = psycopg.connect(
            server.url(self.database, "agent"), options=_PINS, row_factory=dict_row
        )
        self._images = Images(FolderShelf(folder))
        self.upstream = PostgresUpstream(
            "app",
            url=server.url(self.database, "agent"),
            capture_url=server.url(self.database, "matrix_keeper"),
            environment="test",
            spooler=self._images,
            clock=_Clock(),
        )

    async def prepare(self) -> None:
        pieces = await self.upstream.prepare(
            apply=True, include=frozenset(), admin_url=self.server.url(self.database)
        )
        assert {piece.state for piece in pieces if piece.unasked} <= {"there", "applied"}, pieces

    @property
    def number(self) -> int:
        return self._admin.info.server_version

    async def close(self) -> None:
        await self.upstream.close()
        self._agent.close()
        self._admin.close()
        self.server.drop_database(self.database)

    def setup(self, sql: str) -> None:
        self._admin.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
            "DROP SCHEMA IF EXISTS unseen CASCADE; ALTER ROLE agent NOBYPASSRLS"
        )
        self._admin.execute(sql.encode())
        self._admin.execute(
            "GRANT USAGE ON SCHEMA public TO agent;"
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO agent;"
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO agent"
        )

    def rows(self) -> Mapping[str, Any]:
        """COPY binary, so that nothing depends on how a value is written."""
        found: dict[str, Any] = {}
        for (table,) in self._admin.execute(_TABLES).fetchall():
            try:
                found[table] = self._copied(table, " (FORMAT binary)")
            except psycopg.errors.UndefinedFunction:  # a type that has none
                found[table] = self._copied(table, "")
        found["large objects"] = self._admin.execute(
            "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
        ).fetchall()
        return found

    def _copied(self, table: str, form: str) -> list[bytes]:
        with self._admin.cursor().copy(
            f"COPY (SELECT * FROM ONLY {table}) TO STDOUT{form}"
        ) as copy:
            # The first message also holds the head.
            return sorted(bytes(row).removeprefix(_HEAD) for row in copy)

    def kept(self, undo: Undo) -> Undo:
        return replace(undo, image=b"".join(self._images.read(undo)), spooled=None)

    def schema(self) -> Mapping[str, Any]:
        return {"schema": self.server.schema(self.database)}

    def numbers(self) -> Mapping[str, int]:
        return {
            name: number or 0
            for name, number in self._admin.execute(
                "SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences"
            )
        }

    def plain(self, sql: str, stdin: str | None = None) -> Mapping[str, Any]:
        results: list[dict[str, Any]] = []
        try:
            if stdin is not None:
                cursor = self._agent.cursor()
                with cursor.copy(sql.encode()) as copy:
                    copy.write(stdin)
                self._agent.execute("SET CONSTRAINTS ALL IMMEDIATE")
                return {"results": [{"affected": cursor.rowcount, "rows": []}]}
            for statement in [sql] if sql.startswith("DO ") else sql.split(";"):
                cursor = self._agent.execute(statement.encode())
                rows: list[list[Any]] = []
                if cursor.description is not None:
                    types = [_type(self._admin, c.type_code) for c in cursor.description]
                    result = cursor.pgresult
                    assert result is not None
                    rows = [
                        [
                            None if value is None else render_text(value.decode(), type_)
                            for type_, value in zip(
                                types,
                                (result.get_value(r, c) for c in range(result.nfields)),
                                strict=True,
                            )
                        ]
                        for r in range(result.ntuples)
                    ]
                changes = not (cursor.statusmessage or "").startswith(_UNCHANGING)
                results.append({"affected": cursor.rowcount if changes else 0, "rows": rows})
            self._agent.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as error:
            return {"error": error.sqlstate}
        finally:
            self._agent.rollback()
        return {"results": results}


_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def _type(connection: psycopg.Connection[Any], oid: int) -> str:
    found = connection.execute("SELECT format_type(%s, NULL)", (oid,)).fetchone()
    assert found is not None
    return str(found[0])
