"""The three databases for suites."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pymysql

from gateway.interfaces import Upstream
from gateway.model import Undo
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.postgres_server import PostgresServer
from tests.matrix.postgres import Postgres
from tests.matrix.test_sqlite import state
from tests.upstreams.sql.sqlite.driving import Driver

# What concerns the session or the whole server.
_ELSEWHERE = re.compile(
    r"^\s*(begin|start|commit|rollback|end|abort|savepoint|release|set|reset|use|lock|unlock|flush"
    r"|kill|shutdown|vacuum|attach|detach|listen|notify|unlisten|discard|load|install|uninstall"
    r"|prepare|execute|deallocate|declare|fetch|move|close|call|xa|handler|purge|change|checkpoint"
    r"|pragma|reassign|security|copy|backup|analyze|explain\s+analyze)\b"
    r"|\b(database|tablespace|role|user|grant|revoke|global|outfile|dumpfile|load_file|server"
    r"|subscription|extension|language|foreign\s+data|event\s+trigger|get_lock|sleep|benchmark"
    r"|pg_sleep|temp|temporary|password|load_extension|writable_schema|dblink|plugin)\b",
    re.IGNORECASE,
)
_SETTINGS = re.compile(r"^(SET default_.*|-- PostgreSQL database dump complete)$", re.MULTILINE)


def fits(sql: str) -> bool:
    if getattr(sql, "stdin", ""):
        return True
    return "$" not in sql and _ELSEWHERE.search(sql) is None


class MariadbTarget:
    def __init__(self, server: MariadbServer) -> None:
        with server.connect() as root, root.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS test")
            cursor.execute("CREATE DATABASE test")  # as the files call it
        self.case = Case(server, "test")
        self.case.setup()
        self._most = "max_execution_time" if server.kind == "mysql" else "max_statement_time"
        self._second = 1000 if server.kind == "mysql" else 1
        self.case.run(f"SET lock_wait_timeout = 5, {self._most} = {20 * self._second}")

    @property
    def upstream(self) -> Upstream:
        return self.case.source

    def dump(self) -> Mapping[str, Any]:
        return {
            name: told
            for name, told in self.case.dump().items()
            if not (isinstance(told, tuple) and " SEQUENCE=1" in told[0])
        }

    def plain(self, sql: str) -> None:
        bare = self.case.connection()
        with contextlib.suppress(pymysql.Error), bare, bare.cursor() as cursor:
            cursor.execute(f"SET {self._most} = {5 * self._second}, lock_wait_timeout = 2")
            cursor.execute(sql)

    def kept(self, undo: Undo) -> Undo:
        if undo.spooled is None:
            return undo
        return replace(undo, image=b"".join(self.case.images.read(undo)), spooled=None)

    def fits(self, sql: str) -> bool:
        return fits(sql)


class PostgresTarget:
    """Everything belongs to the agents' role."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.engine = Postgres(server, "packaged", folder)
        url = server.url(self.engine.database)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("ALTER SCHEMA public OWNER TO agent")
            admin.execute(f"GRANT ALL ON DATABASE {self.engine.database} TO agent".encode())
        self._url = server.url(self.engine.database, "agent")

    @property
    def upstream(self) -> Upstream:
        return self.engine.upstream

    def dump(self) -> Mapping[str, Any]:
        rows = {n: r for n, r in self.engine.rows().items() if not n.startswith("holdfast_")}
        # In which order things are written depends on what else there is.
        parts = str(self.engine.schema()["schema"]).split("\n--\n-- Name: ")[1:]
        own = (part for part in parts if "holdfast_" not in part.partition("\n")[0])
        return {**rows, "schema": sorted(_SETTINGS.sub("", part).strip("\n-") for part in own)}

    def plain(self, sql: str) -> None:
        options = "-c statement_timeout=5000 -c lock_timeout=2000"
        bare = psycopg.connect(self._url, autocommit=True, options=options)
        with contextlib.suppress(psycopg.Error), bare:
            bare.execute(sql.encode())

    def kept(self, undo: Undo) -> Undo:
        return self.engine.kept(undo)

    def fits(self, sql: str) -> bool:
        return fits(sql.replace("$$", "")) and ":'" not in sql


class SqliteTarget:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def upstream(self) -> Upstream:
        return self._driver.upstream

    def dump(self) -> Mapping[str, Any]:
        rows, *rest = state(self._driver.path)
        return {"rows": rows, "schema": rest}

    def plain(self, sql: str) -> None:
        bare = apsw.Connection(str(self._driver.path))
        try:
            bare.set_busy_timeout(500)
            until = time.monotonic() + 5  # some are endless
            bare.set_progress_handler(lambda: time.monotonic() > until, 10_000)
            with contextlib.suppress(apsw.Error):
                bare.execute(sql).fetchall()
        finally:
            bare.close()

    def kept(self, undo: Undo) -> Undo:
        return undo  # the spooler of the driver keeps what is small, and all of it is

    def fits(self, sql: str) -> bool:
        return fits(sql)
