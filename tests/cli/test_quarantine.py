from __future__ import annotations

from tests.fixtures.terminal import Terminal

KEPT = {
    "source": "app",
    "place": "holdfast_q0123456789ab_1",
    "call": "call_1",
    "agent": "a7",
    "objects": ["orders"],
    "bytes": 8192,
    "at": "2026-03-01T13:00:00Z",
    "age_s": 60,
    "expires_at": None,
}


def test_what_lies_in_quarantine_is_listed() -> None:
    shell = Terminal().on("GET", "/admin/quarantine", 200, {"quarantine": [KEPT], "bytes": 8192})
    assert shell.run("quarantine", "list") == 0
    for part in ("app", "call_1", "orders", "8192"):
        assert part in shell.out


def test_a_purge_names_the_approval_that_it_waits_for() -> None:
    body = {"reason": "approval.required", "approval": "apr_1", "call": "call_9", "status": 202}
    shell = Terminal().on("POST", "/admin/quarantine/purges", 202, body)
    assert shell.run("quarantine", "purge", "call_1", "--source", "app") == 0
    assert "holdfast approve apr_1" in shell.out
