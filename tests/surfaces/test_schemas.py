from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import REASONS
from gateway.lifecycle import State
from gateway.surfaces.schemas import ANSWERS, BODIES
from tests.surfaces.doubles import House, a_record, a_snapshot, an_approval

SENT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "SqlCall": ("POST", "/sql/shop", {"sql": "SELECT 1", "params": [], "dry_run": True}),
    "FreezeOrder": ("POST", "/admin/freezes", {"scope": {}, "reason": "x", "drain": False}),
    "RevertOrder": ("POST", "/admin/reverts", {"call": "call_1", "plan": True}),
    "Ruling": ("POST", "/admin/approvals/apr_1", {"decision": "reject", "note": "no"}),
    "Resolving": ("POST", "/admin/calls/call_2/resolve", {"effect": "none", "note": "x"}),
    "PolicyText": ("PUT", "/admin/policies/main.rego", {"text": "package gateway"}),
    "NewAgent": ("POST", "/admin/agents", {"name": "c9", "roles": ["analyst"]}),
    "Purge": ("POST", "/admin/quarantine/purges", {"source": "app", "call": "call_1"}),
    "Nothing": ("POST", "/admin/audit/checkpoints", {}),
    "UndoCall": ("POST", "/calls/call_1/undo", {"plan": True, "reason": "x"}),
    "DecideCall": ("POST", "/decide", {"surface": "sql", "tool": "shop", "sql": "SELECT 1"}),
}


# Needs a server behind it: sent in tests/surfaces/mcp/test_endpoints.py.
ELSEWHERE = {"PinRuling"}


def test_every_body_has_a_case() -> None:
    assert SENT.keys() | ELSEWHERE == BODIES.keys()


@pytest.mark.parametrize("name", sorted(SENT))
async def test_bodies_take_what_is_described_and_nothing_else(home: House, name: str) -> None:
    method, path, body = SENT[name]
    home.store.records["call_1"] = a_record()
    home.store.records["call_2"] = a_record("call_2", state=State.UNKNOWN)
    home.store.kept_approvals["apr_1"] = an_approval()
    send = home.admin if path.startswith("/admin") else home.agent
    assert body.keys() <= BODIES[name]["properties"].keys()
    refused = await send(method, path, json={**body, "surprise": 1})
    assert (refused.status_code, refused.json()["reason"]) == (400, "malformed")
    assert "surprise" in refused.json()["detail"]
    assert (await send(method, path, json=body)).status_code in (200, 201, 202)


ASKED = {
    "Call": "/admin/calls/call_1",
    "Calls": "/admin/calls",
    "Freezes": "/admin/freezes",
    "Snapshots": "/admin/snapshots",
    "Snapshot": "/admin/snapshots/snap_1",
    "Approvals": "/admin/approvals",
    "Policies": "/admin/policies",
    "Policy": "/admin/policies/main.rego",
    "AuditEntries": "/admin/audit",
    "AuditVerdict": "/admin/audit/verify",
    "Agents": "/admin/agents",
    "Health": "/healthz",
    "Ready": "/readyz",
}


@pytest.mark.parametrize("name", sorted(ASKED))
async def test_answers_have_the_fields_that_are_described(home: House, name: str) -> None:
    home.store.records["call_1"] = a_record()
    home.store.kept_snapshots.append(a_snapshot())
    home.store.kept_approvals["apr_1"] = an_approval()
    document = (await home.admin("GET", ASKED[name])).json()
    assert set(ANSWERS[name]["required"]) <= document.keys()
    for field, schema in ANSWERS[name]["properties"].items():
        if schema.get("type") == "array" and "$ref" in schema["items"]:
            of = ANSWERS[schema["items"]["$ref"].rpartition("/")[2]]
            assert all(set(of["required"]) <= item.keys() for item in document[field])


def test_every_reason_is_described() -> None:
    assert set(ANSWERS["Problem"]["properties"]["reason"]["enum"]) == REASONS.keys()
