"""Arguments against the schema of their tool: nothing is coerced, nothing undeclared is let
through, and no schema is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from gateway.model import Json
from gateway.upstreams.mcp.flat import flat
from gateway.upstreams.mcp.keywords import BUDGET, Budget, TooCostly, bounded
from gateway.upstreams.mcp.patterns import PatternUnusable, pattern

_COMBINING = ("allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "if", "dependentSchemas")
_BY_NAME = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_DATA = ("const", "enum", "default", "examples")  # values, not schemas
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
            for text in _patterns(schema):
                _compiled(text)
            # What a regular expression is, the engine that matches it says.
            kind.check_schema(schema, format_checker=FormatChecker(()))  # type: ignore[call-arg] # there since jsonschema 4.18
        except (SchemaError, RecursionError) as error:
            message = getattr(error, "message", "it is nested too deeply")
            raise SchemaUnusable(f"the schema is not valid: {message[:_SHOWN]}") from None
        # An empty registry: a reference that is not in the schema is an error, never a request.
        self._flat = flat(schema)
        self._validator: Validator = bounded(kind)(_closed(schema, kind), registry=Registry())

    def fault(self, arguments: Mapping[str, Json]) -> str | None:
        """What is wrong with ``arguments``, for the agent to mend, or ``None``."""
        if self._flat is not None and self._flat.accepts(arguments):
            return None
        token = BUDGET.set(Budget())
        try:
            error: ValidationError | None = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError):
            return "the tool's schema cannot be applied"
        except TooCostly:
            return "they are too many, or the tool's schema takes too long to apply"
        except PatternUnusable as unusable:
            return str(unusable)
        finally:
            BUDGET.reset(token)
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


def _compiled(text: Json) -> None:
    if not isinstance(text, str):
        raise SchemaUnusable("a pattern of the schema is not a text")
    try:
        pattern(text)
    except PatternUnusable as unusable:
        raise SchemaUnusable(
            f"the pattern {text[:_SHOWN]!r} of the schema cannot be matched safely: {unusable}"
        ) from None


def _patterns(schema: Json) -> Iterator[Json]:
    """The regular expressions of the schema."""
    for part in _parts(schema):
        if "pattern" in part:
            yield part["pattern"]
        named = part.get("patternProperties")
        yield from named if isinstance(named, dict) else ()


def _outside(schema: Json) -> Iterator[str]:
    """References that lead out of the schema."""
    for part in _parts(schema):
        for key in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(part.get(key), str) and not part[key].startswith("#"):
                yield part[key]


def _parts(schema: Json) -> Iterator[Mapping[str, Json]]:
    """The schema and all schemas in it, also under keywords that nobody knows: a reference may
    lead there."""
    if isinstance(schema, list):
        for member in schema:
            yield from _parts(member)
    elif isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            if key in _BY_NAME and isinstance(value, dict):
                for member in value.values():
                    yield from _parts(member)
            elif key not in _DATA:
                yield from _parts(value)
