"""The contract as outside programs meet it: a served gateway, HTTP, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.audit import verify
from gateway.errors import REASONS
from tests.fixtures.inside import inside
from tests.fixtures.serving import ADMIN, AGENT, ROOT, Served, served

PROBLEM = {"type", "title", "status", "detail", "reason", "call", "effect", "retryable"}
RESULT = {"call", "state", "verb", "columns", "rows", "affected", "effect", "undo"}
UNDO = {"reversibility", "available", "expires_at"}
CALL = {"call", "state", "decision", "outcome", "result", "undo", "effect"}
FREEZE = {"id", "epoch", "scope", "reason", "starts_at", "ends_at"}
STEP = {"call", "upstream", "action", "state", "restored", "conflicts", "reason"}
CONFLICT = {"resource", "key", "before", "after", "now"}
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
TABLES = ("customers", "orders", "invoices", "audit_log")
JSON_BODY = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class World:
    gateway: Served
    agent: httpx.Client
    admin: httpx.Client
    maintainer: httpx.Client

    def sql(self, text: str, session: str = "s1", **body: Any) -> httpx.Response:
        headers = {"Holdfast-Session": session}
        return self.agent.post("/sql/shop", json={"sql": text, **body}, headers=headers)

    def revert(self, **order: Any) -> dict[str, Any]:
        answer = self.admin.post("/admin/reverts", json=order)
        assert answer.status_code in (200, 202), answer.text
        job: dict[str, Any] = answer.json()
        assert {"id", "state", "steps"} <= job.keys()
        assert all(step.keys() >= STEP for step in job["steps"])
        return job

    def shop(self) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite3.connect(self.gateway.home / "shop.db")) as shop:
            return {t: shop.execute(f"SELECT * FROM {t} ORDER BY 1").fetchall() for t in TABLES}

    def elsewhere(self, text: str) -> None:
        with closing(sqlite3.connect(self.gateway.home / "shop.db")) as shop:
            shop.execute(text)
            shop.commit()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("contract")
    shutil.copytree(ROOT / "policies", home / "policies")
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    for old, new in (
        ("path: policies", f"path: {home / 'policies'}"),
        ("body_deadline_s: 10.0", "body_deadline_s: 1.0"),
        ("agents_may_undo: false", "agents_may_undo: true"),
    ):
        assert old in text
        text = text.replace(old, new)
    (home / "config.yaml").write_text(text)
    with served(home, home / "config.yaml") as gateway, gateway.admin() as admin:
        body = {"name": "maintainer", "roles": ["maintainer"]}
        token = admin.post("/admin/agents", json=body).json()["token"]
        with gateway.agent() as agent, gateway.agent() as maintainer:
            maintainer.headers["Authorization"] = f"Bearer {token}"
            yield World(gateway, agent, admin, maintainer)


def refused(answer: httpx.Response, status: int, reason: str, effect: str = "none") -> Any:
    document = answer.json()
    assert (answer.status_code, document["reason"]) == (status, reason), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert document.keys() >= PROBLEM
    assert document["status"] == status
    assert document["effect"] == effect
    assert isinstance(document["retryable"], bool)
    assert document["call"] == answer.headers.get("Holdfast-Call")
    return document


def is_time(value: object) -> bool:
    return isinstance(value, str) and RFC3339_UTC.fullmatch(value) is not None


# --- running SQL --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verb", "affected", "reversibility"),
    [
        ("SELECT id, name FROM customers WHERE id = 1", "select", 0, "none"),
        (
            "INSERT INTO customers (id, name, email, plan, balance) "
            "VALUES (90001, 'n', 'n@example.com', 'free', 0)",
            "insert",
            1,
            "exact",
        ),
        ("UPDATE customers SET name = 'gold' WHERE id IN (20, 21)", "update", 2, "exact"),
        ("DELETE FROM orders WHERE id = 30", "delete", 1, "exact"),
    ],
)
def test_a_statement_answers_with_the_keys_of_the_contract(
    world: World, text: str, verb: str, affected: int, reversibility: str
) -> None:
    answer = world.sql(text, session="keys")
    document = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Holdfast-Call"] == document["call"]
    assert document.keys() >= RESULT
    assert (document["state"], document["verb"]) == ("succeeded", verb)
    assert document["affected"] == affected
    assert document["effect"] == ("applied" if affected else "none")
    assert document["undo"].keys() >= UNDO
    assert document["undo"]["reversibility"] == reversibility
    assert document["undo"]["available"] is bool(affected)
    if affected:
        assert is_time(document["undo"]["expires_at"])


def test_columns_are_named_and_typed_and_rows_are_lists(world: World) -> None:
    document = world.sql(
        "SELECT 1 AS one, 9007199254740993 AS big, x'00ff' AS raw, NULL AS nil, 'é' AS text",
        session="keys",
    ).json()
    assert [c["name"] for c in document["columns"]] == ["one", "big", "raw", "nil", "text"]
    assert all(set(c) == {"name", "type"} for c in document["columns"])
    [[one, big, raw, nil, text]] = document["rows"]
    assert (one, big, nil, text) == (1, "9007199254740993", None, "é")
    assert isinstance(raw, str)


def test_parameters_come_as_a_list_or_as_an_object(world: World) -> None:
    listed = world.sql("SELECT name FROM customers WHERE id = ?", params=[5]).json()
    named = world.sql("SELECT name FROM customers WHERE id = :id", params={"id": 5}).json()
    assert listed["rows"] == named["rows"] != []


def test_several_statements_answer_with_one_result_each(world: World) -> None:
    document = world.sql(
        "UPDATE customers SET name = 'a' WHERE id = 40; DELETE FROM orders WHERE id = 41",
        session="keys",
    ).json()
    assert document.keys() >= {"call", "state", "effect", "undo", "results"}
    assert [r["verb"] for r in document["results"]] == ["update", "delete"]
    assert all(r.keys() >= {"verb", "columns", "rows", "affected"} for r in document["results"])


def test_a_dry_run_has_no_effect_and_no_undo(world: World) -> None:
    before = world.shop()
    document = world.sql("DELETE FROM customers WHERE id = 50", dry_run=True).json()
    assert (document["effect"], document["affected"]) == ("none", 1)
    assert document["undo"]["available"] is False
    assert world.shop() == before


def test_a_reply_wanted_later_is_polled_until_it_is_there(world: World) -> None:
    answer = world.agent.post(
        "/sql/shop",
        json={"sql": "UPDATE customers SET name = 'later' WHERE id = 60"},
        headers={"Prefer": "respond-async", "Holdfast-Session": "later"},
    )
    call = answer.json()["call"]
    if answer.status_code == 202:
        assert answer.headers["Location"] == f"/calls/{call}"
        assert answer.headers["Preference-Applied"] == "respond-async"
    else:  # it was over before anybody could look
        assert answer.status_code == 200
    deadline = time.monotonic() + 10
    state = None
    while state != "succeeded" and time.monotonic() < deadline:
        state = world.agent.get(f"/calls/{call}").json()["state"]
    assert state == "succeeded"


def test_an_idempotency_key_replays_the_reply_and_refuses_another_call(world: World) -> None:
    headers = {"Idempotency-Key": "contract key 1"}
    body = {"sql": "UPDATE customers SET name = 'once' WHERE id = 61"}
    first, again = (world.agent.post("/sql/shop", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, first.content) == (200, again.content)
    other = world.agent.post("/sql/shop", json={"sql": "SELECT 1"}, headers=headers)
    refused(other, 422, "idempotency.mismatch")
    for key in ("", "x" * 256):
        wrong = world.agent.post("/sql/shop", json=body, headers={"Idempotency-Key": key})
        refused(wrong, 400, "malformed")


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("DELETE FORM customers", 400, "sql.unparsable"),
        ("PRAGMA journal_mode", 400, "sql.unsupported"),
        ("SELECT load_extension('x')", 403, "action.unsupported"),
        ("DELETE FROM customers", 403, "policy.denied"),
        ("DROP TABLE orders", 403, "policy.denied"),
        ("DELETE FROM customers WHERE id > 0", 403, "limit.rows"),
    ],
)
def test_refused_sql_is_a_problem_document_and_changes_nothing(
    world: World, text: str, status: int, reason: str
) -> None:
    before = world.shop()
    document = refused(world.sql(text), status, reason)
    assert document["retryable"] is False
    assert world.shop() == before
    kept = world.agent.get(f"/calls/{document['call']}").json()
    assert kept["state"] in ("denied", "failed")
    assert kept["outcome"]["refusal"]["reason"] == reason
    if reason == "policy.denied":
        assert document["reasons"]


STATUSES = {
    "unauthenticated": 401,
    "not_admin": 403,
    "unknown_tool": 404,
    "malformed": 400,
    "sql.unparsable": 400,
    "sql.unsupported": 400,
    "action.unsupported": 403,
    "policy.denied": 403,
    "policy.unavailable": 503,
    "frozen": 423,
    "too_large": 413,
    "deadline": 408,
    "limit.rows": 403,
    "approval.required": 202,
    "approval.rejected": 403,
    "approval.expired": 403,
    "undo.unavailable": 403,
    "snapshot.failed": 503,
    "idempotency.mismatch": 422,
    "idempotency.in_progress": 409,
    "idempotency.unknown": 409,
    "upstream.failed": 502,
    "upstream.timeout": 504,
    "upstream.unreachable": 502,
    "outcome.unknown": 504,
    "store.unavailable": 503,
    "audit.unavailable": 503,
    "overloaded": 503,
    "revert.conflict": 409,
    "revert.schema_changed": 409,
    "revert.not_revertible": 409,
}


@pytest.mark.parametrize(("reason", "status"), STATUSES.items())
def test_every_reason_has_the_status_of_the_contract(reason: str, status: int) -> None:
    assert REASONS[reason].status == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sql/shop"),
        ("POST", "/decide"),
        ("GET", "/calls/x"),
        ("GET", "/calls/x/events"),
        ("DELETE", "/calls/x"),
        ("POST", "/calls/x/undo"),
        ("GET", "/admin/calls"),
        ("GET", "/admin/calls/x"),
        ("GET", "/admin/freezes"),
        ("POST", "/admin/freezes"),
        ("GET", "/admin/freezes/x"),
        ("DELETE", "/admin/freezes/x"),
        ("POST", "/admin/reverts"),
        ("GET", "/admin/reverts/x"),
        ("GET", "/admin/snapshots"),
        ("GET", "/admin/snapshots/x"),
        ("DELETE", "/admin/snapshots/x"),
        ("GET", "/admin/approvals"),
        ("POST", "/admin/approvals/x"),
        ("GET", "/admin/policies"),
        ("GET", "/admin/policies/x"),
        ("PUT", "/admin/policies/x"),
        ("POST", "/admin/policies/test"),
        ("GET", "/admin/audit"),
        ("GET", "/admin/audit/verify"),
        ("POST", "/admin/audit/checkpoints"),
        ("GET", "/admin/agents"),
        ("POST", "/admin/agents"),
        ("DELETE", "/admin/agents/x"),
    ],
)
def test_every_endpoint_is_described_and_asks_who_is_there(
    world: World, method: str, path: str
) -> None:
    bare = httpx.request(method, world.gateway.url + path, trust_env=False)
    refused(bare, 401, "unauthenticated")
    assert bare.headers["WWW-Authenticate"].startswith("Bearer")
    if path.startswith("/admin"):
        refused(world.agent.request(method, path), 403, "not_admin")
    described = httpx.get(f"{world.gateway.url}/openapi.json", trust_env=False).json()
    templates = [
        re.sub(r"\{[^}]*\}", "x", template)
        for template, operations in described["paths"].items()
        if method.lower() in operations
    ]
    assert path.replace("/sql/shop", "/sql/x") in templates


def test_health_and_description_need_no_token(world: World) -> None:
    url = world.gateway.url
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    ready = httpx.get(f"{url}/readyz", trust_env=False)
    assert ready.status_code == 200
    assert ready.json()["parts"].keys() >= {"store", "policy", "audit"}
    described = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    assert described["openapi"].startswith("3.")


# --- calls --------------------------------------------------------------------------------


def test_an_agent_watches_its_call_and_takes_it_back_where_that_is_allowed(world: World) -> None:
    before = world.shop()
    call = world.sql("DELETE FROM customers WHERE id = 70", session="own").json()["call"]
    kept = world.agent.get(f"/calls/{call}").json()
    assert kept.keys() >= CALL
    assert (kept["call"], kept["state"], kept["effect"]) == (call, "succeeded", "applied")
    assert kept["decision"]["decision"] == "allow"
    events = world.agent.get(f"/calls/{call}/events")
    assert events.headers["Content-Type"].startswith("text/event-stream")
    assert "event: state" in events.text
    [data] = [line[6:] for line in events.text.splitlines() if line.startswith("data: ")]
    assert json.loads(data)["state"] == "succeeded"
    over = world.agent.delete(f"/calls/{call}").json()
    assert (over["state"], over["effect"]) == ("succeeded", "applied")
    undone = world.agent.post(f"/calls/{call}/undo")
    assert (undone.status_code, undone.json()["state"]) == (200, "reverted")
    assert world.shop() == before
    assert world.agent.get(f"/calls/{call}").json()["undo"]["available"] is False
    refused(world.agent.post(f"/calls/{call}/undo"), 409, "revert.not_revertible")
    refused(world.maintainer.post(f"/calls/{call}/undo"), 404, "unknown_tool")
    refused(world.agent.get("/calls/call_nobody_made"), 404, "unknown_tool")


def test_a_decision_is_told_with_its_input_and_without_running(world: World) -> None:
    before = world.shop()
    ask = {"surface": "sql", "tool": "shop", "sql": "DELETE FROM customers WHERE id = 3"}
    answer = world.agent.post("/decide", json=ask)
    told = answer.json()
    assert told.keys() >= {"decision", "reason", "reasons", "obligations", "input"}
    assert told["decision"] == "allow"
    document = told["input"]
    assert document.keys() == {"version", "subject", "action", "resource", "context"}
    assert document["subject"].keys() == {"id", "roles", "session", "delegation"}
    assert document["action"].keys() == {
        "surface", "tool", "name", "class", "reversibility", "idempotent", "digest",
        "effects", "sql", "http", "mcp",
    }  # fmt: skip
    assert document["action"]["effects"][0].keys() == {
        "verb", "kind", "name", "columns", "bounded"
    }  # fmt: skip
    assert document["action"]["sql"].keys() == {"dialect", "text", "statements", "params"}
    statement = document["action"]["sql"]["statements"][0]
    assert statement.keys() == {"verb", "tables", "functions", "bounded"}
    assert document["resource"].keys() == {"type", "id", "environment", "labels"}
    assert document["context"].keys() == {
        "time", "freezes", "measured", "counters", "reason", "approval"
    }  # fmt: skip
    held = world.maintainer.post("/decide", json={**ask, "sql": "DELETE FROM orders"}).json()
    assert held["decision"] == "hold"
    for text, reason in (("DELETE", "sql.unparsable"), ("DROP TABLE orders", "policy.denied")):
        denied = world.agent.post("/decide", json={**ask, "sql": text})
        assert denied.status_code == 200
        assert (denied.json()["decision"], denied.json()["reason"]) == ("deny", reason)
    refused(world.agent.post("/decide", json={"surface": "smoke"}), 400, "malformed")
    assert world.shop() == before


# --- admin --------------------------------------------------------------------------------


def test_a_freeze_is_set_named_in_refusals_and_lifted(world: World) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    order = {
        "scope": {"tables": ["orders"], "effects": ["destructive"]},
        "reason": "stocktaking",
        "ends_at": ends,
        "drain": True,
    }
    made = world.admin.post("/admin/freezes", json=order)
    assert made.status_code == 201
    freeze = made.json()
    assert freeze.keys() >= {"id", "epoch", "in_flight", "drained"} | FREEZE
    assert isinstance(freeze["epoch"], int)
    assert (freeze["in_flight"], freeze["drained"]) == ([], True)
    shown = world.admin.get(f"/admin/freezes/{freeze['id']}").json()
    assert shown.keys() >= FREEZE
    assert shown["scope"]["tables"] == ["orders"]
    assert shown["scope"].keys() == {"sources", "tools", "tables", "agents", "effects"}
    listed = world.admin.get("/admin/freezes").json()["freezes"]
    assert freeze["id"] in [f["id"] for f in listed]
    stopped = refused(world.sql("DELETE FROM orders WHERE id = 80"), 423, "frozen")
    assert stopped["retryable"] is True
    assert [f["id"] for f in stopped["freezes"]] == [freeze["id"]]
    assert is_time(stopped["freezes"][0]["until"])
    assert world.sql("UPDATE orders SET id = id WHERE id = 80").status_code == 200
    lifted = world.admin.delete(f"/admin/freezes/{freeze['id']}")
    assert lifted.status_code in (200, 204)
    assert world.sql("DELETE FROM orders WHERE id = 80").status_code == 200
    refused(world.admin.get("/admin/freezes/frz_none"), 404, "unknown_tool")
    refused(world.admin.post("/admin/freezes", json={"scope": {"rows": []}}), 400, "malformed")


def test_calls_are_found_by_every_filter_page_by_page(world: World) -> None:
    calls = [world.sql(f"SELECT {n}", session="pages").json()["call"] for n in range(3)]
    refused_call = world.sql("DROP TABLE orders", session="pages").json()["call"]
    found: list[str] = []
    cursor: str | None = None
    while True:
        following = {"cursor": cursor} if cursor else {}
        asked = {"session": "pages", "limit": "2", **following}
        page = world.admin.get("/admin/calls", params=asked).json()
        assert all(call.keys() >= CALL for call in page["calls"])
        found += [call["call"] for call in page["calls"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == [refused_call, *reversed(calls)]
    for query, expected in (
        ({"session": "pages", "state": "denied"}, [refused_call]),
        ({"session": "pages", "agent": "maintainer"}, []),
        ({"session": "pages", "tool": "shop", "agent": "demo"}, found),
        ({"session": "pages", "since": "2999-01-01T00:00:00Z"}, []),
        ({"session": "pages", "until": "2000-01-01T00:00:00Z"}, []),
    ):
        answer = world.admin.get("/admin/calls", params=query).json()
        assert [call["call"] for call in answer["calls"]] == expected
    assert world.admin.get(f"/admin/calls/{found[0]}").json()["call"] == found[0]


def test_a_plan_changes_nothing_and_says_what_a_revert_then_does(world: World) -> None:
    before = world.shop()
    call = world.sql("DELETE FROM customers WHERE id = 100", session="plan").json()["call"]
    after = world.shop()
    plan = world.revert(session="plan", plan=True)
    assert plan["state"] == "planned"
    assert world.shop() == after
    job = world.revert(session="plan", reason="test")
    assert job["state"] == "reverted"
    [planned], [done] = plan["steps"], job["steps"]
    assert (done["call"], done["upstream"], done["restored"]) == (call, "shop", planned["restored"])
    assert world.shop() == before
    assert world.admin.get(f"/admin/reverts/{job['id']}").json()["steps"] == job["steps"]
    again = world.revert(call=call)
    assert again["state"] == "failed"
    assert again["steps"][0]["reason"] == "revert.not_revertible"


def test_a_conflict_shows_before_after_and_now_and_waits_for_skip_or_force(world: World) -> None:
    change = "UPDATE customers SET name = 'agent' WHERE id IN (110, 111)"
    was = {row[0]: row[1] for row in world.shop()["customers"]}
    call = world.sql(change, session="conflict").json()["call"]
    world.elsewhere("UPDATE customers SET name = 'theirs' WHERE id = 110")
    theirs = world.shop()
    job = world.revert(call=call)
    assert job["state"] == "conflict"
    [conflict] = job["steps"][0]["conflicts"]
    assert conflict.keys() >= CONFLICT
    assert "customers" in conflict["resource"]
    assert conflict["key"] == {"id": 110}
    assert [conflict[when]["name"] for when in ("before", "after", "now")] == [
        was[110],
        "agent",
        "theirs",
    ]
    assert world.shop() == theirs
    skipped = world.revert(call=call, on_conflict="skip")
    assert skipped["state"] == "partial"
    names = {row[0]: row[1] for row in world.shop()["customers"]}
    assert (names[110], names[111]) == ("theirs", was[111])


def test_force_overwrites_and_a_revert_is_reverted_to_what_was_there(world: World) -> None:
    was = {row[0]: row[1] for row in world.shop()["customers"]}
    change = "UPDATE customers SET name = 'agent' WHERE id = 120"
    call = world.sql(change, session="force").json()["call"]
    world.elsewhere("UPDATE customers SET name = 'theirs' WHERE id = 120")
    theirs = world.shop()
    assert world.revert(call=call, on_conflict="force")["state"] == "reverted"
    assert {row[0]: row[1] for row in world.shop()["customers"]}[120] == was[120]
    reverter = world.admin.get(f"/admin/calls/{call}").json()["reverted_by"]
    assert world.revert(call=reverter)["state"] == "reverted"
    assert world.shop()["customers"] == theirs["customers"]


def test_a_revert_in_the_background_is_polled_by_its_id(world: World) -> None:
    call = world.sql("DELETE FROM orders WHERE id = 130", session="background").json()["call"]
    answer = world.admin.post(
        "/admin/reverts",
        json={"call": call, "on_conflict": "abort"},
        headers={"Prefer": "respond-async"},
    )
    assert answer.status_code in (200, 202)
    job = answer.json()
    assert answer.headers["Location"] == f"/admin/reverts/{job['id']}"
    deadline = time.monotonic() + 10
    while job["state"] == "running" and time.monotonic() < deadline:
        job = world.admin.get(f"/admin/reverts/{job['id']}").json()
    assert job["state"] == "reverted"


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"call": "a", "session": "b"},
        {"agent": "demo"},
        {"session": "x", "on_conflict": "maybe"},
        {"session": "x", "since": "yesterday"},
        {"call": "x", "dry": True},
    ],
)
def test_a_revert_that_names_no_clear_target_is_malformed(
    world: World, order: dict[str, Any]
) -> None:
    answer = world.admin.post("/admin/reverts", json=order)
    assert refused(answer, 400, "malformed")["detail"]


def test_an_agents_calls_since_a_time_are_taken_back_newest_first(world: World) -> None:
    made = world.admin.post("/admin/agents", json={"name": "since", "roles": ["developer"]})
    assert made.status_code == 201
    token = {"Authorization": f"Bearer {made.json()['token']}"}
    before = world.shop()
    since = datetime.now(UTC).isoformat()
    calls = []
    for name in ("x", "y"):
        body = {"sql": f"UPDATE customers SET name = '{name}' WHERE id = 140"}
        calls.append(world.agent.post("/sql/shop", json=body, headers=token).json()["call"])
    job = world.revert(agent="since", since=since)
    assert job["state"] == "reverted"
    assert [step["call"] for step in job["steps"]] == calls[::-1]
    assert world.shop() == before


def test_images_are_paged_and_deleted_for_good(world: World) -> None:
    done = world.sql("DELETE FROM customers WHERE id = 150", session="images").json()
    listed = world.admin.get("/admin/snapshots", params={"call": done["call"]}).json()
    [snapshot] = listed["snapshots"]
    images: list[object] = []
    offset: int | None = 0
    while offset is not None:
        page = world.admin.get(
            f"/admin/snapshots/{snapshot['id']}", params={"limit": 2, "offset": offset}
        ).json()
        assert len(page["images"]) <= 2
        images += page["images"]
        offset = page["next_offset"]
    assert len(images) == world.revert(call=done["call"], plan=True)["steps"][0]["restored"]
    deleted = world.admin.delete(f"/admin/snapshots/{snapshot['id']}")
    assert deleted.status_code in (200, 204)
    job = world.revert(call=done["call"])
    assert (job["state"], job["steps"][0]["reason"]) == ("failed", "revert.not_revertible")


def test_an_approval_does_not_lift_the_limits(world: World) -> None:
    world.elsewhere("CREATE TABLE few (id INTEGER PRIMARY KEY, note TEXT)")
    for id in range(40):
        world.elsewhere(f"INSERT INTO few VALUES ({id}, 'n')")
    answer = world.maintainer.post("/sql/shop", json={"sql": "UPDATE few SET note = note || '!'"})
    refused(answer, 202, "approval.required")
    assert answer.headers["Location"] == f"/calls/{answer.json()['call']}"
    call, approval = answer.json()["call"], answer.json()["approval"]
    polled = world.maintainer.get(f"/calls/{call}").json()
    assert (polled["state"], polled["approval"]) == ("held", approval)
    waiting = world.admin.get("/admin/approvals").json()["approvals"]
    [item] = [a for a in waiting if a["id"] == approval]
    assert item.keys() >= {"id", "call", "digest", "action", "measured", "reasons", "expires_at"}
    assert item["action"]["sql"]["text"] == "UPDATE few SET note = note || '!'"
    assert item["digest"] == item["action"]["digest"]
    ruled = world.admin.post(f"/admin/approvals/{approval}", json={"decision": "approve"})
    assert ruled.status_code == 200
    over = world.maintainer.get(f"/calls/{call}").json()
    # Policy let the person decide whether it runs; how much it may change is still bounded.
    assert (over["state"], over["outcome"]["refusal"]["reason"]) == ("failed", "limit.rows")
    refused(
        world.admin.post(f"/admin/approvals/{approval}", json={"decision": "approve"}),
        412,
        "precondition.failed",
    )
    world.elsewhere("DROP TABLE few")


async def test_an_approved_call_is_carried_out_once_and_comes_back(tmp_path: Path) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    for old, new in (
        ("environment: production", "environment: development"),
        ("max_rows: 100\n", "max_rows: 10000\n"),
        ("max_share: 0.2", "max_share: 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "config.yaml").write_text(text)
    async with inside(tmp_path, tmp_path / "config.yaml") as gateway:
        held = await gateway.sql("DELETE FROM invoices WHERE paid = 0; DELETE FROM invoices")
        refused(held, 202, "approval.required")
        body = {"decision": "approve", "note": "seen"}
        ruled = await gateway.admin("POST", f"/admin/approvals/{held.json()['approval']}", body)
        assert ruled.json()["state"] == "used"
        over = (await gateway.admin("GET", f"/admin/calls/{held.json()['call']}")).json()
        assert (over["state"], over["effect"]) == ("succeeded", "applied")
        left = await gateway.sql("SELECT count(*) FROM invoices")
        assert left.json()["rows"] == [[0]]
        job = await gateway.admin("POST", "/admin/reverts", {"call": over["call"]})
        assert job.json()["state"] == "reverted"
        left = await gateway.sql("SELECT count(*) FROM invoices")
        assert left.json()["rows"] == [[3015]]


def test_an_approved_table_is_really_made_and_really_taken_back(world: World) -> None:
    create = "CREATE TABLE shelf (id INTEGER PRIMARY KEY)"
    held = world.maintainer.post("/sql/shop", json={"sql": create})
    refused(held, 202, "approval.required")
    path = f"/admin/approvals/{held.json()['approval']}"
    over = world.admin.post(path, json={"decision": "approve"}).json()["outcome"]
    assert (over["state"], over["effect"]) == ("succeeded", "applied")
    assert world.sql("SELECT count(*) FROM shelf").json()["rows"] == [[0]]
    assert world.revert(call=over["call"])["state"] == "reverted"
    refused(world.sql("SELECT count(*) FROM shelf"), 400, "sql.unparsable")


def test_a_rejected_call_says_so_to_the_agent_that_polls(world: World) -> None:
    held = world.maintainer.post("/sql/shop", json={"sql": "DELETE FROM invoices"})
    call, approval = held.json()["call"], held.json()["approval"]
    body = {"decision": "reject", "note": "no"}
    assert world.admin.post(f"/admin/approvals/{approval}", json=body).status_code == 200
    polled = world.maintainer.get(f"/calls/{call}").json()
    assert polled["state"] == "denied"
    assert polled["outcome"]["refusal"]["reason"] == "approval.rejected"
    assert polled["outcome"]["refusal"]["status"] == 403
    refused(world.admin.post(f"/admin/approvals/{approval}", json={}), 400, "malformed")


def test_a_policy_edit_takes_effect_only_when_it_is_valid_and_from_what_was_read(
    world: World,
) -> None:
    listed = world.admin.get("/admin/policies").json()
    assert {p["name"] for p in listed["policies"]} >= {"data.yaml", "gateway.rego"}
    shown = world.admin.get("/admin/policies/data.yaml")
    revision, text = shown.json()["revision"], shown.json()["text"]
    assert revision == listed["revision"]
    edited = {"text": text + "\n# edited\n"}
    put = world.admin.put(
        "/admin/policies/data.yaml", json=edited, headers={"If-Match": f'"{revision}"'}
    )
    assert put.status_code == 200, put.text
    assert put.json()["revision"] == world.admin.get("/admin/policies").json()["revision"]
    stale = world.admin.put(
        "/admin/policies/data.yaml", json=edited, headers={"If-Match": '"0123456789abcdef"'}
    )
    refused(stale, 412, "precondition.failed")
    broken = world.admin.put("/admin/policies/mine.rego", json={"text": "package gateway\nallow {"})
    fault = refused(broken, 422, "policy.invalid")["faults"][0]
    assert (fault["file"], fault["line"]) == ("mine.rego", 2)
    assert world.admin.get("/admin/policies").json()["revision"] == put.json()["revision"]
    tested = world.admin.post("/admin/policies/test").json()
    assert tested["passed"] > 0
    assert tested["failed"] == []
    escape = world.admin.put("/admin/policies/..%2Fx.rego", json={"text": "package gateway"})
    refused(escape, 404, "unknown_tool")


def test_the_audit_log_is_read_verified_and_checkpointed(world: World) -> None:
    entries: list[tuple[int, str, str]] = []
    after: int | None = 0
    while after is not None:
        page = world.admin.get("/admin/audit", params={"after": after, "limit": 50}).json()
        entries += [(e["seq"], e["hash"], e["body"]) for e in page["entries"]]
        after = page["after"] if len(entries) < 200 else None
    assert verify(entries).fault is None
    checkpoint = world.admin.post("/admin/audit/checkpoints")
    assert checkpoint.status_code == 201
    kept = checkpoint.json()
    assert kept.keys() >= {"seq", "hash"}
    query = {"checkpoint": f"{kept['seq']}:{kept['hash']}"}
    assert world.admin.get("/admin/audit/verify", params=query).json()["ok"] is True
    other = {"checkpoint": f"{kept['seq']}:{'0' * 64}"}
    verdict = world.admin.get("/admin/audit/verify", params=other).json()
    assert (verdict["ok"], verdict["fault"]["seq"]) == (False, kept["seq"])


def test_agents_are_added_listed_and_revoked(world: World) -> None:
    made = world.admin.post("/admin/agents", json={"name": "guest", "roles": ["reader"]})
    assert made.status_code == 201
    token = made.json()["token"]
    listed = world.admin.get("/admin/agents")
    assert "guest" in [a["name"] for a in listed.json()["agents"]]
    assert token not in listed.text
    refused(world.admin.post("/admin/agents", json={"name": "guest"}), 412, "precondition.failed")
    headers = {"Authorization": f"Bearer {token}"}
    body = {"sql": "SELECT 1"}
    assert world.agent.post("/sql/shop", json=body, headers=headers).status_code == 200
    assert world.admin.delete("/admin/agents/guest").status_code in (200, 204)
    refused(world.agent.post("/sql/shop", json=body, headers=headers), 401, "unauthenticated")
    refused(world.admin.delete("/admin/agents/guest"), 404, "unknown_tool")


# --- an agent that means harm -------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", JSON_BODY),
        (b"{", JSON_BODY),
        (b"[]", JSON_BODY),
        (b"{}", JSON_BODY),
        (b'{"sql": 1}', JSON_BODY),
        (b'{"sql": "SELECT 1", "sql": "SELECT 2"}', JSON_BODY),
        (b'{"sql": "SELECT 1", "params": [NaN]}', JSON_BODY),
        (b'{"sql": "SELECT 1", "params": [1e999]}', JSON_BODY),
        (b'{"sql": "SELECT 1", "params": "x"}', JSON_BODY),
        (b'{"sql": "SELECT 1", "dry_run": "yes"}', JSON_BODY),
        (b'{"sql": "SELECT 1", "force": true}', JSON_BODY),
        (b'{"sql": "SELECT \xff"}', JSON_BODY),
        (b'{"sql": "SELECT \\ud800"}', JSON_BODY),
        (b'{"sql": "SELECT 1", "params": ' + b"[" * 5000 + b"]" * 5000 + b"}", JSON_BODY),
        (b'{"sql": "SELECT 1"}', {"Content-Type": "text/plain"}),
        (b'{"sql": "SELECT 1"}', {}),
        (b'{"sql": "SELECT 1"}', {**JSON_BODY, "Content-Encoding": "gzip"}),
        (b'{"sql": "SELECT 1"}', {**JSON_BODY, "Holdfast-Session": "a b"}),
        (b'{"sql": "SELECT 1"}', {**JSON_BODY, "Holdfast-Reason": "x" * 501}),
    ],
)
def test_what_cannot_be_read_is_malformed(
    world: World, body: bytes, headers: dict[str, str]
) -> None:
    answer = world.agent.post("/sql/shop", content=body, headers=headers)
    assert refused(answer, 400, "malformed")["call"] is None


@pytest.mark.parametrize(
    "repeated", ["Authorization", "Content-Type", "Idempotency-Key", "Holdfast-Session"]
)
def test_a_header_that_is_given_twice_is_refused(world: World, repeated: str) -> None:
    given = {
        "Authorization": f"Bearer {AGENT}",
        "Content-Type": "application/json",
        "Idempotency-Key": "twice",
        "Holdfast-Session": "twice",
    }
    headers = [*given.items(), (repeated, given[repeated])]
    answer = httpx.post(
        f"{world.gateway.url}/sql/shop",
        content=b'{"sql": "SELECT 1"}',
        headers=headers,
        trust_env=False,
    )
    assert answer.status_code == (401 if repeated == "Authorization" else 400)
    assert answer.json()["reason"] in ("unauthenticated", "malformed")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/sql", 404),
        ("POST", "/sql/", 404),
        ("POST", "/sql/shop/", 404),
        ("POST", "/sql/nothing", 404),
        ("POST", "//sql/shop", 400),
        ("POST", "/sql/..%2fadmin", 404),
        ("GET", "/sql/shop", 405),
        ("PUT", "/sql/shop", 405),
        ("TRACE", "/sql/shop", 405),
        ("DELETE", "/admin/calls", 405),
        ("GET", "/calls/../admin/calls", 404),
    ],
)
def test_other_paths_and_methods_are_problems_too(
    world: World, method: str, path: str, status: int
) -> None:
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {AGENT}"
        '\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{"sql": "SELECT 1"}'
    )
    head, document = spoken(world, request.encode())
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert document["status"] == status
    assert document["reason"] == ("unknown_tool" if status == 404 else "malformed")


def spoken(world: World, *pieces: bytes, pause_s: float = 0.0) -> tuple[str, Any]:
    """The head and the JSON of what a raw connection answers."""
    url = httpx.URL(world.gateway.url)
    with socket.create_connection((url.host, url.port or 80), timeout=15) as line:
        for piece in pieces:
            line.sendall(piece)
            time.sleep(pause_s)
        answer = b""
        while part := line.recv(65536):
            answer += part
            head, gap, body = answer.partition(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if gap and found and len(body) >= int(found[1]):
                break
    return head.decode("latin-1"), json.loads(body) if body.startswith(b"{") else None


HEAD = (
    f"POST /sql/shop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {AGENT}\r\n"
    "Content-Type: application/json\r\n"
).encode()


def test_a_body_that_does_not_arrive_in_time_is_a_deadline(world: World) -> None:
    began = time.monotonic()
    head, document = spoken(world, HEAD + b"Content-Length: 100\r\n\r\n", b'{"sql"')
    assert head.startswith("HTTP/1.1 408 ")
    assert (document["reason"], document["effect"]) == ("deadline", "none")
    assert time.monotonic() - began < 8


def test_a_body_that_drips_is_a_deadline_too(world: World) -> None:
    drips = [b"1\r\nx\r\n"] * 12
    head, document = spoken(
        world, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *drips, pause_s=0.12
    )
    assert head.startswith("HTTP/1.1 408 ")
    assert document["reason"] == "deadline"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length: 2000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1e8480\r\n" + b"x" * 2_000_000,
    ],
    ids=["absurd", "announced", "chunked"],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_kept(
    world: World, framing: bytes
) -> None:
    head, document = spoken(world, HEAD + framing)
    if b"99999999999999999999" in framing:  # more than a length can be
        assert head.startswith("HTTP/1.1 400 ")
        assert document["reason"] == "malformed"
        return
    assert head.startswith("HTTP/1.1 413 ")
    assert (document["reason"], document["status"]) == ("too_large", 413)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 19\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Content-Length: 19\r\nContent-Length: 3\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_framing_that_two_readers_could_read_differently_is_refused(
    world: World, framing: bytes
) -> None:
    head, document = spoken(world, HEAD + framing + b'{"sql": "SELECT 1"}')
    assert head.startswith("HTTP/1.1 400 ")
    assert document.keys() >= PROBLEM
    assert document["reason"] == "malformed"


def test_the_gateway_lives_on(world: World) -> None:
    assert world.sql("SELECT 1").json()["rows"] == [[1]]
    assert world.admin.get("/admin/audit/verify").json()["ok"] is True


# --- secrets ------------------------------------------------------------------------------


def test_tokens_and_passwords_stand_nowhere_in_clear(tmp_path: Path) -> None:
    password, wrong = "canary-password-of-a-source", "canary-token-of-a-stranger"
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    gone = f"sources:\n  app: {{url: postgresql://agent:{password}@127.0.0.1:1/app}}\n"
    (tmp_path / "config.yaml").write_text(text.replace("sources:\n", gone, 1))
    home = tmp_path / "home"
    home.mkdir()
    said = []
    with served(home, tmp_path / "config.yaml") as gateway, gateway.admin() as admin:
        made = admin.post("/admin/agents", json={"name": "bot", "roles": ["developer"]})
        token = made.json()["token"]
        for bearer in (AGENT, token, wrong, ADMIN):
            headers = {"Authorization": f"Bearer {bearer}"}
            for source in ("shop", "app"):
                for sql in ("SELECT 1", "DELETE FROM customers WHERE id = 3", "DELETE FORM x"):
                    url = f"{gateway.url}/sql/{source}"
                    said.append(
                        httpx.post(url, json={"sql": sql}, headers=headers, trust_env=False).text
                    )
        url = f"{gateway.url}/healthz?token={wrong}"
        said.append(httpx.get(url, trust_env=False).text)
        for path in ("calls", "audit", "agents", "snapshots", "policies", "freezes"):
            said.append(admin.get(f"/admin/{path}").text)
    secrets = [AGENT.encode(), ADMIN.encode(), token.encode(), password.encode(), wrong.encode()]
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"store.db", "serve.log", "shop.db"} <= {path.name for path in files}
    kept = {path.name: path.read_bytes() for path in files}
    kept["answers"] = "\n".join(said).encode()
    assert [(name, s) for name, text in kept.items() for s in secrets if s in text] == []
