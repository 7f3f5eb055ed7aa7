"""A MariaDB or MySQL source as outside programs meet it: a served gateway, HTTP, nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.serving import ROOT, Served, served

CONFIG = """
server: {{host: 127.0.0.1, port: 0}}
store: {{url: "sqlite:///{home}/store.db"}}
policy: {{path: {policies}}}
snapshots: {{path: {home}/snapshots}}
limits: {{max_rows: 10, max_share: 0.9}}
identity:
  admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"
  agents:
    - {{name: demo, token: "${{HOLDFAST_AGENT_TOKEN}}", roles: [developer]}}
sources:
  app: {{url: "${{APP_URL}}", capture_url: "${{APP_OWN_URL}}", environment: staging}}
"""
SETUP = (
    "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(40), balance DECIMAL(10,2))",
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer INT, FOREIGN KEY (customer) "
    "REFERENCES customers (id) ON DELETE CASCADE)",
    "INSERT INTO customers SELECT seq, CONCAT('n', seq), seq * 1.5 FROM seq_1_to_20",
    "INSERT INTO orders SELECT seq + 9007199254740993, 1 + seq % 20 FROM seq_1_to_40",
)


@dataclass(frozen=True)
class World:
    gateway: Served
    agent: httpx.Client
    admin: httpx.Client
    server: MariadbServer
    database: str
    config: Path

    def sql(self, text: str, **body: Any) -> httpx.Response:
        return self.agent.post("/sql/app", json={"sql": text, **body})

    def rows(self, query: str) -> list[Any]:
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, each_mysql: MariadbServer) -> Iterator[World]:
    home = tmp_path_factory.mktemp("mariadb")
    database = each_mysql.create_database()
    with each_mysql.connect(database) as connection, connection.cursor() as cursor:
        for statement in SETUP:
            cursor.execute(each_mysql.spelled(statement))
        cursor.execute("CREATE DATABASE IF NOT EXISTS holdfast")
        for host in ("localhost", "'127.0.0.1'"):
            cursor.execute(f"CREATE USER IF NOT EXISTS app@{host} IDENTIFIED BY 'app'")
            cursor.execute(f"GRANT ALL ON {database}.* TO app@{host}")
            cursor.execute(f"GRANT ALL ON holdfast.* TO app@{host}")
    config = home / "config.yaml"
    config.write_text(CONFIG.format(home=home, policies=ROOT / "policies"))
    urls = {
        "APP_URL": each_mysql.url(database, "app", "app"),
        "APP_OWN_URL": each_mysql.url(database),
    }
    with (
        served(home, config, **urls) as gateway,
        gateway.agent() as agent,
        gateway.admin() as admin,
    ):
        yield World(gateway, agent, admin, each_mysql, database, config)
    each_mysql.drop_database(database)


def test_a_read(world: World) -> None:
    answer = world.sql(
        "SELECT o.id, c.balance FROM orders o JOIN customers c ON c.id = o.customer "
        "WHERE c.name = ? ORDER BY o.id LIMIT 1",
        params=["n2"],
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["columns"] == [
        {"name": "id", "type": "bigint"},
        {"name": "balance", "type": "decimal"},
    ]
    assert body["rows"] == [["9007199254740994", "3.00"]]
    assert (body["verb"], body["effect"]) == ("select", "none")


def test_a_delete_with_its_cascade_and_the_way_back(world: World) -> None:
    before = world.rows("SELECT * FROM customers ORDER BY id")
    orders = world.rows("SELECT * FROM orders ORDER BY id")
    answer = world.sql("DELETE FROM customers WHERE id = 3")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["affected"], body["effect"]) == (1, "applied")
    assert (body["undo"]["reversibility"], body["undo"]["available"]) == ("exact", True)
    record = world.admin.get(f"/admin/calls/{body['call']}").json()
    assert record["measured"]["rows"] == 3
    job = world.admin.post("/admin/reverts", json={"call": body["call"]}).json()
    assert job["state"] == "reverted", job
    assert world.rows("SELECT * FROM customers ORDER BY id") == before
    assert world.rows("SELECT * FROM orders ORDER BY id") == orders


def test_too_many_rows_change_nothing(world: World) -> None:
    before = world.rows("SELECT COUNT(*) FROM customers")
    answer = world.sql("DELETE FROM customers WHERE id > 5")
    assert (answer.status_code, answer.json()["reason"]) == (403, "limit.rows"), answer.text
    assert world.rows("SELECT COUNT(*) FROM customers") == before


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("/*! DELETE FROM customers */", "sql.unparsable"),
        ("SELECT SLEEP(5)", "action.unsupported"),
        ("CALL purge()", "sql.unsupported"),
        ("DELETE FROM holdfast.receipts", "action.unsupported"),
        ("SELECT nothing FROM customers", "upstream.failed"),
    ],
)
def test_refusals(world: World, sql: str, reason: str) -> None:
    answer = world.sql(sql)
    assert answer.json()["reason"] == reason, answer.text
    assert answer.json()["effect"] == "none"


def test_a_dry_run_and_decide_change_nothing(world: World) -> None:
    before = world.rows("SELECT * FROM customers ORDER BY id")
    assert world.sql("DELETE FROM customers WHERE id = 4", dry_run=True).status_code == 200
    answer = world.agent.post(
        "/decide",
        json={"surface": "sql", "tool": "app", "sql": "DELETE FROM customers WHERE id = 4"},
    )
    assert answer.json()["input"]["action"]["sql"]["dialect"] == world.server.kind
    assert world.rows("SELECT * FROM customers ORDER BY id") == before


def test_check_and_explain(world: World) -> None:
    def holdfast(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words, "--config", str(world.config)],
            cwd=ROOT,
            env=dict(world.gateway.environ),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout + done.stderr

    assert "Traceback" not in holdfast("check")
    told = holdfast("explain", "--source", "app", "DELETE FROM customers WHERE id = 1", "--json")
    assert f'"dialect": "{world.server.kind}"' in told
