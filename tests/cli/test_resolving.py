from __future__ import annotations

import pytest

from tests.fixtures.terminal import Terminal, problem_body

PATH = "/admin/calls/call_1/resolve"


@pytest.mark.parametrize(
    ("option", "effect", "state"),
    [("--applied", "applied", "succeeded"), ("--none", "none", "failed")],
)
def test_a_person_says_what_happened(option: str, effect: str, state: str) -> None:
    answer = {"call": "call_1", "state": state, "effect": effect}
    shell = Terminal().on("POST", PATH, 200, answer)
    assert shell.run("resolve", "call_1", option, "--note", "seen in its log") == 0
    assert shell.sent == {"effect": effect, "note": "seen in its log"}
    assert f"is {state}, effect {effect}" in shell.out
    assert shell.run("resolve", "call_1", option, "--json") == 0
    assert shell.sent == {"effect": effect}


@pytest.mark.parametrize("options", [(), ("--applied", "--none")])
def test_one_of_both_has_to_be_said(options: tuple[str, ...]) -> None:
    assert Terminal().run("resolve", "call_1", *options) == 2


def test_a_call_that_is_not_unknown_is_left_alone() -> None:
    body = problem_body(412, "precondition.failed", "The call is succeeded, not unknown.")
    shell = Terminal().on("POST", PATH, 412, body)
    assert shell.run("resolve", "call_1", "--none") == 1
    assert "not unknown" in shell.err
