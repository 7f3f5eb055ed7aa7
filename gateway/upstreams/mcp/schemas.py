"""Arguments against the schema of their tool: nothing is coerced, nothing undeclared is let
through, and no schema is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from gateway.model import Json

_COMBINING = ("allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "if", "dependentSchemas")
_SHOWN = 200


class SchemaUnusable(ValueError):
    """The schema itself is wrong: its tool cannot be called."""


class ArgumentCheck:
    """The check of one tool's arguments. Raises ``SchemaUnusable`` when it is made."""

    def __init__(self, schema: Json) -> None:
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise SchemaUnusable("the input schema does not describe an object")
        outside = next(_outside(schema), None)
        if outside is not None:
            raise SchemaUnusable(f"the schema refers to {outside[:_SHOWN]!r}, which is not in it")
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
        except (SchemaError, RecursionError) as error:
            message = getattr(error, "message", "it is nested too deeply")
            raise SchemaUnusable(f"the schema is not valid: {message[:_SHOWN]}") from None
        # An empty registry: a reference that is not in the schema is an error, never a request.
        self._validator: Validator = kind(_closed(schema, kind), registry=Registry())

    def fault(self, arguments: Mapping[str, Json]) -> str | None:
        """What is wrong with ``arguments``, for the agent to mend, or ``None``."""
        try:
            error: ValidationError | None = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError):
            return "the tool's schema cannot be applied"
        if error is None:
            return None
        at = "".join(f"[{part!r}]" for part in error.absolute_path)
        return f"arguments{at}: {error.message[:_SHOWN]}"


def _closed(schema: Mapping[str, Json], kind: Any) -> dict[str, Json]:
    """The schema with nothing allowed beside what it declares, unless it says so itself."""
    said = ("additionalProperties", "unevaluatedProperties", "patternProperties")
    if any(word in schema for word in said):
        return dict(schema)
    if not any(word in schema for word in _COMBINING):
        return {**schema, "additionalProperties": False}
    if kind is Draft202012Validator:
        return {**schema, "unevaluatedProperties": False}
    return dict(schema)  # the older drafts cannot look into what is combined


def _outside(schema: Json) -> Iterator[str]:
    """References that lead out of the schema."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                if not value.startswith("#"):
                    yield value
            elif key not in ("const", "enum", "default", "examples"):
                yield from _outside(value)
    elif isinstance(schema, list):
        for member in schema:
            yield from _outside(member)
