"""Keywords that others check without bound: as strict, and bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from jsonschema import Draft201909Validator, Draft202012Validator

from gateway.upstreams.mcp.keywords import BUDGET, Budget, TooCostly, bounded
from gateway.upstreams.mcp.schemas import ArgumentCheck, SchemaUnusable


def fault(schema: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    return ArgumentCheck({"type": "object", **schema}).fault(arguments)


NAMED = {"patternProperties": {"^x-": {"type": "integer"}}}
CASES: list[tuple[dict[str, Any], Any]] = [
    ({"pattern": "^a+$"}, "aaa"),
    ({"pattern": "^a+$"}, "b"),
    ({**NAMED, "additionalProperties": False}, {"x-a": 1}),
    ({**NAMED, "additionalProperties": False}, {"x-a": "1"}),
    ({**NAMED, "additionalProperties": False}, {"y": 1}),
    ({**NAMED, "additionalProperties": {"type": "string"}}, {"y": "s", "x-b": 2}),
    ({**NAMED, "additionalProperties": {"type": "string"}}, {"y": 2}),
    ({"allOf": [NAMED], "unevaluatedProperties": False}, {"x-a": 1}),
    ({"allOf": [NAMED], "unevaluatedProperties": False}, {"y": 1}),
    ({"anyOf": [{"required": ["y"]}, NAMED], "unevaluatedProperties": False}, {"y": 1}),
    (
        {"if": {"properties": {"a": {"const": 1}}}, "then": NAMED, "unevaluatedProperties": False},
        {"a": 1, "x-b": 2},
    ),
    (
        {
            "properties": {"a": {}},
            "dependentSchemas": {"a": {"properties": {"b": {}}}},
            "unevaluatedProperties": {"type": "null"},
        },
        {"a": 1, "b": 2, "c": None},
    ),
    ({"$ref": "#/$defs/d", "$defs": {"d": NAMED}, "unevaluatedProperties": False}, {"x-a": 1}),
    ({"$ref": "#/$defs/d", "$defs": {"d": NAMED}, "unevaluatedProperties": False}, {"z": 1}),
    *[
        ({"uniqueItems": True}, items)
        for items in (
            [1, 2, 3],
            [1, 1.0],
            [1, True],
            [0, False, "0", None, [], {}],
            [{"a": 1}, {"a": 1.0}],
            [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
            ["1", 1],
            [[1, "n1"], ["n1", 1]],
            [2**70, 2**70 + 1],
        )
    ],
]


@pytest.mark.parametrize(("schema", "value"), CASES)
@pytest.mark.parametrize("kind", [Draft202012Validator, Draft201909Validator])
def test_the_answer_is_that_of_the_usual_check(kind: Any, schema: Any, value: Any) -> None:
    token = BUDGET.set(Budget())
    try:
        assert bounded(kind)(schema).is_valid(value) == kind(schema).is_valid(value)
    finally:
        BUDGET.reset(token)


def test_a_schema_with_a_pattern_that_never_ends_is_checked_or_refused() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    started = time.process_time()
    assert "does not match the pattern" in str(fault(schema, {"a": "a" * 10_000 + "!"}))
    assert time.process_time() - started < 1
    with pytest.raises(SchemaUnusable) as refused:
        fault({"properties": {"a": {"pattern": "^(?=x)"}}}, {})
    assert "look-around" in str(refused.value)
    assert "^(?=x)" in str(refused.value)
    with pytest.raises(SchemaUnusable):
        fault({"patternProperties": {r"(a)\1": {}}}, {})
    with pytest.raises(SchemaUnusable):
        fault({"properties": {"default": {"pattern": "(?!x)"}}}, {})
    assert fault({"properties": {"pattern": True}}, {"pattern": "("}) is None


def test_a_schema_whose_references_multiply_does_not_hang() -> None:
    doubling: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)
    }
    doubling["d40"] = {"type": "object"}
    started = time.process_time()
    found = fault({"$defs": doubling, "properties": {"a": {"$ref": "#/$defs/d0"}}}, {"a": {}})
    assert "too long" in str(found)
    assert time.process_time() - started < 5


def test_many_honest_items_pass_quickly() -> None:
    items = [{"id": n, "tags": [str(n)]} for n in range(20_000)]
    started = time.process_time()
    assert (
        fault({"properties": {"a": {"type": "array", "uniqueItems": True}}}, {"a": items}) is None
    )
    assert time.process_time() - started < 5


def test_steps_beyond_the_budget_end_the_check() -> None:
    budget = Budget()
    budget.left = 1
    budget.spend()
    with pytest.raises(TooCostly):
        budget.spend()


def test_texts_too_long_for_a_large_pattern_are_not_started_on() -> None:
    schema = {"additionalProperties": {"pattern": r"^(?:[a-z]{1,500}\.){1,20}$"}}
    assert fault(schema, {"a": "a.b."}) is None
    assert "too long" in str(fault(schema, {"a": "a" * 100_000}))
    assert "too long" in str(fault(schema, {f"k{n}": "a" * 20 for n in range(1_000)}))
