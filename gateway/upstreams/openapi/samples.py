"""A value that a schema accepts, always the same one: what a rehearsal sends to a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model import Json

_TEXTS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "rehearsal@example.com",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "uri": "https://example.com/rehearsal",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
}


class NoSample(ValueError):
    """The schema demands something that cannot be made up; the message says what."""


def sample_of(schema: Mapping[str, Any]) -> Json:
    """An example that the schema gives, or a value made to fit. Raises ``NoSample``."""
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("oneOf", "anyOf"):
        if schema.get(key):
            return sample_of(schema[key][0])
    return _of_type(_type_of(schema), schema)


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if schema.get("properties") else "string"
    return str(kind)


def _of_type(kind: str, schema: Mapping[str, Any]) -> Json:
    if kind == "object":
        return _object(schema)
    if kind == "array":
        return [sample_of(schema.get("items", {}))] * int(schema.get("minItems", 0))
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema)
    if kind in ("boolean", "null"):
        return True if kind == "boolean" else None
    raise NoSample(f"no value of type {kind!r} can be made up")


def _object(schema: Mapping[str, Any]) -> dict[str, Json]:
    properties = schema.get("properties", {})
    missing = sorted(set(schema.get("required", ())) - set(properties))
    if missing:
        raise NoSample(f"{', '.join(missing)} is required and not described")
    return {
        name: sample_of(value) for name, value in properties.items() if not value.get("readOnly")
    }


def _text(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        raise NoSample(f"a text like {schema['pattern']!r} needs an example")
    text = _TEXTS.get(schema.get("format", ""), "rehearsal")
    text = text.ljust(int(schema.get("minLength", 0)), "x")
    most = int(schema.get("maxLength", len(text)))
    if "format" in schema and len(text) > most:
        raise NoSample(f"a {schema['format']} of at most {most} letters needs an example")
    return text[:most]


def _number(schema: Mapping[str, Any]) -> Json:
    step = schema.get("multipleOf", 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    least = 0 if isinstance(least, bool) else least
    number = -(-least // step) * step
    if "exclusiveMinimum" in schema and number <= least:
        number += step
    most = schema.get("maximum", number)
    if number > most:
        raise NoSample("a number within the bounds needs an example")
    return number
