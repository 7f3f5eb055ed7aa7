from __future__ import annotations

import pytest

from tests.fixtures.terminal import Terminal, problem_body

WAITING = {
    "id": "apr_1",
    "call": "call_1",
    "agent": "demo",
    "reasons": ["nothing limits the rows"],
    "request": {"sql": "DELETE FROM orders"},
    "measured": {"rows": 12},
    "digest": "d" * 64,
    "expires_at": "2026-03-01T13:00:00Z",
}


def test_waiting_calls_show_what_is_approved() -> None:
    shell = Terminal().on("GET", "/admin/approvals", 200, {"approvals": [WAITING]})
    assert shell.run("approvals") == 0
    for part in ("apr_1", "DELETE FROM orders", "12", "d" * 64, "nothing limits the rows"):
        assert part in shell.out


@pytest.mark.parametrize(
    ("command", "decision", "state"),
    [("approve", "approve", "used"), ("reject", "reject", "rejected")],
)
def test_a_person_decides(command: str, decision: str, state: str) -> None:
    outcome = {"call": "call_1", "state": "succeeded"}
    answer = {**WAITING, "state": state, "outcome": outcome}
    shell = Terminal().on("POST", "/admin/approvals/apr_1", 200, answer)
    assert shell.run(command, "apr_1", "--note", "seen") == 0
    assert shell.sent == {"decision": decision, "note": "seen"}
    assert f"{state}: apr_1" in shell.out


def test_a_call_that_fails_after_its_approval_says_why() -> None:
    refusal = {"reason": "limit.rows", "detail": "Too many."}
    outcome = {"call": "call_1", "state": "failed", "outcome": {"refusal": refusal}}
    answer = {**WAITING, "state": "used", "outcome": outcome}
    shell = Terminal().on("POST", "/admin/approvals/apr_1", 200, answer)
    assert shell.run("approve", "apr_1") == 1
    assert "failed: limit.rows: Too many." in shell.out
    assert shell.run("approve", "apr_1", "--json") == 1
    assert shell.run("reject", "apr_1") == 0


def test_an_approval_that_is_gone_is_a_failure() -> None:
    body = problem_body(412, "precondition.failed", "It is used.")
    shell = Terminal().on("POST", "/admin/approvals/apr_1", 412, body)
    assert shell.run("approve", "apr_1") == 1
    assert "It is used." in shell.err
