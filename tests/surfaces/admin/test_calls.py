from __future__ import annotations

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
