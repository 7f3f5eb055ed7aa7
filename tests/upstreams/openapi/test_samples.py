from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from gateway.upstreams.openapi.samples import NoSample, sample_of

SCHEMAS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "minLength": 20},
    {"type": "string", "maxLength": 3},
    {"type": "string", "format": "email"},
    {"type": "string", "enum": ["b", "a"]},
    {"type": "string", "pattern": "^[0-9]+$", "example": "42"},
    {"type": "integer", "minimum": 7},
    {"type": "integer", "exclusiveMinimum": 7},
    {"type": "number", "multipleOf": 5, "minimum": 3, "maximum": 9},
    {"type": "boolean"},
    {"type": ["null", "string"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 2},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {
        "type": "object",
        "properties": {"id": {"readOnly": True}, "name": {"type": "string"}, "n": {"const": 4}},
        "required": ["name"],
    },
    {"properties": {"deep": {"type": "object", "properties": {"x": {"default": 1}}}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_sample_fits_its_schema(schema: dict[str, Any]) -> None:
    sample = sample_of(schema)
    jsonschema.validate(sample, schema)
    assert sample == sample_of(schema)


def test_what_the_tool_sets_itself_is_left_out() -> None:
    assert "id" not in sample_of(SCHEMAS[13])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[0-9]+$"},
        {"type": "string", "format": "uuid", "maxLength": 5},
        {"type": "integer", "minimum": 9, "maximum": 3},
        {"type": "object", "required": ["secret"]},
        {"type": "file"},
    ],
    ids=str,
)
def test_what_cannot_be_made_up_is_said(schema: dict[str, Any]) -> None:
    with pytest.raises(NoSample):
        sample_of(schema)
