"""MariaDB and MySQL for the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pymysql

from gateway.interfaces import Upstream
from gateway.model import Undo
from gateway.upstreams.sql.mysql.failures import upstream_error
from gateway.upstreams.sql.mysql.results import render
from gateway.upstreams.sql.mysql.session import Door, Session, Timeouts
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer

_DEFINING = ("CREATE", "DROP", "ALTER", "TRUNCATE", "RENAME")


class Mariadb:
    """``Engine``. What the agent would see without a gateway is asked of a second database with
    the same in it, as a change of the schema cannot be rolled back."""

    def __init__(self, server: MariadbServer) -> None:
        self.version = "mysql" if server.kind == "mysql" else "packaged"
        self.case = Case(server, server.create_database())
        self._twin = Case(server, server.create_database())
        self._setup: list[str] = []
        url = server.url(self._twin.database, "agent", "agent")
        self._door = Door("twin", url, Timeouts(statement=20, lock=2, idle=600))

    @property
    def upstream(self) -> Upstream:
        return self.case.source

    async def close(self) -> None:
        for case in (self.case, self._twin):
            await case.close()
            case.server.drop_database(case.database)

    def setup(self, sql: str) -> None:
        self._setup = [part.strip() for part in sql.split(";") if part.strip()]
        for case in (self.case, self._twin):
            case.setup(*self._setup)

    def rows(self) -> Mapping[str, Any]:
        """Definitions are part of it: some statements change them."""
        return self.case.dump()

    def schema(self) -> Mapping[str, Any]:
        return {name: self._defined(found) for name, found in self.case.dump().items()}

    def _defined(self, found: Any) -> Any:
        return found[0] if isinstance(found, tuple) else found

    def numbers(self) -> Mapping[str, int]:
        return {
            str(name): int(number)
            for name, number in self.case.run(
                "SELECT table_name, auto_increment FROM information_schema.tables WHERE "
                f"table_schema = '{self.case.database}' AND auto_increment IS NOT NULL "
                "AND table_name NOT LIKE 'holdfast%'"
            )
        }

    def kept(self, undo: Undo) -> Undo:
        if undo.spooled is None:
            return undo
        image = b"".join(self.case.source._spooler.read(undo))
        return replace(undo, image=image, spooled=None)

    def plain(self, sql: str, stdin: str | None = None) -> Mapping[str, Any]:
        session = self._door.connect()
        try:
            return self._ran(session, sql)
        finally:
            session.close()
            if sql.startswith(_DEFINING) or "MyISAM" in " ".join(self._setup):
                self._twin.setup(*self._setup)

    def _ran(self, session: Session, sql: str) -> Mapping[str, Any]:
        session.run("START TRANSACTION")
        results: list[dict[str, Any]] = []
        try:
            for statement in sql.split(";"):
                reply = session.statement(statement, max_rows=1000, max_bytes=1 << 20)
                results.append(render("any", reply))
        except pymysql.Error as error:
            return {"error": upstream_error(error, "twin").extra.get("sqlstate")}
        finally:
            session.run("ROLLBACK")
        return {"results": results}
