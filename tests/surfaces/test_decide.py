from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import NotFound, StoreUnavailable
from gateway.model import Deny, Hold, Obligations, Surface
from gateway.pipeline import Judgement
from tests.surfaces.doubles import House

SQL = {"surface": "sql", "tool": "shop", "sql": "DELETE FROM orders", "params": [1]}


async def test_an_allowed_call_comes_with_its_obligations_and_input(home: House) -> None:
    answer = await home.agent("POST", "/decide", json=SQL)
    assert answer.status_code == 200
    assert answer.json() == {
        "decision": "allow",
        "reason": None,
        "reasons": [],
        "obligations": {"max_rows": 7},
        "revision": "r1",
        "input": {"version": 1},
    }
    [call] = home.walk.calls
    assert (call.surface, call.tool) == (Surface.SQL, "shop")
    assert call.request == {"sql": "DELETE FROM orders", "params": [1]}


async def test_a_held_call_is_a_hold(home: House) -> None:
    hold = Hold(reasons=("large",), obligations=Obligations(approvers=("lead",)), revision="r1")
    home.walk.judgement = Judgement(decision=hold, document={})
    document = (await home.agent("POST", "/decide", json=SQL)).json()
    assert (document["decision"], document["reason"]) == ("hold", "approval.required")
    assert document["obligations"] == {"approvers": ["lead"]}


async def test_sql_that_cannot_be_parsed_is_a_denial_not_a_bad_request(home: House) -> None:
    deny = Deny(reason="sql.unparsable", detail="at 3")
    home.walk.judgement = Judgement(decision=deny, document=None)
    answer = await home.agent("POST", "/decide", json={**SQL, "sql": "SELEC"})
    document = answer.json()
    assert answer.status_code == 200
    assert (document["decision"], document["reason"], document["input"]) == (
        "deny",
        "sql.unparsable",
        None,
    )
    assert document["obligations"] == {}


@pytest.mark.parametrize(
    "body",
    [
        {**SQL, "tool": "nowhere"},
        {**SQL, "tool": "crm"},
        {"surface": "http", "tool": "nowhere", "method": "GET", "path": "/x"},
        {"surface": "mcp", "tool": "notes.delete", "arguments": {"id": 1}},
    ],
)
async def test_a_tool_that_is_not_here_is_denied(home: House, body: dict[str, Any]) -> None:
    answer = await home.agent("POST", "/decide", json=body)
    assert answer.status_code == 200
    assert (answer.json()["decision"], answer.json()["reason"]) == ("deny", "unknown_tool")
    assert home.walk.calls == []


async def test_a_tool_that_went_away_meanwhile_is_denied(home: House) -> None:
    home.walk.judgement = NotFound("gone")
    assert (await home.agent("POST", "/decide", json=SQL)).json()["reason"] == "unknown_tool"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"surface": "sql", "tool": "shop"},
        {**SQL, "surface": "pgwire"},
        {**SQL, "surface": "admin"},
        {**SQL, "surface": None},
        {**SQL, "tool": 1},
        {**SQL, "path": "/x"},
        {**SQL, "params": "x"},
        {"surface": "mcp", "tool": "notes", "sql": "SELECT 1"},
    ],
)
async def test_only_a_malformed_body_is_a_bad_request(home: House, body: dict[str, Any]) -> None:
    answer = await home.agent("POST", "/decide", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_a_decision_that_cannot_be_had_is_unavailable(home: House) -> None:
    home.walk.judgement = StoreUnavailable("down")
    answer = await home.agent("POST", "/decide", json=SQL)
    assert (answer.status_code, answer.json()["reason"]) == (503, "store.unavailable")


async def test_deciding_records_nothing_of_an_agent_and_the_asking_of_the_admin(
    home: House,
) -> None:
    await home.agent("POST", "/decide", json=SQL)
    assert home.store.events == []
    await home.admin("POST", "/decide", json=SQL)
    assert home.heard() == ["admin.decide"]
    assert home.walk.calls[-1].subject.roles == ("admin",)
