from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import validator_for

from gateway.upstreams.mcp.flat import flat

_NAMES = st.sampled_from(["a", "b", "c", "__proto__"])
_PROPERTY = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["string", "boolean", "integer", "number", "null", "array", "object"]
        )
    },
    optional={
        "description": st.just("d"),
        "minLength": st.just(2),
        "enum": st.just(["x", 1]),
        "default": st.just(1),
    },
)
_SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(_NAMES, _PROPERTY, max_size=3)},
    optional={
        "required": st.lists(_NAMES, max_size=2, unique=True),
        "additionalProperties": st.booleans(),
        "minProperties": st.just(2),
        "$schema": st.sampled_from(
            [
                "http://json-schema.org/draft-07/schema#",
                "http://json-schema.org/draft-04/schema#",
                "https://json-schema.org/draft/2020-12/schema",
            ]
        ),
    },
)
_VALUES = st.sampled_from(["", "x", "text", True, False, 0, 1, 1.0, 1.5, None, [], {}, -3])


@given(_SCHEMAS, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_nothing_is_accepted_that_a_validator_refuses(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    found = flat(schema)
    if found is not None and found.accepts(arguments):
        closed = {**schema, "additionalProperties": False}
        assert validator_for(closed)(closed).is_valid(arguments)


def test_what_is_usual_is_accepted() -> None:
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "d"},
            "n": {"type": "integer"},
            "share": {"type": "number"},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    found = flat(schema)
    assert found is not None
    assert found.accepts({"text": "a", "n": 1, "share": 0.5})
    assert not found.accepts({"n": 1})
    assert not found.accepts({"text": "a", "n": True})
    assert not found.accepts({"text": "a", "other": 1})


@pytest.mark.parametrize(
    "more",
    [
        {"allOf": []},
        {"patternProperties": {}},
        {"properties": {"a": True}},
        {"properties": {"a": {}}},
        {"properties": {"a": {"type": ["string", "null"]}}},
        {"properties": {"a": {"type": "string", "pattern": "x"}}},
        {"required": True},
    ],
)
def test_a_schema_that_says_more_is_not_flat(more: dict[str, Any]) -> None:
    assert flat({"type": "object", "properties": {}, **more}) is None
