from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.lifecycle import State
from gateway.model import EffectState
from tests.surfaces.doubles import House, a_record, an_approval


def held(home: House) -> None:
    home.store.records["call_1"] = a_record(state=State.HELD, effect=EffectState.NONE)
    home.store.kept_approvals["apr_1"] = an_approval()


async def test_what_waits_is_shown_with_its_exact_action(home: House) -> None:
    held(home)
    [shown] = (await home.admin("GET", "/admin/approvals")).json()["approvals"]
    assert (shown["id"], shown["state"], shown["digest"]) == ("apr_1", "waiting", "d" * 64)
    assert shown["request"]["sql"] == "DELETE FROM orders WHERE id = ?"
    assert (shown["measured"], shown["reasons"]) == ({"rows": 1}, ["large"])


async def test_what_was_decided_is_shown_when_asked_for(home: House) -> None:
    home.store.kept_approvals["apr_1"] = an_approval(state="rejected")
    assert (await home.admin("GET", "/admin/approvals")).json()["approvals"] == []
    shown = (await home.admin("GET", "/admin/approvals?all=true")).json()["approvals"]
    assert [a["state"] for a in shown] == ["rejected"]


async def test_an_approved_call_is_carried_out(home: House) -> None:
    held(home)
    answer = await home.admin(
        "POST", "/admin/approvals/apr_1", json={"decision": "approve", "note": "go"}
    )
    document = answer.json()
    assert answer.status_code == 200
    assert (document["state"], document["decided_by"], document["note"]) == (
        "approved",
        "admin",
        "go",
    )
    assert document["outcome"]["state"] == "succeeded"
    assert [a.id for a in home.walk.resumed] == ["apr_1"]
    assert home.store.events == [
        (
            "admin.approvals.decide",
            {"approval": "apr_1", "decision": "approve", "note": "go", "by": "admin"},
        )
    ]


async def test_a_rejected_call_does_not_run(home: House) -> None:
    held(home)
    answer = await home.admin("POST", "/admin/approvals/apr_1", json={"decision": "reject"})
    assert (answer.status_code, answer.json()["state"]) == (200, "rejected")
    assert home.walk.resumed == []


@pytest.mark.parametrize("state", ["approved", "rejected", "used", "expired"])
async def test_an_approval_is_decided_once(home: House, state: str) -> None:
    home.store.records["call_1"] = a_record()
    home.store.kept_approvals["apr_1"] = an_approval(state=state)
    for decision in ("approve", "reject"):
        answer = await home.admin("POST", "/admin/approvals/apr_1", json={"decision": decision})
        assert (answer.status_code, answer.json()["reason"]) == (412, "precondition.failed")
    assert home.walk.resumed == []


async def test_an_approval_that_ran_out_while_deciding_carries_nothing_out(home: House) -> None:
    held(home)

    async def ran_out(id: str, **_: Any) -> Any:
        return replace(an_approval(), state="expired")

    home.store.decide_approval = ran_out  # type: ignore[method-assign]
    answer = await home.admin("POST", "/admin/approvals/apr_1", json={"decision": "approve"})
    assert (answer.status_code, answer.json()["reason"]) == (412, "precondition.failed")
    assert home.walk.resumed == []


async def test_an_approval_whose_call_was_never_carried_out_can_be_given_again(
    home: House,
) -> None:
    held(home)
    works = home.walk.resume

    async def stops(approval: Any) -> Any:
        raise StoreUnavailable("down")

    home.walk.resume = stops  # type: ignore[method-assign]
    answer = await home.admin("POST", "/admin/approvals/apr_1", json={"decision": "approve"})
    assert (answer.status_code, answer.json()["call"]) == (503, "call_1")
    home.walk.resume = works  # type: ignore[method-assign]
    again = await home.admin("POST", "/admin/approvals/apr_1", json={"decision": "approve"})
    assert (again.status_code, again.json()["outcome"]["state"]) == (200, "succeeded")


async def test_an_unknown_approval_is_not_found(home: House) -> None:
    answer = await home.admin("POST", "/admin/approvals/apr_9", json={"decision": "approve"})
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_tool")


@pytest.mark.parametrize("body", [{}, {"decision": "yes"}, {"decision": True}, {"approve": True}])
async def test_a_decision_in_other_words_is_malformed(home: House, body: Any) -> None:
    held(home)
    answer = await home.admin("POST", "/admin/approvals/apr_1", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.store.kept_approvals["apr_1"].state == "waiting"
