"""Policies keep their places and names on the way from the engine to the checks."""

from __future__ import annotations

import pytest

from gateway.errors import PolicyInvalid
from gateway.policy.folder import Files
from gateway.policy.syntax import Module, engine_fault
from tests.policy.snippets import parsed


def _module(rego: str, name: str = "x.rego") -> Module:
    (module,), _ = parsed(Files(texts={name: f"package a.b\n\n{rego}\n"}))
    return module


def test_rules_are_told_apart() -> None:
    module = _module(
        "# é😀 counts in bytes\ndefault v := 1\n\nv := 2 if input.a\n\ns contains 1\n\n"
        "o[k] := 1 if some k in input.a\n\nf(x, 1) := x"
    )
    assert module.package == ("a", "b")
    assert [(r.name, r.kind, r.line, r.default) for r in module.rules] == [
        ("v", "value", 4, True),
        ("v", "value", 6, False),
        ("s", "set", 8, False),
        ("o", "object", 10, False),
        ("f", "function", 12, False),
    ]
    assert module.rules[4].path == ("a", "b", "f")
    assert not module.faults


@pytest.mark.parametrize(
    "rego",
    [
        "p.q := 1",
        'p["a"]',
        'p["a"] := 1',
        "p = 1",
        "import data.x\np := 1",
        "import input.x\np := 1",
    ],
)
def test_forms_that_engines_differ_on_are_faults(rego: str) -> None:
    (fault,) = _module(rego).faults
    assert (fault.file, fault.line) == ("x.rego", 3)


def test_tests_are_told_by_their_file() -> None:
    assert _module("p := 1", "x_test.rego").is_test
    assert not _module("p := 1", "test.rego").is_test


def test_the_complaint_of_the_engine_keeps_its_place_and_loses_its_stack() -> None:
    with pytest.raises(PolicyInvalid) as caught:
        _module("p if {")
    (fault,) = caught.value.extra["faults"]
    assert fault["file"] == "x.rego"
    assert fault["line"] >= 3
    assert "0x" not in fault["message"]
    odd = engine_fault(RuntimeError("odd"), "y.rego")
    assert (odd.file, odd.line, odd.message) == ("y.rego", 1, "odd")
