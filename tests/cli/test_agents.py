from __future__ import annotations

from tests.fixtures.terminal import Terminal


def test_an_added_agents_token_is_shown() -> None:
    answer = {"name": "bot", "roles": ["reader"], "token": "hf_abc"}
    shell = Terminal().on("POST", "/admin/agents", 201, answer)
    assert shell.run("agent", "add", "bot", "--role", "reader", "--role", "auditor") == 0
    assert shell.sent == {"name": "bot", "roles": ["reader", "auditor"]}
    assert shell.out.splitlines()[-1] == "hf_abc"


def test_an_agent_is_revoked() -> None:
    shell = Terminal().on("DELETE", "/admin/agents/bot", 200, {"name": "bot", "revoked": True})
    assert shell.run("agent", "revoke", "bot") == 0
    assert "Revoked: bot" in shell.out


def test_agents_are_listed() -> None:
    listed = {"name": "bot", "roles": ["reader"], "origin": "store", "created_at": "2026-01-01"}
    shell = Terminal().on("GET", "/admin/agents", 200, {"agents": [listed]})
    assert shell.run("agent", "list") == 0
    assert "bot" in shell.out
    assert "reader" in shell.out
