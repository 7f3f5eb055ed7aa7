from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.lifecycle import State
from tests.surfaces.doubles import House, a_record


async def test_calls_are_listed_by_what_was_asked(home: House) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.admin(
        "GET",
        "/admin/calls?session=s1&agent=a7&tool=shop&since=2026-03-01T00:00:00Z"
        "&until=2026-03-03T00:00:00Z&state=succeeded,unknown&limit=5&cursor=c1",
    )
    document = answer.json()
    assert [c["call"] for c in document["calls"]] == ["call_1"]
    assert document["cursor"] == "more"
    assert home.store.asked == {
        "session": "s1",
        "agent": "a7",
        "tool": "shop",
        "since": datetime(2026, 3, 1, tzinfo=UTC),
        "until": datetime(2026, 3, 3, tzinfo=UTC),
        "states": (State.SUCCEEDED, State.UNKNOWN),
        "limit": 5,
        "cursor": "c1",
    }


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "state=done", "since=yesterday", "sesion=s1", "limit=1&limit=2"],
)
async def test_a_question_that_is_not_understood_is_malformed(home: House, query: str) -> None:
    answer = await home.admin("GET", f"/admin/calls?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.store.asked == {}


async def test_one_call_is_shown_whole(home: House) -> None:
    home.store.records["call_1"] = a_record()
    document = (await home.admin("GET", "/admin/calls/call_1")).json()
    assert (document["snapshot"], document["receipt"]) == ("snap_1", "call_1")
    missing = await home.admin("GET", "/admin/calls/call_2")
    assert (missing.status_code, missing.json()["reason"]) == (404, "unknown_tool")


@pytest.mark.parametrize(("effect", "state"), [("applied", "succeeded"), ("none", "failed")])
async def test_a_person_settles_a_call_of_unknown_outcome(
    home: House, effect: str, state: str
) -> None:
    home.store.records["call_1"] = replace(a_record(), state=State.UNKNOWN)
    body = {"effect": effect, "note": "looked it up"}
    answer = await home.admin("POST", "/admin/calls/call_1/resolve", json=body)
    document = answer.json()
    assert (answer.status_code, document["state"], document["effect"]) == (200, state, effect)
    assert ("admin.calls.resolve", {"call": "call_1", **body, "by": "admin"}) in home.store.events

    again = await home.admin("POST", "/admin/calls/call_1/resolve", json=body)
    assert (again.status_code, again.json()["reason"]) == (412, "precondition.failed")


async def test_only_an_unknown_call_is_resolved_and_only_so(home: House) -> None:
    home.store.records["call_1"] = a_record()
    path = "/admin/calls/call_1/resolve"
    assert (await home.admin("POST", path, json={"effect": "applied"})).status_code == 412
    assert (await home.admin("POST", path, json={"effect": "perhaps"})).status_code == 400
    assert (await home.admin("POST", path, json={})).status_code == 400
    missing = await home.admin("POST", "/admin/calls/call_9/resolve", json={"effect": "none"})
    assert missing.status_code == 404
