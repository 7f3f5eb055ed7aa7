from __future__ import annotations

from typing import Any

import pytest

from gateway.upstreams.mcp.schemas import ArgumentCheck, SchemaUnusable

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"name": 7}, {"name": "a", "age": "7"}, {"name": "a", "more": 1}, {"name": None}],
)
def test_what_the_schema_does_not_say_is_a_fault(arguments: dict[str, Any]) -> None:
    fault = ArgumentCheck(PERSON).fault(arguments)
    assert fault is not None
    assert fault.startswith("arguments")


def test_what_the_schema_says_is_none() -> None:
    assert ArgumentCheck(PERSON).fault({"name": "a", "age": 7}) is None
    assert (
        ArgumentCheck({**PERSON, "additionalProperties": True}).fault({"name": "a", "x": 1}) is None
    )
    combined = {"type": "object", "allOf": [PERSON]}
    assert ArgumentCheck(combined).fault({"name": "a"}) is None
    assert ArgumentCheck(combined).fault({"name": "a", "x": 1}) is not None
    old = {**combined, "$schema": "http://json-schema.org/draft-07/schema#"}
    assert ArgumentCheck(old).fault({"name": "a"}) is None


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "string"},
        {"type": "object", "properties": 7},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "allOf": [{"$dynamicRef": "other.json"}]},
    ],
)
def test_a_schema_that_is_wrong_or_elsewhere_is_not_used(schema: Any) -> None:
    with pytest.raises(SchemaUnusable):
        ArgumentCheck(schema)


def test_references_inside_of_a_schema_are_followed() -> None:
    schema = {
        "type": "object",
        "$defs": {"id": {"type": "integer"}},
        "properties": {"id": {"$ref": "#/$defs/id"}},
    }
    assert ArgumentCheck(schema).fault({"id": 1}) is None
    assert ArgumentCheck(schema).fault({"id": "1"}) is not None
    lost = {"type": "object", "properties": {"id": {"$ref": "#/$defs/gone"}}}
    assert ArgumentCheck(lost).fault({"id": 1}) == "the tool's schema cannot be applied"
