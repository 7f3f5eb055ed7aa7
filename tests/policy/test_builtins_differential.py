"""Every function that policies may call, over many arguments: as OPA answers, or a failure."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from gateway.policy.compiled import Compiled, EngineFailed, is_astral
from gateway.policy.folder import Files
from gateway.policy.functions import ALLOWED
from tests.policy.conftest import OpaServer
from tests.policy.snippets import parsed

# Those whose arguments are written out in the policy have tests of their own.
WRITTEN_OUT = {"regex.match", "sprintf"} | {name for name in ALLOWED if name.startswith("time.")}
# `sets` turns lists into sets on the way, which JSON cannot carry.
SETS = dict.fromkeys(("intersection", "union"), "{{y | some y in z} | some z in a}")
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 5, 1.5, -0.25, 9007199254740993, "", "a", "A", "ab",
    "main.orders", "aXbXa", " a ", "é", "ÉCOLE", "中", "😀a", "a😀",
    "\u00a0x\u2003", ".", "0", [], [1],
    ["a", "b"], ["ab", "main"], [3, 1, 2], [[1, 2], [2, 3]], [["a"], []], [{"a": 1}],
    ["a", 1, None], {}, {"a": 1}, {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}},
    {"ab": False}, ["a", "b", 0],
]  # fmt: skip
MOST = 4000


def _combinations(arity: int) -> list[tuple[Any, ...]]:
    every = list(itertools.product(VALUES, repeat=arity))
    return every if len(every) <= MOST else random.Random(7).sample(every, MOST)


def _rego(name: str, arity: int) -> str:
    names = "abcd"[:arity]
    arguments = [SETS.get(name, letter) for letter in names]
    inside = " ".join(f"{letter} := x[{at}];" for at, letter in enumerate(names))
    call = f"{name}({', '.join(arguments)})"
    return (
        f"package many\n\np := v if {{ x := input.x; {inside} v := {call} }}\n\n"
        f"all := [[i, v] | some i, x in input.xs; {inside} v := {call}]\n"
    )


@pytest.mark.opa
@pytest.mark.parametrize("name", sorted(set(ALLOWED) - WRITTEN_OUT))
def test_a_function_answers_as_opa_does_or_fails(name: str, opa_server: OpaServer) -> None:
    arity = ALLOWED[name]
    rego, cases = _rego(name, arity), _combinations(arity)
    put = opa_server.client.put("/v1/policies/many", content=rego)
    assert put.status_code == 200, put.text
    try:
        asked = {"input": {"xs": [list(case) for case in cases]}}
        answer = opa_server.client.post("/v1/data/many/all", json=asked)
        theirs = dict(json.loads(answer.text)["result"])
    finally:
        opa_server.client.delete("/v1/policies/many")
    files = Files(texts={"many.rego": rego})
    modules, constants = parsed(files)
    compiled = Compiled(files, modules, always_astral=is_astral(constants))
    differing, equal = [], 0
    for at, case in enumerate(cases):
        try:
            mine = compiled.evaluate(json.dumps({"x": list(case)}), "data.many.p")
        except EngineFailed:
            continue
        if mine == theirs.get(at) and type(mine) is type(theirs.get(at)):
            equal += mine is not None
        elif mine != theirs.get(at) or isinstance(mine, bool):
            differing.append((case, mine, theirs.get(at)))
    assert differing == []
    assert equal > 0
