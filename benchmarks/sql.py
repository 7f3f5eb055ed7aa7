"""SQL through the gateway against the same SQL sent directly."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import psycopg

from benchmarks.report import Row
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.serving import Served, served

TABLE_ROWS = 200_000
POLICY = """package gateway

import rego.v1

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {}}
"""


class Database(Protocol):
    name: str

    def run(self, sql: str) -> None: ...


class Sqlite:
    name = "SQLite"

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous=FULL")

    def run(self, sql: str) -> None:
        self._connection.execute("BEGIN IMMEDIATE" if not sql.startswith("SELECT") else "BEGIN")
        self._connection.execute(sql).fetchall()
        self._connection.execute("COMMIT")


class Postgres:
    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def run(self, sql: str) -> None:
        cursor = self._connection.execute(sql)
        if cursor.description is not None:
            cursor.fetchall()


def fill(database: Database) -> None:
    """A table of about 180 bytes a row, and a spare copy that direct runs are restored from."""
    database.run(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, state TEXT NOT NULL, "
        "body TEXT NOT NULL)"
    )
    for start in range(0, TABLE_ROWS, 10_000):
        rows = ", ".join(
            f"({id}, {id % 997}, 'open', '{id:0140d}')" for id in range(start, start + 10_000)
        )
        database.run(f"INSERT INTO item VALUES {rows}")
    database.run(
        "CREATE TABLE spare (id INTEGER PRIMARY KEY, owner INTEGER, state TEXT, body TEXT)"
    )
    database.run("INSERT INTO spare SELECT * FROM item")


def guarded(client: httpx.Client, source: str, sql: str) -> tuple[float, str]:
    """Seconds, and the call's id."""
    began = time.perf_counter()
    answer = client.post(f"/sql/{source}", json={"sql": sql})
    took = time.perf_counter() - began
    assert answer.status_code == 200, answer.text
    return took, answer.json()["call"]


def timed(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def taken_back(admin: httpx.Client, call: str) -> float:
    began = time.perf_counter()
    answer = admin.post("/admin/reverts", json={"call": call})
    took = time.perf_counter() - began
    assert answer.json()["state"] == "reverted", answer.text
    return took


def measure(database: Database, source: str, gateway: Served, size: int, rounds: int) -> list[Row]:
    below = f"id < {size}"
    reads = Row(database.name, "SELECT", size)
    deletes = Row(database.name, "DELETE", size)
    updates = Row(database.name, "UPDATE", size)
    statements = {
        "select": f"SELECT id, owner, state FROM item WHERE id < {min(size, 10_000)}",
        "delete": f"DELETE FROM item WHERE {below}",
        "update": f"UPDATE item SET state = 'done', owner = owner + 1 WHERE {below}",
    }
    restore = {
        "delete": f"INSERT INTO item SELECT * FROM spare WHERE {below}",
        "update": f"UPDATE item SET state = 'open', owner = id % 997 WHERE {below}",
    }
    rng = random.Random(size)
    with gateway.agent() as agent, gateway.admin() as admin:
        for round_ in range(rounds + 1):  # the first warms up and is not counted
            for verb, row in (("select", reads), ("delete", deletes), ("update", updates)):
                sql = statements[verb]
                found: dict[str, float] = {}
                for way in rng.sample(["direct", "guarded"], 2):
                    if way == "direct":
                        found[way] = timed(lambda sql=sql: database.run(sql))
                        if verb in restore:
                            database.run(restore[verb])
                    else:
                        found[way], call = guarded(agent, source, sql)
                        if verb in restore:
                            found["revert"] = taken_back(admin, call)
                if round_:
                    row.direct.append(found["direct"])
                    row.guarded.append(found["guarded"])
                    if "revert" in found:
                        row.reverts.append(found["revert"])
    return [reads, deletes, updates]


def config(folder: Path, url: str, capture_url: str | None = None) -> Path:
    policies = folder / "policies"
    policies.mkdir()
    (policies / "gateway.rego").write_text(POLICY)
    own = f'capture_url: "{capture_url}", ' if capture_url else ""
    config = folder / "config.yaml"
    config.write_text(
        f"""
store: {{url: "sqlite:///{folder}/store.db"}}
policy: {{path: "{policies}"}}
snapshots: {{path: "{folder}/snapshots"}}
limits: {{max_rows: 10000000, max_share: 1.0, statement_timeout_s: 100.0}}
identity:
  admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"
  agents: [{{name: bench, token: "${{HOLDFAST_AGENT_TOKEN}}", roles: [bench]}}]
sources:
  bench: {{url: "{url}", {own}environment: benchmark}}
telemetry: {{log_level: error}}
"""
    )
    return config


def _campaign(database: Database, url: str, folder: Path, sizes: list[int], n: int) -> list[Row]:
    with served(folder, config(folder, url)) as gateway:
        return [row for size in sizes for row in measure(database, "bench", gateway, size, n)]


def run(databases: list[str], sizes: list[int], rounds: int) -> list[Row]:
    found: list[Row] = []
    if "sqlite" in databases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            database = Sqlite(folder / "bench.db")
            fill(database)
            url = f"sqlite:///{folder}/bench.db"
            found += _campaign(database, url, folder, sizes, rounds)
    if "postgres" in databases:
        with tempfile.TemporaryDirectory() as name, PostgresServer.started() as server:
            url = server.url(server.create_database())
            postgres = Postgres(url)
            fill(postgres)
            postgres.run("VACUUM ANALYZE item")
            found += _campaign(postgres, url, Path(name), sizes, rounds)
    return found
