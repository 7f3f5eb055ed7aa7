from __future__ import annotations

import json

import pytest

from tests.fixtures.terminal import Terminal

FROZEN = {"id": "frz_1", "epoch": 3, "in_flight": [], "drained": True}
WINDOW = {"id": "window:night", "origin": "window:night", "scope": {}, "reason": "r"}
LISTED = {
    "id": "frz_1",
    "origin": "admin",
    "scope": {"sources": ["shop"], "effects": ["ddl"], "tables": []},
    "reason": "release",
    "starts_at": "2026-03-01T12:00:00Z",
    "ends_at": None,
    "lifted_at": None,
}


def terminal() -> Terminal:
    return Terminal().on("POST", "/admin/freezes", 201, FROZEN)


def test_a_freeze_without_scope_covers_everything_that_writes() -> None:
    shell = terminal()
    assert shell.run("freeze", "--reason", "release 4.2") == 0
    assert shell.sent["reason"] == "release 4.2"
    assert not any(shell.sent["scope"].values())
    assert "frz_1" in shell.out
    assert "Drained" in shell.out


def test_a_freeze_is_scoped_by_its_words() -> None:
    shell = terminal()
    words = ("source:shop", "table:customers", "agent=demo", "ddl", "tool:crm", "other")
    assert shell.run("freeze", *words, "--reason", "r", "--drain") == 0
    assert shell.sent["scope"] == {
        "sources": ["shop", "other"],
        "tools": ["crm"],
        "tables": ["customers"],
        "agents": ["demo"],
        "effects": ["ddl"],
    }
    assert shell.sent["drain"] is True


@pytest.mark.parametrize("word", ["planet:mars", "source:", ":shop"])
def test_a_scope_that_is_not_understood_freezes_nothing(word: str) -> None:
    shell = terminal()
    assert shell.run("freeze", word, "--reason", "r") == 2
    assert shell.requests == []


def test_a_freeze_needs_a_reason() -> None:
    shell = terminal()
    assert shell.run("freeze") == 2
    assert shell.requests == []


def test_the_end_of_a_freeze_lies_ahead() -> None:
    shell = terminal()
    assert shell.run("freeze", "--reason", "r", "--until", "2h", "--from", "15m") == 0
    assert shell.sent["starts_at"] == "2026-03-01T12:15:00Z"
    assert shell.sent["ends_at"] == "2026-03-01T14:00:00Z"


def test_calls_that_may_still_land_are_named() -> None:
    answer = {**FROZEN, "in_flight": ["call_9"], "drained": False}
    shell = Terminal().on("POST", "/admin/freezes", 201, answer)
    assert shell.run("freeze", "--reason", "r") == 0
    assert "call_9" in shell.out


def test_one_freeze_is_lifted() -> None:
    shell = Terminal().on("DELETE", "/admin/freezes/frz_1", 200, LISTED)
    assert shell.run("unfreeze", "frz_1") == 0
    assert "Lifted: frz_1" in shell.out


def test_all_freezes_that_people_set_are_lifted() -> None:
    shell = Terminal().on("GET", "/admin/freezes", 200, {"freezes": [WINDOW, LISTED]})
    shell.on("DELETE", "/admin/freezes/frz_1", 200, LISTED)
    assert shell.run("unfreeze", "--all", "--json") == 0
    assert json.loads(shell.out) == {"freezes": [LISTED]}
    assert [r.method for r in shell.requests] == ["GET", "DELETE"]


@pytest.mark.parametrize("arguments", [(), ("frz_1", "--all")])
def test_unfreeze_wants_one_or_all(arguments: tuple[str, ...]) -> None:
    shell = Terminal()
    assert shell.run("unfreeze", *arguments) == 2
    assert shell.requests == []


@pytest.mark.parametrize("id", ["../calls", "a/b", "..", "%2e%2e", "a?b", "a b", ""])
def test_an_id_cannot_be_another_path(id: str) -> None:
    shell = Terminal()
    assert shell.run("unfreeze", id) == 1
    assert shell.requests == []


def test_freezes_are_listed() -> None:
    shell = Terminal().on("GET", "/admin/freezes", 200, {"freezes": [LISTED, WINDOW]})
    assert shell.run("freezes") == 0
    assert "source:shop effect:ddl" in shell.out
    assert "everything that writes" in shell.out
    assert shell.asked == {}


def test_lifted_freezes_are_listed_on_request() -> None:
    shell = Terminal().on("GET", "/admin/freezes", 200, {"freezes": []})
    assert shell.run("freezes", "--all") == 0
    assert shell.asked == {"lifted": "true"}
    assert shell.out.strip() == "none"
