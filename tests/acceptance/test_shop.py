"""The demo shop through the whole gateway, as agents and people use it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.audit import verify
from tests.fixtures.inside import Inside, inside
from tests.fixtures.serving import AGENT

TABLES = ("customers", "orders", "invoices", "audit_log")
DELETE = "DELETE FROM customers WHERE id = 7"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Inside]:
    async with inside(tmp_path) as found:
        yield found


def dump(home: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(home / "shop.db")) as shop:
        return {
            t: shop.execute(f"SELECT rowid, * FROM {t} ORDER BY rowid").fetchall() for t in TABLES
        }


async def test_a_delete_with_its_cascades_comes_back_row_by_row(
    gateway: Inside, tmp_path: Path
) -> None:
    before = dump(tmp_path)
    deleted = (await gateway.sql(DELETE)).json()
    assert deleted["state"] == "succeeded"
    assert deleted["undo"]["available"] is True
    assert dump(tmp_path) != before
    job = (await gateway.admin("POST", "/admin/reverts", {"call": deleted["call"]})).json()
    assert job["state"] == "reverted"
    assert dump(tmp_path) == before


async def test_a_revert_keeps_what_others_wrote_and_names_what_conflicts(
    gateway: Inside, tmp_path: Path
) -> None:
    sql = "UPDATE customers SET name = 'Agent' WHERE id IN (10, 11)"
    call = (await gateway.sql(sql)).json()["call"]
    with closing(sqlite3.connect(tmp_path / "shop.db")) as other:
        other.execute("UPDATE customers SET name = 'theirs' WHERE id = 10")
        other.execute("UPDATE customers SET name = 'untouched' WHERE id = 500")
        other.commit()
    theirs = dump(tmp_path)
    answer = await gateway.admin("POST", "/admin/reverts", {"call": call})
    job = answer.json()
    assert job["state"] == "conflict"
    [conflict] = job["steps"][0]["conflicts"]
    assert conflict["key"] == {"id": 10}
    assert conflict["now"]["name"] == "theirs"
    assert dump(tmp_path) == theirs
    skipped = await gateway.admin("POST", "/admin/reverts", {"call": call, "on_conflict": "skip"})
    assert skipped.json()["state"] == "partial"
    names = {row[1]: row[2] for row in dump(tmp_path)["customers"]}
    assert (names[10], names[500]) == ("theirs", "untouched")
    assert names[11] != "Agent"


async def test_a_plan_changes_nothing_and_a_redo_brings_it_back(
    gateway: Inside, tmp_path: Path
) -> None:
    before = dump(tmp_path)
    call = (await gateway.sql(DELETE)).json()["call"]
    after = dump(tmp_path)
    plan = await gateway.admin("POST", "/admin/reverts", {"call": call, "plan": True})
    assert plan.json()["state"] == "planned"
    assert plan.json()["steps"][0]["restored"] > 1
    assert dump(tmp_path) == after
    await gateway.admin("POST", "/admin/reverts", {"call": call})
    assert dump(tmp_path) == before
    record = (await gateway.admin("GET", f"/admin/calls/{call}")).json()
    redo = await gateway.admin("POST", "/admin/reverts", {"call": record["reverted_by"]})
    assert redo.json()["state"] == "reverted"
    assert dump(tmp_path) == after


async def test_a_freeze_stops_writes_until_it_is_lifted(gateway: Inside, tmp_path: Path) -> None:
    freeze = await gateway.admin(
        "POST", "/admin/freezes", {"scope": {}, "reason": "release", "drain": True}
    )
    assert freeze.status_code == 201
    assert freeze.json()["drained"] is True
    before = dump(tmp_path)
    for sql in (DELETE, "UPDATE customers SET name='x' WHERE id=1", "DELETE FROM customers"):
        refused = await gateway.sql(sql)
        assert refused.status_code in (403, 423)
    assert refused.json()["effect"] == "none"
    assert (await gateway.sql(DELETE)).json()["freezes"][0]["id"] == freeze.json()["id"]
    assert (await gateway.sql("SELECT 1")).status_code == 200
    assert dump(tmp_path) == before
    lifted = await gateway.admin("DELETE", f"/admin/freezes/{freeze.json()['id']}")
    assert lifted.status_code in (200, 204)
    assert (await gateway.sql(DELETE)).status_code == 200


async def test_the_same_key_replays_the_same_bytes(gateway: Inside, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {AGENT}", "Idempotency-Key": "k-1"}
    body = {"sql": "DELETE FROM orders WHERE id = 3"}
    answers = [await gateway.client.post("/sql/shop", json=body, headers=headers) for _ in range(3)]
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    other = await gateway.client.post(
        "/sql/shop", json={"sql": "DELETE FROM orders WHERE id = 4"}, headers=headers
    )
    assert other.status_code == 422
    assert other.json()["reason"] == "idempotency.mismatch"


async def test_a_dry_run_measures_and_rolls_back(gateway: Inside, tmp_path: Path) -> None:
    before = dump(tmp_path)
    answer = (await gateway.sql(DELETE, dry_run=True)).json()
    assert answer["effect"] == "none"
    assert answer["affected"] == 1
    assert dump(tmp_path) == before


async def test_decide_shows_the_document_and_runs_nothing(gateway: Inside, tmp_path: Path) -> None:
    before = dump(tmp_path)
    headers = {"Authorization": f"Bearer {AGENT}"}

    async def decide(sql: str) -> dict[str, object]:
        body = {"surface": "sql", "tool": "shop", "sql": sql}
        answer = await gateway.client.post("/decide", json=body, headers=headers)
        assert answer.status_code == 200
        return answer.json()  # type: ignore[no-any-return]

    allowed = await decide(DELETE)
    assert allowed["decision"] == "allow"
    document = allowed["input"]
    assert isinstance(document, dict)
    assert document["version"] == 1
    assert document["action"]["class"] == "destructive"
    assert (await decide("DELETE FROM customers"))["decision"] == "deny"
    unparsable = await decide("DELETE FORM customers")
    assert (unparsable["decision"], unparsable["reason"]) == ("deny", "sql.unparsable")
    assert dump(tmp_path) == before


async def test_several_statements_are_judged_together_and_come_back_together(
    gateway: Inside, tmp_path: Path
) -> None:
    before = dump(tmp_path)
    both = await gateway.sql(
        "UPDATE customers SET name = 'x' WHERE id = 1; DELETE FROM orders WHERE id = 5"
    )
    assert [r["verb"] for r in both.json()["results"]] == ["update", "delete"]
    mixed = await gateway.sql("UPDATE customers SET name = 'x' WHERE id = 2; DROP TABLE orders")
    assert mixed.status_code == 403
    call = both.json()["call"]
    job = (await gateway.admin("POST", "/admin/reverts", {"call": call})).json()
    assert job["state"] == "reverted"
    assert dump(tmp_path) == before


async def test_fabricated_rows_in_small_batches_go_as_one_session(
    gateway: Inside, tmp_path: Path
) -> None:
    before = dump(tmp_path)
    made_up = (
        "WITH RECURSIVE n(i) AS (SELECT {0} UNION ALL SELECT i + 1 FROM n WHERE i < {1}) "
        "INSERT INTO customers (id, name, email, plan, balance) "
        "SELECT i, 'Made Up ' || i, 'made' || i || '@example.com', 'pro', 0 FROM n"
    )
    refused = await gateway.sql(made_up.format(10_001, 14_000))
    assert refused.json()["reason"] == "limit.rows"
    for start in range(10_001, 10_101, 20):
        batch = await gateway.sql(made_up.format(start, start + 19))
        assert batch.status_code == 200, batch.text
    job = (await gateway.admin("POST", "/admin/reverts", {"session": "s1"})).json()
    assert job["state"] == "reverted"
    assert len(job["steps"]) == 5
    assert dump(tmp_path) == before


async def test_agents_come_and_go_and_see_only_their_own_calls(gateway: Inside) -> None:
    made = await gateway.admin("POST", "/admin/agents", {"name": "bot", "roles": ["reader"]})
    assert made.status_code == 201
    token = made.json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    body = {"sql": "SELECT count(*) FROM orders"}
    read = await gateway.client.post("/sql/shop", json=body, headers=headers)
    assert read.status_code == 200
    refused = await gateway.client.post("/sql/shop", json={"sql": DELETE}, headers=headers)
    assert refused.json()["reason"] == "policy.denied"
    mine = read.json()["call"]
    assert (await gateway.client.get(f"/calls/{mine}", headers=headers)).status_code == 200
    theirs = {"Authorization": f"Bearer {AGENT}"}
    assert (await gateway.client.get(f"/calls/{mine}", headers=theirs)).status_code == 404
    assert (await gateway.client.get("/admin/calls", headers=headers)).status_code == 403
    assert (await gateway.admin("DELETE", "/admin/agents/bot")).status_code in (200, 204)
    again = await gateway.client.post("/sql/shop", json=body, headers=headers)
    assert again.status_code == 401


async def test_the_audit_log_verifies_and_holds_no_values(gateway: Inside) -> None:
    secret = "a-value-nobody-should-log"
    await gateway.sql("SELECT * FROM customers WHERE name = ?", params=[secret])
    await gateway.sql(f"UPDATE customers SET name = '{secret}' WHERE id = 3")
    entries = await gateway.parts.store.entries(limit=1000)
    assert verify([(e.seq, e.hash, e.body) for e in entries]).fault is None
    assert not any(secret in e.body for e in entries)
    checked = await gateway.admin("GET", "/admin/audit/verify")
    assert checked.json()["ok"] is True


async def test_a_client_that_goes_away_does_not_lose_the_outcome(
    gateway: Inside, tmp_path: Path
) -> None:
    request = asyncio.create_task(gateway.sql(DELETE))
    for _ in range(200):
        calls = (await gateway.admin("GET", "/admin/calls")).json()["calls"]
        if calls:
            break
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    for _ in range(200):
        [call] = (await gateway.admin("GET", "/admin/calls")).json()["calls"]
        if call["state"] not in ("intent", "executing"):
            break
        await asyncio.sleep(0.01)
    assert call["state"] in ("succeeded", "failed")
    gone = all(row[1] != 7 for row in dump(tmp_path)["customers"])
    assert gone == (call["effect"] == "applied")


async def test_policies_are_edited_with_their_tests_or_not_at_all(
    tmp_path: Path,
) -> None:
    import shutil

    from tests.fixtures.serving import ROOT

    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("path: policies", f"path: {tmp_path / 'policies'}"))
    async with inside(tmp_path, config) as gateway:
        data = (await gateway.admin("GET", "/admin/policies/data.yaml")).json()
        bad = await gateway.admin("PUT", "/admin/policies/gateway.rego", {"text": "package x"})
        assert bad.status_code == 422
        assert json.dumps(bad.json()["faults"])
        assert (await gateway.sql(DELETE)).status_code == 200
        tested = await gateway.admin("POST", "/admin/policies/test", {})
        assert tested.json()["failed"] == []
        assert tested.json()["revision"] == data["revision"]
