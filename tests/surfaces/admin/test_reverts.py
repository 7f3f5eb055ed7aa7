from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.model import Conflict, OnConflict
from gateway.progress import Progress
from gateway.revert import RevertRequest
from tests.surfaces.doubles import House, a_record

SINCE = "2026-03-01T00:00:00Z"
AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"call": "call_1"}, {"call": "call_1"}),
        ({"session": "s1"}, {"session": "s1"}),
        ({"session": "s1", "since": SINCE}, {"session": "s1", "since": AT}),
        ({"agent": "a7", "since": SINCE}, {"agent": "a7", "since": AT}),
        (
            {"agent": "a7", "since": SINCE, "until": "2026-03-02T00:00:00Z"},
            {"agent": "a7", "since": AT, "until": datetime(2026, 3, 2, tzinfo=UTC)},
        ),
    ],
)
async def test_a_target_is_handed_on_as_it_was_named(
    home: House, body: dict[str, Any], target: dict[str, Any]
) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.admin("POST", "/admin/reverts", json=body)
    assert answer.status_code == 200
    [request] = home.back.requests
    assert (request.target, request.by) == (target, "admin")
    assert (request.plan, request.on_conflict, request.wait) == (False, OnConflict.ABORT, True)


async def test_a_revert_answers_as_the_contract_has_it(home: House) -> None:
    home.back.state = "conflict"
    answer = await home.admin(
        "POST",
        "/admin/reverts",
        json={"call": "call_1", "on_conflict": "skip", "reason": "wrong rows"},
    )
    document = answer.json()
    assert answer.status_code == 200
    assert (document["id"], document["state"]) == ("rev_1", "conflict")
    step = document["steps"][0]
    assert step.keys() >= {"call", "upstream", "action", "state", "restored", "conflicts", "reason"}
    assert home.back.requests[0].on_conflict is OnConflict.SKIP
    assert home.store.events == [
        (
            "admin.reverts.create",
            {
                "target": {"call": "call_1"},
                "plan": False,
                "on_conflict": "skip",
                "reason": "wrong rows",
                "by": "admin",
            },
        )
    ]


async def test_a_plan_changes_nothing_and_has_no_address(home: House) -> None:
    answer = await home.admin("POST", "/admin/reverts", json={"call": "call_1", "plan": True})
    assert (answer.status_code, answer.json()["state"]) == (200, "planned")
    assert "Location" not in answer.headers


@pytest.mark.parametrize("body", [{"session": "s2"}, {"agent": "nobody", "since": SINCE}])
async def test_a_name_without_any_call_is_not_told_to_be_reverted(
    home: House, body: dict[str, Any]
) -> None:
    answer = await home.admin("POST", "/admin/reverts", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_tool")
    assert home.back.requests == []


async def test_a_long_revert_can_be_answered_early(home: House) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.admin(
        "POST", "/admin/reverts", json={"session": "s1"}, headers={"Prefer": "respond-async"}
    )
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert answer.headers["Location"] == "/admin/reverts/rev_1"
    assert home.back.requests[0].wait is False


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"call": "call_1", "session": "s1"},
        {"call": "call_1", "agent": "a7", "since": SINCE},
        {"agent": "a7"},
        {"agent": "a7", "since": None},
        {"call": "call_1", "since": SINCE},
        {"call": ""},
        {"call": ["call_1"]},
        {"session": "s1", "since": SINCE, "until": SINCE},
        {"agent": "a7", "since": "yesterday"},
        {"call": "call_1", "plan": "yes"},
        {"call": "call_1", "on_conflict": "overwrite"},
        {"call": "call_1", "dry_run": True},
    ],
)
async def test_an_order_that_leaves_a_doubt_is_malformed(home: House, body: Any) -> None:
    answer = await home.admin("POST", "/admin/reverts", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.back.requests == []


async def test_an_unknown_call_cannot_be_reverted(home: House) -> None:
    answer = await home.admin("POST", "/admin/reverts", json={"call": "call_none"})
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_tool")


@pytest.mark.parametrize(("plan", "effect"), [(False, "unknown"), (True, "none")])
async def test_a_store_that_fails_during_a_revert_leaves_its_effect_open(
    home: House, plan: bool, effect: str
) -> None:
    home.back.failing = StoreUnavailable("down")
    answer = await home.admin("POST", "/admin/reverts", json={"call": "call_1", "plan": plan})
    document = answer.json()
    assert (answer.status_code, document["effect"]) == (503, effect)
    assert document["retryable"] is plan


async def test_a_revert_can_be_looked_up(home: House) -> None:
    job = await home.back.revert(RevertRequest(target={"call": "call_1"}, by="admin"))
    home.store.jobs["rev_1"] = job
    assert (await home.admin("GET", "/admin/reverts/rev_1")).json()["state"] == "reverted"
    assert (await home.admin("GET", "/admin/reverts/rev_2")).status_code == 404


async def test_conflicts_come_in_pages_and_progress_is_shown(home: House) -> None:
    home.store.jobs["rev_1"] = await home.back.revert(
        RevertRequest(target={"call": "call_1"}, by="admin")
    )
    found = [
        Conflict(resource="main.t", key={"id": n}, before=None, after=None, now=None)
        for n in range(5)
    ]
    home.store.kept_conflicts["rev_1"] = [("call_1", conflict) for conflict in found]
    first = (await home.admin("GET", "/admin/reverts/rev_1?limit=3")).json()
    assert [c["key"]["id"] for c in first["conflicts"]] == [0, 1, 2]
    assert first["conflicts"][0]["call"] == "call_1"
    assert first["progress"] == {"restored": 3, "total": 3}
    home.back.running["rev_1"] = Progress(done=10, total=70)
    where = f"/admin/reverts/rev_1?limit=3&cursor={first['cursor']}"
    last = (await home.admin("GET", where)).json()
    assert [c["key"]["id"] for c in last["conflicts"]] == [3, 4]
    assert (last["cursor"], last["progress"]) == (None, {"restored": 10, "total": 70})
