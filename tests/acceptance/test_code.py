"""Code of a database that agents run by name, as outside programs meet it: a person agrees, what it
changed is decided like any change, and all of it comes back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.serving import ROOT, Served, served

CONFIG = """
server: {{host: 127.0.0.1, port: 0}}
store: {{url: "sqlite:///{home}/store.db"}}
policy: {{path: {home}/policies}}
snapshots: {{path: {home}/snapshots}}
limits: {{max_rows: 50, max_share: 1}}
identity:
  admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"
  agents:
    - {{name: demo, token: "${{HOLDFAST_AGENT_TOKEN}}", roles: [clerk]}}
sources:
  app: {{url: "${{APP_URL}}", capture_url: "${{APP_OWN_URL}}", environment: development}}
"""
ROLE = """
  clerk:
    - sources: [app]
      tables: [public.orders, public.customers]
      verbs: [select, insert, update]
    - sources: [app]
      tables: [public.orders]
      verbs: [delete]
    - sources: [app]
      tables: ["*"]
      verbs: [execute]

  developer:
"""
HIDING = """
within := {
	"redact": ["customers.email"],
"""
SETUP = """
CREATE TABLE customers (id int PRIMARY KEY, email text);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total numeric);
CREATE TABLE ledger (id serial, what text);
INSERT INTO customers SELECT n, 'c' || n || '@example.org' FROM generate_series(1, 9) n;
INSERT INTO orders SELECT n, 1 + n % 9, n * 1.50 FROM generate_series(1, 90) n;
INSERT INTO ledger (what) SELECT 'n' || n FROM generate_series(1, 5) n;
CREATE FUNCTION close_orders(below int) RETURNS SETOF orders LANGUAGE plpgsql AS $$ BEGIN
  UPDATE orders SET total = total + 0.10 WHERE id < below;
  RETURN QUERY DELETE FROM orders WHERE id < below RETURNING *; END $$;
CREATE FUNCTION merge_customers(a int, b int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  UPDATE orders SET customer = a WHERE customer = b;
  EXECUTE 'DELETE FROM ' || 'customers WHERE id = $1' USING b; RETURN a; END $$;
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS
  'INSERT INTO ledger (what) VALUES ($1) RETURNING id';
CREATE FUNCTION mails() RETURNS SETOF text LANGUAGE sql AS 'SELECT email FROM customers';
CREATE FUNCTION mails_too(int) RETURNS TABLE (lowest text) LANGUAGE plpgsql AS $$ BEGIN
  RETURN QUERY EXECUTE 'SELECT email FROM customers'; END $$;
CREATE FUNCTION another(how text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
  UPDATE orders SET total = 0 WHERE id = 9;
  EXECUTE 'SET ' || 'RO' || 'LE code_other'; EXECUTE how; RETURN current_user; END $$;
CREATE PROCEDURE renew(INOUT of int, to_ numeric) LANGUAGE plpgsql AS $$ BEGIN
  UPDATE orders SET total = to_ WHERE customer = of; of := of + 1; END $$;
"""


@dataclass(frozen=True)
class World:
    gateway: Served
    agent: httpx.Client
    admin: httpx.Client
    server: PostgresServer
    database: str

    def sql(self, text: str, **body: Any) -> httpx.Response:
        return self.agent.post("/sql/app", json={"sql": text, **body})

    def held(self, text: str, **body: Any) -> dict[str, Any]:
        answer = self.sql(text, **body)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        assert found["reason"] == "approval.required"
        return found

    def agreed(self, text: str, **body: Any) -> dict[str, Any]:
        """The record of a call that waited and was approved."""
        held = self.held(text, **body)
        ruled = self.admin.post(
            f"/admin/approvals/{held['approval']}", json={"decision": "approve"}
        )
        assert ruled.status_code == 200, ruled.text
        found: dict[str, Any] = self.admin.get(f"/admin/calls/{held['call']}").json()
        return found

    def reverted(self, call: str) -> None:
        job = self.admin.post("/admin/reverts", json={"call": call}).json()
        assert job["state"] == "reverted", job

    def dump(self) -> list[Any]:
        with psycopg.connect(self.server.url(self.database)) as connection:
            return [
                connection.execute(f"SELECT t::text FROM {name} t ORDER BY 1".encode()).fetchall()
                for name in ("customers", "orders", "ledger")
            ]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[World]:
    home = tmp_path_factory.mktemp("code")
    shutil.copytree(ROOT / "policies", home / "policies")
    rules = home / "policies" / "destructive.rego"
    text = rules.read_text()
    assert text.count("\nwithin := {\n") == 1
    rules.write_text(text.replace("\nwithin := {\n", HIDING))
    data = home / "policies" / "data.yaml"
    text = data.read_text()
    assert text.count("\n  developer:\n") == 1
    data.write_text(text.replace("\n  developer:\n", ROLE, 1))
    database = postgres_server.create_database()
    with psycopg.connect(postgres_server.url(database), autocommit=True) as connection:
        connection.execute(SETUP)
        connection.execute("CREATE ROLE code_agent LOGIN; CREATE ROLE code_other")
        connection.execute("GRANT code_other TO code_agent")
        connection.execute("GRANT ALL ON orders TO code_other")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO code_agent")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO code_agent")
    (home / "config.yaml").write_text(CONFIG.format(home=home))
    urls = {
        "APP_URL": postgres_server.url(database, "code_agent"),
        "APP_OWN_URL": postgres_server.url(database),
    }
    with (
        served(home, home / "config.yaml", **urls) as gateway,
        gateway.agent() as agent,
        gateway.admin() as admin,
    ):
        yield World(gateway, agent, admin, postgres_server, database)
    postgres_server.drop_database(database)


def test_rows_beside_the_text_are_decided_loaded_and_taken_back(world: World) -> None:
    before = world.dump()
    copy, rows = "COPY orders (id, customer, total) FROM STDIN", "91\t1\t3.50\n92\t\\N\t\\N\n"
    judged = world.agent.post(
        "/decide", json={"surface": "sql", "tool": "app", "sql": copy, "stdin": rows}
    ).json()
    assert judged["decision"] == "allow"
    assert judged["input"]["action"]["sql"]["stdin"] == [rows]
    assert judged["input"]["action"]["effects"][0]["verb"] == "insert"
    done = world.sql(copy, stdin=rows).json()
    assert (done["verb"], done["affected"], done["effect"]) == ("insert", 2, "applied")
    assert [row for row in world.dump()[1] if row not in before[1]] == [
        ("(91,1,3.50)",), ("(92,,)",),
    ]  # fmt: skip
    world.reverted(done["call"])
    assert world.dump() == before
    refused = world.sql("COPY ledger (what) FROM STDIN", stdin="x\n")
    assert (refused.status_code, refused.json()["reason"]) == (403, "policy.denied")
    many = "".join(f"{n}\t1\t1\n" for n in range(100, 160))
    refused = world.sql(copy, stdin=many)
    assert refused.json()["reason"] == "limit.rows"
    assert world.dump() == before


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT id, total FROM close_orders(4) ORDER BY id", 6),
        ("CALL renew(3, 9.90)", 10),
        ("DO 'BEGIN DELETE FROM orders WHERE id IN (5, 6); END'", 2),
    ],
)
def test_code_runs_when_a_person_agrees_and_comes_back(world: World, sql: str, rows: int) -> None:
    before = world.dump()
    done = world.agreed(sql)
    assert (done["state"], done["effect"]) == ("succeeded", "applied")
    assert done["action"]["name"] == "execute"
    assert 0 < done["measured"]["rows"] <= rows
    assert world.dump() != before
    world.reverted(done["call"])
    assert world.dump() == before


def test_nothing_runs_before(world: World) -> None:
    before = world.dump()
    held = world.held("SELECT * FROM close_orders(4)")
    assert world.dump() == before
    world.admin.post(f"/admin/approvals/{held['approval']}", json={"decision": "reject"})
    assert world.dump() == before


@pytest.mark.parametrize("sql", ["SELECT note('x')", "SELECT merge_customers(1, 2)"])
def test_what_it_changed_needs_the_grants_of_a_statement_that_says_so(
    world: World, sql: str
) -> None:
    before = world.dump()
    done = world.agreed(sql)
    assert (done["state"], done["effect"]) == ("failed", "none")
    assert done["outcome"]["refusal"]["reason"] == "policy.denied"
    table = "public.ledger" if "note" in sql else "public.customers"
    assert any(table in reason for reason in done["outcome"]["refusal"]["reasons"])
    assert world.dump() == before


def test_it_stays_within_the_limits(world: World) -> None:
    before = world.dump()
    done = world.agreed("SELECT count(*) FROM close_orders(80)")
    assert done["outcome"]["refusal"]["reason"] == "limit.rows"
    assert world.dump() == before


@pytest.mark.parametrize(
    "scope",
    [
        {"effects": ["delete"]},
        {"effects": ["execute"]},
        {"effects": ["write"]},
        {"tables": ["public.orders"]},
    ],
)
def test_a_freeze_stops_it_beforehand_or_by_what_it_changed(
    world: World, scope: dict[str, Any]
) -> None:
    before = world.dump()
    held = world.held("SELECT * FROM close_orders(4)")
    frozen = world.admin.post("/admin/freezes", json={"reason": "release", "scope": scope})
    assert frozen.status_code in (200, 201), frozen.text
    try:
        path = f"/admin/approvals/{held['approval']}"
        world.admin.post(path, json={"decision": "approve"})
        done = world.admin.get(f"/admin/calls/{held['call']}").json()
        assert done["outcome"]["refusal"], done
        assert done["outcome"]["refusal"]["reason"] == "frozen"
        assert world.dump() == before
    finally:
        world.admin.delete(f"/admin/freezes/{frozen.json()['id']}")


@pytest.mark.parametrize("sql", ["SELECT * FROM mails()", "SELECT lowest FROM mails_too(1)"])
def test_a_column_that_is_not_to_be_shown_does_not_come_out_of_a_function(
    world: World, sql: str
) -> None:
    done = world.agreed(sql)
    polled = world.agent.get(f"/calls/{done['call']}").json()
    assert polled["state"] == "succeeded", polled
    assert polled["result"]["rows"] == [["[redacted]"]] * 9


def test_nor_out_of_a_cursor_or_what_is_prepared(world: World) -> None:
    before = world.dump()
    answer = world.sql(
        "DECLARE c CURSOR FOR SELECT email, lower(email), id FROM customers WHERE id < 3; "
        "FETCH 1 FROM c; UPDATE customers SET email = 'x' WHERE CURRENT OF c; "
        "PREPARE p(int) AS UPDATE customers SET email = email || 'y' WHERE id = $1 "
        "RETURNING email; EXECUTE p(7)"
    )
    assert answer.status_code == 200, answer.text
    assert "example.org" not in answer.text
    _, fetched, changed, _, executed = answer.json()["results"]
    assert fetched["rows"] == [["[redacted]", "[redacted]", 1]]
    assert (changed["affected"], executed["rows"]) == (1, [["[redacted]"]])
    assert world.dump() != before
    world.reverted(answer.json()["call"])
    assert world.dump() == before


def test_what_it_did_to_its_session_ends_with_the_call(world: World) -> None:
    settings = "SELECT current_user, current_setting('DateStyle'), current_setting('search_path')"
    here = world.sql(settings).json()["rows"]
    before = world.dump()
    for how in ("SET DateStyle = 'SQL, DMY'", "SET search_path = pg_catalog", "SELECT 1"):
        done = world.agreed("SELECT another($1)", params=[how])
        assert done["effect"] == "applied", done
        assert {world.sql(settings).json()["rows"][0][0] for _ in range(4)} == {"code_agent"}
        assert all(world.sql(settings).json()["rows"] == here for _ in range(4))
        world.reverted(done["call"])
        assert world.dump() == before


def test_a_rehearsal_asks_first_as_well(world: World) -> None:
    before = world.dump()
    answer = world.sql("SELECT * FROM close_orders(3)", dry_run=True)
    assert answer.json().get("reason") == "approval.required", answer.text
    assert world.dump() == before
