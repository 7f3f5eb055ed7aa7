"""Accepted patterns match in the embedded engine exactly what they match in OPA."""

from __future__ import annotations

import json

import pytest
import regorus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy.patterns import fault_of
from tests.policy.conftest import OpaServer

REFUSED = [
    r"\d", r"\w", r"\s", r"\b", r"\D", r"\pL", r"\x{e9}", r"\Qa\E", r"\C", r"\141", r"a\z", r"\A",
    "(?=a)", "(?!a)", "(?<n>a)", "(?P<n>a)", "(?x)a", "(?s)a", "(?m)a", "(?U)a", "a(?i)b", r"(a)\1",
    "[[:alpha:]]", "[a[b]]", "[a&&b]", "[a--b]", "[a~~b]", "[]", "[^]", "[a", "a]b[", "a{1001}",
    "a{2,1}", "a{,5}", "a{2}{3}", "a**", "a+*", "*a", "^*", "$+", "|*", "(*)", "(", ")", "a)", "(a",
    "a{", "a{x}", "[a-]", "}", "a\\", "\x00",
]  # fmt: skip
ACCEPTED = [
    "", "abc", "^abc$", "a.c", "a*b+c?", "a*?b", "(a|b)+", "(?:ab)*", "[a-z]+", "[^a-z]",
    "[a-z0-9_]",     r"[\]\-]", r"a\.b", r"\(x\)", "a{3}", "a{1,3}", "a{2,}", "a{1000}",
    "(?i)abc", "^(a+)+$", "()", "(|a)",
    "é+", "[à-ü]", "😀", "a|", "^$", "x{1,2}?", "[.]", "[a.]", r"[\^a]"
]  # fmt: skip
SUBJECTS = [
    "", "a", "abc", "ABC", "a\nc", "abc\n", "aab", "ab]-", "é", "É", "k\u212a", "😀x", "a.b",
    "(x)", "a-z", "{", "0_9",
]  # fmt: skip


def _ours(pattern: str) -> list[bool]:
    engine = regorus.Engine()
    engine.add_policy("p.rego", _rego(pattern))
    engine.set_input_json(json.dumps({"xs": SUBJECTS}))
    found: list[bool] = json.loads(engine.eval_rule_as_json("data.pattern.p"))
    return found


def _rego(pattern: str) -> str:
    return f"package pattern\n\np := [regex.match({json.dumps(pattern)}, x) | some x in input.xs]\n"


def _opa(server: OpaServer, pattern: str) -> list[bool]:
    put = server.client.put("/v1/policies/pattern", content=_rego(pattern).encode())
    assert put.status_code == 200, put.text
    try:
        answer = server.client.post("/v1/data/pattern/p", json={"input": {"xs": SUBJECTS}})
        found: list[bool] = answer.json()["result"]
    finally:
        server.client.delete("/v1/policies/pattern")
    return found


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_outside_the_common_grammar_is_refused(pattern: str) -> None:
    assert fault_of(pattern) is not None


@pytest.mark.opa
@pytest.mark.parametrize("pattern", ACCEPTED)
def test_an_accepted_pattern_matches_alike(pattern: str, opa_server: OpaServer) -> None:
    assert fault_of(pattern) is None
    assert _ours(pattern) == _opa(opa_server, pattern)


@pytest.mark.opa
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pattern=st.text("abAé.-_^$|()?:i[]*+{}1,2\\&~", min_size=1, max_size=9).filter(
        lambda text: fault_of(text) is None
    )
)
def test_any_accepted_pattern_matches_alike(pattern: str, opa_server: OpaServer) -> None:
    assert _ours(pattern) == _opa(opa_server, pattern)
