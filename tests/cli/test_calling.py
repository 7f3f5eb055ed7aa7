from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway.cli import calling
from tests.fixtures.terminal import Terminal

CALL: dict[str, Any] = {
    "call": "call_1",
    "state": "denied",
    "effect": "none",
    "agent": "demo",
    "session": "s1",
    "tool": "shop",
    "request": {"sql": "DELETE FROM customers", "params": []},
    "received_at": "2026-03-01T11:00:00Z",
    "decision": None,
    "outcome": {"refusal": {"reason": "policy.denied", "detail": "no"}},
    "undo": {"reversibility": "none", "available": False},
}
STEP = {
    "call": "call_1",
    "upstream": "shop",
    "action": "restore",
    "state": "reverted",
    "restored": 7,
    "conflicts": [],
    "reason": None,
    "detail": None,
}


def job(state: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"id": "rev_1", "state": state, "steps": list(steps)}


def test_calls_are_listed_with_why_they_were_refused() -> None:
    shell = Terminal().on("GET", "/admin/calls", 200, {"calls": [CALL], "cursor": "abc"})
    assert shell.run("calls", "--session", "s1", "--agent", "demo", "--since", "2h") == 0
    assert "denied (policy.denied)" in shell.out
    assert "DELETE FROM customers" in shell.out
    assert "--cursor abc" in shell.out
    assert shell.asked == {
        "session": "s1",
        "agent": "demo",
        "since": "2026-03-01T10:00:00Z",
        "limit": "50",
    }


def test_a_list_says_what_was_taken_back_by_which_call() -> None:
    gone = {**CALL, "state": "succeeded", "outcome": None, "reverted_by": "call_2"}
    back = {**gone, "call": "call_2", "reverts": ["call_1", "call_0"], "reverted_by": None}
    shell = Terminal().on("GET", "/admin/calls", 200, {"calls": [back, gone], "cursor": None})
    assert shell.run("calls") == 0
    assert "succeeded, then reverted" in shell.out
    assert "takes back call_1 and 1 more" in shell.out


def test_a_time_that_is_none_is_a_usage_error() -> None:
    shell = Terminal()
    assert shell.run("calls", "--since", "yesterday") == 2
    assert "15m, 2h, 1d" in shell.err
    assert shell.requests == []


def test_one_call_is_shown_field_by_field() -> None:
    shell = Terminal().on("GET", "/admin/calls/call_1", 200, CALL)
    assert shell.run("show", "call_1") == 0
    assert "request.sql" in shell.out
    assert "outcome.refusal.reason" in shell.out
    assert "no" in shell.out


def test_sql_from_an_agent_cannot_act_on_the_terminal() -> None:
    hostile = "SELECT '\x1b]52;c;ZXZpbA==\x07\x1b[2J\r\u202e\u200b[red]x[/red]'"
    call = {**CALL, "request": {"sql": hostile}}
    shell = Terminal().on("GET", "/admin/calls/call_1", 200, call)
    shell.on("GET", "/admin/calls", 200, {"calls": [call], "cursor": None})
    for arguments in (("show", "call_1"), ("calls",), ("calls", "--json")):
        assert shell.run(*arguments) == 0
        assert not set("\x1b\x07\r\u202e\u200b") & set(shell.out)
        assert "[red]x[/red]" in shell.out
    assert json.loads(shell.out)["calls"][0]["request"]["sql"] == hostile
    shell.run("show", "call_1")
    assert "\\x1b[2J\\r\\u202e\\u200b" in shell.out


def test_a_call_is_reverted() -> None:
    shell = Terminal().on("POST", "/admin/reverts", 200, job("reverted", STEP))
    assert shell.run("revert", "call_1", "--reason", "oops") == 0
    assert shell.sent == {
        "call": "call_1",
        "plan": False,
        "on_conflict": "abort",
        "reason": "oops",
    }
    assert "reverted (rev_1)" in shell.out


def test_what_an_agent_did_is_reverted_since_a_time() -> None:
    shell = Terminal().on("POST", "/admin/reverts", 200, job("reverted"))
    arguments = ("--agent", "demo", "--since", "1d", "--on-conflict", "skip")
    assert shell.run("revert", *arguments) == 0
    assert shell.sent["agent"] == "demo"
    assert shell.sent["since"] == "2026-02-28T12:00:00Z"
    assert shell.sent["on_conflict"] == "skip"


def test_a_plan_that_would_go_through_succeeds() -> None:
    planned = {**STEP, "state": "planned"}
    shell = Terminal().on("POST", "/admin/reverts", 200, job("planned", planned))
    assert shell.run("revert", "--session", "s1", "--plan") == 0
    assert shell.sent["plan"] is True


def test_a_plan_with_a_conflict_fails() -> None:
    conflict = {"resource": "main.customers", "key": {"id": 7}, "before": {}, "after": {}, "now": 1}
    step = {**STEP, "state": "conflict", "conflicts": [conflict]}
    shell = Terminal().on("POST", "/admin/reverts", 200, job("planned", step))
    assert shell.run("revert", "--session", "s1", "--plan") == 1
    assert "main.customers" in shell.out


@pytest.mark.parametrize("state", ["conflict", "partial", "failed"])
def test_a_revert_that_is_not_whole_fails(state: str) -> None:
    shell = Terminal().on("POST", "/admin/reverts", 200, job(state, {**STEP, "state": "failed"}))
    assert shell.run("revert", "call_1", "--json") == 1
    assert json.loads(shell.out)["state"] == state


def test_a_long_revert_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "_POLL_S", 0)
    states = iter(["running", "reverted"])

    def answer(_: httpx.Request) -> tuple[int, Any]:
        progress = {"restored": 500, "total": 100_000}
        return 200, {**job(next(states), STEP), "progress": progress}

    shell = Terminal().on("POST", "/admin/reverts", 202, job("running"))
    shell.answers["GET", "/admin/reverts/rev_1"] = answer
    assert shell.run("revert", "call_1") == 0
    assert [r.method for r in shell.requests] == ["POST", "GET", "GET"]
    assert shell.requests[0].headers["Prefer"] == "respond-async"
    assert shell.err.count("500 of 100000 rows") == 1


def test_every_conflict_is_listed_page_by_page() -> None:
    one = {"call": "call_1", "resource": "main.t", "before": {}, "after": {}, "now": None}
    step = {**STEP, "state": "conflict", "conflicts": [{**one, "key": 1}], "more": 2}
    shell = Terminal().on("POST", "/admin/reverts", 200, job("conflict", step))
    pages = iter([([1, 2], "2"), ([3], None)])

    def answer(_: httpx.Request) -> tuple[int, Any]:
        keys, cursor = next(pages)
        found = [{**one, "key": f"key-{key}"} for key in keys]
        return 200, {**job("conflict", step), "conflicts": found, "cursor": cursor}

    shell.answers["GET", "/admin/reverts/rev_1"] = answer
    assert shell.run("revert", "call_1", "--all") == 1
    assert "And 2 more" in shell.out
    assert [f"key-{n}" in shell.out for n in (1, 2, 3)] == [True, True, True]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("call_1", "--session", "s1"),
        ("--agent", "demo"),
        ("call_1", "--since", "1d"),
        ("call_1", "--on-conflict", "overwrite"),
    ],
)
def test_a_target_that_is_not_clear_reverts_nothing(arguments: tuple[str, ...]) -> None:
    shell = Terminal()
    assert shell.run("revert", *arguments) == 2
    assert shell.requests == []
