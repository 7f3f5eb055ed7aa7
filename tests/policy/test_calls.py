"""Arguments that cannot be checked at load are refused there."""

from __future__ import annotations

import pytest

from gateway.policy.folder import Files
from gateway.policy.vet import faults_of
from tests.policy.snippets import parsed


def _faults(expression: str) -> list[str]:
    modules, _ = parsed(Files(texts={"a.rego": f"package a\n\np := {expression}\n"}))
    return [fault.message for fault in faults_of(modules, frozenset())]


@pytest.mark.parametrize(
    "expression",
    [
        'regex.match("^[a-z]+$", input.a)',
        'sprintf("%s is %d%%", [input.a, 5])',
        'sprintf("plain", [])',
        "time.weekday(time.parse_rfc3339_ns(input.context.time))",
        "time.clock(time.parse_rfc3339_ns(input.context.time))[0]",
    ],
)
def test_checked_arguments_are_accepted(expression: str) -> None:
    assert _faults(expression) == []


@pytest.mark.parametrize(
    "expression",
    [
        "regex.match(input.a, input.b)",
        'regex.match("(?=x)", input.a)',
        "sprintf(input.a, [1])",
        'sprintf("%s", input.a)',
        'sprintf("%s", [])',
        'sprintf("%s", [1, 2])',
        'sprintf("%5d", [1])',
        'sprintf("%x", [1])',
        'sprintf("%", [])',
        'sprintf("100% sure", [1])',
        "time.parse_rfc3339_ns(input.a)",
        "time.weekday(input.a)",
        'time.weekday([time.parse_rfc3339_ns(input.context.time), "Europe/Berlin"])',
        "count(input.a, input.b)",
        "count()",
    ],
)
def test_others_are_not(expression: str) -> None:
    assert _faults(expression)
