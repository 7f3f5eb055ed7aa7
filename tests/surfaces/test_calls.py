from __future__ import annotations

from typing import Any

import pytest

from gateway.lifecycle import State
from gateway.model import Deny, EffectState, OnConflict
from tests.surfaces.doubles import OTHER, House, a_record, an_approval


async def test_an_agent_sees_its_own_call(home: House) -> None:
    home.store.records["call_1"] = a_record(result={"affected": 1})
    document = (await home.agent("GET", "/calls/call_1")).json()
    assert (document["call"], document["state"], document["effect"]) == (
        "call_1",
        "succeeded",
        "applied",
    )
    assert document["decision"]["decision"] == "allow"
    assert document["result"] == {"affected": 1}
    assert document["outcome"]["refusal"] is None
    assert document["undo"]["available"] is True
    assert "idempotency_key" not in document


async def test_the_refusal_of_a_call_is_shown_as_its_problem(home: House) -> None:
    refusal = Deny(reason="limit.rows", detail="800 rows")
    home.store.records["call_1"] = a_record(
        state=State.FAILED, effect=EffectState.NONE, refusal=refusal
    )
    shown = (await home.agent("GET", "/calls/call_1")).json()["outcome"]["refusal"]
    assert (shown["reason"], shown["status"], shown["call"]) == ("limit.rows", 403, "call_1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/calls/call_1"),
        ("GET", "/calls/call_1/events"),
        ("DELETE", "/calls/call_1"),
        ("POST", "/calls/call_1/undo"),
    ],
)
async def test_the_call_of_another_agent_does_not_exist(
    home: House, method: str, path: str
) -> None:
    home.store.records["call_1"] = a_record()
    foreign = await home.agent(method, path, token=OTHER)
    missing = await home.agent(method, path.replace("call_1", "call_2"), token=OTHER)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["detail"] == missing.json()["detail"]
    assert home.walk.cancelled == []
    assert home.back.requests == []


async def test_the_admin_sees_every_call_whole_and_on_record(home: House) -> None:
    home.store.records["call_1"] = a_record(agent="b8")
    document = (await home.admin("GET", "/calls/call_1")).json()
    assert (document["agent"], document["idempotency_key"]) == ("b8", "key-1")
    assert home.store.events == [("admin.calls.show", {"call": "call_1", "by": "admin"})]


async def test_a_held_call_names_the_approval_it_waits_for(home: House) -> None:
    home.store.records["call_1"] = a_record(state=State.HELD, effect=EffectState.NONE)
    home.store.kept_approvals["apr_1"] = an_approval()
    document = (await home.agent("GET", "/calls/call_1")).json()
    assert (document["state"], document["approval"]) == ("held", "apr_1")


async def test_cancelling_tells_what_was_already_done(home: House) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.agent("DELETE", "/calls/call_1")
    assert (answer.status_code, answer.json()["effect"]) == (200, "applied")
    assert home.walk.cancelled == ["call_1"]
    assert home.store.events == []


async def test_the_admin_cancels_on_record(home: House) -> None:
    home.store.records["call_1"] = a_record()
    assert (await home.admin("DELETE", "/calls/call_1")).status_code == 200
    assert home.heard() == ["admin.calls.cancel"]


async def test_an_agent_takes_its_own_call_back(home: House) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.agent("POST", "/calls/call_1/undo")
    assert (answer.status_code, answer.json()["state"]) == (200, "reverted")
    [request] = home.back.requests
    assert (request.target, request.by) == ({"call": "call_1"}, "a7")
    assert request.on_conflict is OnConflict.ABORT


async def test_an_undo_can_be_planned_first(home: House) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.agent(
        "POST", "/calls/call_1/undo", json={"plan": True, "reason": "wrong rows"}
    )
    assert answer.json()["state"] == "planned"
    assert (home.back.requests[0].plan, home.back.requests[0].reason) == (True, "wrong rows")


async def test_an_undo_that_policy_does_not_allow_is_refused(home: House) -> None:
    home.store.records["call_1"] = a_record()
    home.may_undo[0] = Deny(reason="policy.denied", detail="Ask a person.")
    answer = await home.agent("POST", "/calls/call_1/undo")
    assert (answer.status_code, answer.json()["reason"]) == (403, "policy.denied")
    assert home.back.requests == []


async def test_an_undo_that_meets_a_conflict_is_refused_with_its_list(home: House) -> None:
    home.store.records["call_1"] = a_record()
    home.back.state, home.back.reason = "conflict", "revert.conflict"
    answer = await home.agent("POST", "/calls/call_1/undo")
    document = answer.json()
    assert (answer.status_code, document["reason"]) == (409, "revert.conflict")
    assert (document["id"], document["state"]) == ("rev_1", "conflict")
    assert document["steps"][0]["detail"] == "row 7 was changed since"


async def test_an_undo_with_an_unknown_end_does_not_claim_no_effect(home: House) -> None:
    home.store.records["call_1"] = a_record()
    home.back.state, home.back.reason = "failed", "outcome.unknown"
    document = (await home.agent("POST", "/calls/call_1/undo")).json()
    assert (document["reason"], document["effect"]) == ("outcome.unknown", "unknown")


@pytest.mark.parametrize("body", [{"on_conflict": "force"}, {"plan": 1}, [], {"reason": "x" * 501}])
async def test_an_agent_cannot_ask_for_more_than_an_undo(home: House, body: Any) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.agent("POST", "/calls/call_1/undo", json=body)
    assert answer.status_code == 400
    assert home.back.requests == []


@pytest.mark.parametrize("id", ["x" * 129, "a%20b", "%00", "call_1%0a"])
async def test_what_cannot_be_an_id_does_not_exist(home: House, id: str) -> None:
    assert (await home.agent("GET", f"/calls/{id}")).status_code == 404
