from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.model import Scope
from tests.surfaces.doubles import House


async def test_a_freeze_is_made_as_it_was_ordered(home: House) -> None:
    home.freezes.in_flight = ("call_9",)
    scope = {
        "sources": ["shop"],
        "tools": ["crm"],
        "tables": ["orders"],
        "agents": ["a7"],
        "effects": ["destructive", "drop"],
    }
    answer = await home.admin(
        "POST",
        "/admin/freezes",
        json={
            "scope": scope,
            "reason": "release",
            "starts_at": "2026-03-02T10:00:00Z",
            "ends_at": "2026-03-02T14:00:00+02:00",
            "drain": True,
        },
    )
    document = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/admin/freezes/frz_1"
    assert (document["id"], document["epoch"]) == ("frz_1", 1)
    assert (document["in_flight"], document["drained"]) == (["call_9"], False)
    assert document["ends_at"] == "2026-03-02T12:00:00Z"
    made = home.freezes.known["frz_1"]
    assert made.scope.as_json() == scope
    assert made.starts_at == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert made.created_by == "admin"
    assert home.freezes.drains == [True]
    event, body = home.store.events[0]
    assert (event, body["scope"], body["by"]) == ("admin.freezes.create", scope, "admin")


@pytest.mark.parametrize("body", [{}, {"scope": {}}, {"scope": None, "reason": "x"}])
async def test_an_empty_scope_freezes_everything_that_writes(home: House, body: Any) -> None:
    assert (await home.admin("POST", "/admin/freezes", json=body)).status_code == 201
    assert home.freezes.known["frz_1"].scope == Scope()


@pytest.mark.parametrize(
    "body",
    [
        {"scope": {"sources": ["shpo"]}},
        {"scope": {"sources": ["crm"]}},
        {"scope": {"tools": ["shop"]}},
        {"scope": {"effects": ["destrutive"]}},
        {"scope": {"effects": "delete"}},
        {"scope": {"source": ["shop"]}},
        {"scope": ["shop"]},
        {"scope": {}, "until": "2026-03-03T00:00:00Z"},
        {"scope": {}, "ends_at": "2026-03-01T00:00:00Z"},
        {"scope": {}, "starts_at": "2026-03-04T00:00:00Z", "ends_at": "2026-03-03T00:00:00Z"},
        {"scope": {}, "ends_at": "tomorrow"},
        {"scope": {}, "ends_at": "2026-03-03"},
        {"scope": {}, "drain": "yes"},
        {"scope": {}, "reason": ""},
        {"scope": {}, "reason": "x\x1b[2J"},
    ],
)
async def test_an_order_that_would_freeze_something_else_is_malformed(
    home: House, body: Any
) -> None:
    answer = await home.admin("POST", "/admin/freezes", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.freezes.known == {}
    assert home.store.events == []


async def test_freezes_are_listed_shown_and_lifted(home: House) -> None:
    await home.admin("POST", "/admin/freezes", json={"reason": "release"})
    [listed] = (await home.admin("GET", "/admin/freezes")).json()["freezes"]
    assert (listed["id"], listed["active"]) == ("frz_1", True)
    lifted = await home.admin("DELETE", "/admin/freezes/frz_1")
    assert (lifted.status_code, lifted.json()["active"]) == (200, False)
    assert (await home.admin("GET", "/admin/freezes")).json()["freezes"] == []
    kept = (await home.admin("GET", "/admin/freezes?lifted=true")).json()["freezes"]
    assert [f["id"] for f in kept] == ["frz_1"]
    shown = (await home.admin("GET", "/admin/freezes/frz_1")).json()
    assert shown["lifted_at"] is not None


@pytest.mark.parametrize("id", ["frz_9", "window:weekend"])
async def test_what_is_no_freeze_cannot_be_shown_or_lifted(home: House, id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await home.admin(method, f"/admin/freezes/{id}")
        assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_tool")


async def test_a_freeze_is_lifted_once(home: House) -> None:
    await home.admin("POST", "/admin/freezes", json={})
    assert (await home.admin("DELETE", "/admin/freezes/frz_1")).status_code == 200
    assert (await home.admin("DELETE", "/admin/freezes/frz_1")).status_code == 404
