"""Replaced functions answer as OPA does, or raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.functions import ALLOWED, COUNT_ASTRAL, REPLACED, SCALAR_RESULTS, refusal
from tests.policy.conftest import OpaServer

BY_NAME = {replacement.name: replacement.answer for replacement in (*REPLACED, COUNT_ASTRAL)}


def _opa(server: OpaServer, expression: str, values: list[Any]) -> list[Any]:
    """What OPA makes of ``expression`` over each of ``values``; ``None`` where it is undefined."""
    rego = f"package many\n\np := [[i, {expression}] | some i, x in input.xs]\n"
    assert server.client.put("/v1/policies/many", content=rego).status_code == 200
    try:
        answer = server.client.post("/v1/data/many/p", json={"input": {"xs": values}})
        found = dict(json.loads(answer.text)["result"])
    finally:
        server.client.delete("/v1/policies/many")
    return [found.get(at) for at in range(len(values))]


def _ours(name: str, *arguments: Any) -> Any:
    try:
        return BY_NAME[name](*arguments)
    except (TypeError, ValueError):
        return None


@pytest.mark.opa
@pytest.mark.parametrize("name", ["lower", "upper"])
def test_case_changes_of_every_letter_are_those_of_opa(name: str, opa_server: OpaServer) -> None:
    letters = [chr(n) for n in range(1, 0x11000) if not 0xD800 <= n <= 0xDFFF]
    ours = [_ours(name, letter) for letter in letters]
    theirs = _opa(opa_server, f"{name}(x)", letters)
    pairs = zip(letters, ours, theirs, strict=True)
    differing = [letter for letter, mine, other in pairs if mine is not None and mine != other]
    assert differing == []
    assert sum(mine is not None for mine in ours) > 60_000


@pytest.mark.opa
def test_counts_of_texts_are_those_of_opa(opa_server: OpaServer) -> None:
    texts = ["", "a", "é", "e\u0301", "中文", "😀", "a😀b😀", "\U0010ffff", "👨\u200d👩"]
    assert [_ours("count", text) for text in texts] == _opa(opa_server, "count(x)", texts)


@pytest.mark.opa
@pytest.mark.parametrize("verb", ["s", "d", "v"])
def test_what_sprintf_writes_is_what_opa_writes(verb: str, opa_server: OpaServer) -> None:
    values = ["", "x", "%s", "é😀", 0, 5, -5, 2**53, 0.1, 0.25, 1.5, -2.75, 1e-3, 123456.789, True]
    theirs = _opa(opa_server, f'sprintf("<%{verb}>%%", [x])', values)
    ours = [_ours("sprintf", f"<%{verb}>%%", [value]) for value in values]
    assert [t for o, t in zip(ours, theirs, strict=True) if o is not None] == [
        o for o in ours if o is not None
    ]
    assert any(o is not None for o in ours)


@pytest.mark.opa
@pytest.mark.parametrize("name", ["sort", "max", "min", "sum"])
def test_collections_are_ordered_and_summed_as_opa_does(name: str, opa_server: OpaServer) -> None:
    values = [[3, 1, 2], [1.5, -2, 0], ["b", "a", "Z", "é", "😀", "\uffee"], [7], ["x"], [1, "a"]]
    theirs = _opa(opa_server, f"{name}(x)", values)
    for value, expected in zip(values, theirs, strict=True):
        mine = _ours(name, value)
        assert mine is None or mine == expected
    assert _ours(name, [3, 1, 2]) is not None


@given(st.lists(st.integers(-(2**53), 2**53) | st.text(max_size=3) | st.none() | st.booleans()))
def test_mixed_collections_raise(values: list[Any]) -> None:
    numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    texts = all(isinstance(value, str) for value in values)
    assert (_ours("sort", values) is not None) == (numbers or texts)


def test_a_sum_that_could_lose_digits_raises() -> None:
    assert _ours("sum", [2**53, 1]) is None
    assert _ours("sum", [2**60, -(2**60)]) is None
    assert _ours("sum", [0.1, 0.2]) is None
    assert _ours("sum", []) == 0


def test_the_lists_agree() -> None:
    assert ALLOWED.keys() >= SCALAR_RESULTS
    for replacement in (*REPLACED, COUNT_ASTRAL):
        assert ALLOWED[replacement.name] == replacement.arity
    assert not any(
        name.startswith(("http", "net", "io", "opa", "rand", "uuid")) for name in ALLOWED
    )
    assert "replayed" in refusal("rand.intn")
