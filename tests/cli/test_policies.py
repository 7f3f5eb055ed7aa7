from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.terminal import Terminal

RULES = """package gateway

import rego.v1

default decision := {"allow": false, "hold": false, "reasons": ["no"], "obligations": {}}

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {"max_rows": MAX}} if {
	input.action.class in ["CLASSES"]
	"developer" in input.subject.roles
	input.resource.environment == "staging"
	input.context.freezes == []
}
"""
TESTS = """package gateway_test

import rego.v1

test_reads if data.gateway.decision.allow with input as {
	"action": {"class": "read"},
	"subject": {"roles": ["developer"]},
	"resource": {"environment": "staging"},
	"context": {"freezes": []},
}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    edit(tmp_path, 'read", "write')
    (tmp_path / "policies/gateway_test.rego").write_text(TESTS)
    file = tmp_path / "config.yaml"
    file.write_text(
        f"policy: {{path: '{tmp_path}/policies'}}\n"
        'identity: {admin_token: "${HOLDFAST_ADMIN_TOKEN}"}\n'
        "sources: {shop: {url: 'sqlite:///shop.db', environment: staging}}\n"
    )
    return file


def edit(folder: Path, classes: str, most: int = 50) -> None:
    text = RULES.replace("CLASSES", classes).replace("MAX", str(most))
    (folder / "policies/gateway.rego").write_text(text)


def call(id: str, cls: str, **changed: Any) -> dict[str, Any]:
    action = {
        "surface": "sql",
        "tool": "shop",
        "name": "update",
        "class": cls,
        "reversibility": "exact",
        "idempotent": False,
        "digest": "d",
        "effects": [],
        "sql": None,
        "http": None,
        "mcp": None,
    }
    return {
        "call": id,
        "state": "succeeded",
        "effect": "applied",
        "generation": 1,
        "agent": "demo",
        "session": "s",
        "roles": ["developer"],
        "tool": "shop",
        "received_at": "2026-03-01T11:00:00Z",
        "reason": None,
        "action": action,
        "measured": None,
        "decision": {"decision": "allow", "reason": None},
        "outcome": None,
        "reverts": [],
        **changed,
    }


def refused(reason: str) -> dict[str, Any]:
    return {"decision": None, "outcome": {"refusal": {"reason": reason}}}


def measured(rows: int) -> dict[str, Any]:
    counts = {"inserted": rows, "updated": 0, "deleted": 0}
    return {"rows": rows, "share": 0.0, "tables": {"main.t": counts}}


def replayed(config: Path, *calls: dict[str, Any]) -> dict[str, Any]:
    shell = Terminal().on("GET", "/admin/calls", 200, {"calls": list(calls), "cursor": None})
    arguments = ("policy", "replay", "--since", "1d", "--config", str(config), "--json")
    assert shell.run(*arguments) == 0, shell.err
    found: dict[str, Any] = json.loads(shell.out)
    return found


def test_the_tests_of_the_policies_run(config: Path) -> None:
    shell = Terminal(environ={})
    assert shell.run("policy", "test", "--config", str(config)) == 0
    assert "1 tests passed" in shell.out


def test_a_failing_test_is_named(config: Path, tmp_path: Path) -> None:
    edit(tmp_path, "write")
    shell = Terminal(environ={})
    assert shell.run("policy", "test", "--config", str(config)) == 1
    assert "gateway_test.rego:5" in shell.err
    assert shell.run("policy", "test", "--config", str(config), "--json") == 1
    assert json.loads(shell.out)["reason"] == "policy.invalid"


def test_the_same_policies_change_nothing(config: Path) -> None:
    found = replayed(config, call("c1", "read"), call("c2", "ddl", **refused("policy.denied")))
    assert found["changes"] == []
    assert found["replayed"] == 2


def test_what_a_limit_or_a_person_decided_is_no_change(config: Path, tmp_path: Path) -> None:
    edit(tmp_path, 'read", "write', most=5)
    refusal = {"reason": "limit.rows", "measured": measured(60)}
    over = call("c1", "write", outcome={"refusal": refusal})
    assert replayed(config, over)["changes"] == []
    approved = call("c2", "write", approval="apr_1")
    [change] = replayed(config, approved)["changes"]
    assert (change["was"], change["becomes"]) == ("hold", "allow")


def test_what_an_edit_would_change_is_listed(config: Path, tmp_path: Path) -> None:
    edit(tmp_path, 'read", "ddl')
    found = replayed(
        config,
        call("c1", "read"),
        call("c2", "write"),
        call("c3", "ddl", **refused("policy.denied")),
    )
    changes = [(c["call"], c["was"], c["becomes"]) for c in found["changes"]]
    assert changes == [("c2", "allow", "deny"), ("c3", "deny", "allow")]


def test_measured_rows_are_held_against_new_obligations(config: Path, tmp_path: Path) -> None:
    edit(tmp_path, 'read", "write', most=5)
    found = replayed(config, call("c1", "write", measured=measured(6)))
    assert [c["becomes"] for c in found["changes"]] == ["deny"]
    edit(tmp_path, 'read", "write', most=90)
    over = call("c1", "write", measured=measured(60), **refused("limit.rows"))
    assert [c["becomes"] for c in replayed(config, over)["changes"]] == ["allow"]


def test_a_call_that_a_freeze_stopped_was_not_denied_by_policy(config: Path) -> None:
    assert replayed(config, call("c1", "write", **refused("frozen")))["changes"] == []


def test_calls_that_policy_never_saw_are_counted_apart(config: Path) -> None:
    found = replayed(
        config,
        call("c1", "read", action=None),
        call("c2", "read", tool="gone"),
        call("c3", "read", reverts=["c1"]),
    )
    assert (found["replayed"], found["not_replayed"]) == (0, 3)


def test_changes_are_shown_to_people(config: Path, tmp_path: Path) -> None:
    edit(tmp_path, "read")
    listed = {"calls": [call("c1", "write")], "cursor": None}
    shell = Terminal().on("GET", "/admin/calls", 200, listed)
    assert shell.run("policy", "replay", "--since", "1d", "--config", str(config)) == 0
    assert "1 calls decided again, 1 would change" in shell.out
