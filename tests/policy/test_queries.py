"""What a query may say, and what is known of its variables."""

from __future__ import annotations

import pytest

from gateway.policy.folder import Files
from gateway.policy.vet import faults_of
from tests.policy.snippets import parsed

RULES = "f(x) if x == 1\n\ng := 1 if input.g\n\ns contains 1 if input.s\n\ndefault d := 0\n\n"


def _faults(body: str, file: str = "a.rego") -> list[str]:
    modules, _ = parsed(Files(texts={file: f"package a\n\n{RULES}p if {{ {body} }}\n"}))
    return [fault.message for fault in faults_of(modules, {"roles"})]


@pytest.mark.parametrize(
    "body",
    [
        "not input.a.b",
        "not g",
        "not input.a == 1",
        "x := input.a; not f(x)",
        "x := input.a; not x in s",
        "not 1 in [y | some y in input.a]",
        "x := input.a; not d == x",
        "some i; input.a[i] == 1; not input.b[i]",
        "every k, v in input.a { k != v }",
        "some i, x in input.a; i == x",
        "[x, _] := input.a; x",
        "x := {y: z | some y, z in input.a}; count(x) > 0",
        "is_number(input.a); x := input.b; is_number(x); x < input.c",
        'input.a < "b"',
        "data.roles.developer",
        "some role in input.a; data.roles[role]",
        "f(1)",
        "input.a[_] == 1",
    ],
)
def test_clear_queries_are_accepted(body: str) -> None:
    assert _faults(body) == []


@pytest.mark.parametrize(
    "body",
    [
        "not f(input.a)",
        "not input.a > 1",
        "not input.a != 1",
        "not input.a == input.b",
        "not input.a in s",
        "not f(g)",
        "x := input.a; not f(f(x))",
        "not input.a[_]",
        "not input.a[g]",
        "not {input.a} == {1}",
        "x == 1; x := 1",
        "x := 1; x := 2",
        "g := 1; g",
        "count := 1; count",
        "some i; not input.a[i]",
        "some i; true",
        "input.a[i] == 1",
        'some {"a": x} in input.a; x',
        '{"a": x} := input.a; x',
        "x = 1; x",
        "f == 1",
        "g(1)",
        "f(1, 2)",
        "data.rolls",
        "data.a",
        "data[input.x]",
        "input.a < input.b",
        "1 == 2",
        "_ == 1",
        "walk(input.a, [_, _])",
        "d with input.a as 1",
    ],
)
def test_unclear_queries_are_refused(body: str) -> None:
    assert _faults(body)


def test_tests_may_replace_input_and_data_but_no_rules() -> None:
    for body, refused in [
        ("d with input as {}", False),
        ("d with input.a as 1", False),
        ("d with data.roles as {}", False),
        ("d with data.a.g as 1", True),
        ("d with f as count", True),
        ("d with count as f", True),
        ("d with data as {}", True),
    ]:
        assert bool(_faults(body, "a_test.rego")) == refused, body
