"""The keywords of JSON Schema whose usual checks take time without bound, checked otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import rfc8785
from jsonschema import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from gateway.model import Json
from gateway.upstreams.mcp.patterns import pattern

MOST_STEPS = 1_000_000  # two seconds or so
_REFERENCE = 50  # steps: looking one up takes that much longer than a keyword
MOST_MATCHING = 200_000_000  # two seconds, where the engine has to follow every path
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class TooCostly(Exception):
    """Checking takes longer than any honest schema and argument need."""


class Budget:
    def __init__(self) -> None:
        self.left = MOST_STEPS
        self.matching = MOST_MATCHING

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooCostly

    def found(self, wanted: str, text: str) -> bool:
        """Whether the pattern ``wanted`` matches somewhere in ``text``."""
        known = pattern(wanted)
        self.matching -= known.steps * len(text)
        if self.matching < 0:
            raise TooCostly
        return known.found_in(text)


BUDGET: ContextVar[Budget] = ContextVar("budget of a check")


@lru_cache(maxsize=16)
def bounded(kind: type[Validator]) -> type[Validator]:
    """``kind`` with every keyword counted against ``BUDGET`` and the costly ones replaced."""
    own: dict[str, Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unevaluated_properties,
        "uniqueItems": _unique_items,
    }
    known: Mapping[str, Keyword] = kind.VALIDATORS
    chosen = {name: _counted(name, own.get(name, check)) for name, check in known.items()}
    made: type[Validator] = extend(kind, chosen)  # type: ignore[no-untyped-call] # it has no types
    return made


def _counted(name: str, check: Keyword) -> Keyword:
    steps = _REFERENCE if name in _REFERENCES else 1

    def counting(validator: Any, value: Json, instance: Json, schema: Json) -> Any:
        BUDGET.get().spend(steps)
        return check(validator, value, instance, schema)

    return counting


def _pattern(
    _validator: Any, wanted: Json, instance: Json, _schema: Json
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not BUDGET.get().found(wanted, instance):
        yield ValidationError(f"it does not match the pattern {wanted!r}")


def _pattern_properties(
    validator: Any, wanted: Json, instance: Json, _schema: Json
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for text, schema in wanted.items():
        for key, value in instance.items():
            if BUDGET.get().found(text, key):
                yield from validator.descend(value, schema, path=key, schema_path=text)


def _declared(schema: Mapping[str, Json], key: str) -> bool:
    if key in schema.get("properties", {}):
        return True
    return any(BUDGET.get().found(text, key) for text in schema.get("patternProperties", {}))


def _additional_properties(
    validator: Any, allowed: Json, instance: Json, schema: Json
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    extras = [key for key in instance if not _declared(schema, key)]
    if isinstance(allowed, dict):
        for key in extras:
            yield from validator.descend(instance[key], allowed, path=key)
    elif not allowed and extras:
        yield ValidationError(f"there is no argument {', '.join(map(repr, sorted(extras)))}")


def _unique_items(
    _validator: Any, wanted: Json, instance: Json, _schema: Json
) -> Iterator[ValidationError]:
    if not wanted or not isinstance(instance, list):
        return
    seen: set[bytes] = set()
    for member in instance:
        key = _canonical(member)
        if key in seen:
            yield ValidationError("an item stands in the list twice")
            return
        seen.add(key)


def _canonical(value: Json) -> bytes:
    """Equal for values that are equal in JSON Schema: 1 is 1.0, and true is not 1."""
    return rfc8785.dumps(_numbers(value))


def _numbers(value: Json) -> Json:
    if isinstance(value, dict):
        return {f"k{key}": _numbers(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_numbers(member) for member in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"n{value!r}" if isinstance(value, int | float) else f"s{value}"


def _unevaluated_properties(
    validator: Any, allowed: Json, instance: Json, schema: Json
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    seen = _evaluated(validator, instance, schema)
    extras = [
        key
        for key, value in instance.items()
        if key not in seen and not _fits(validator, value, allowed)
    ]
    if extras:
        yield ValidationError(f"there is no argument {', '.join(map(repr, sorted(extras)))}")


def _fits(validator: Any, value: Json, schema: Json) -> bool:
    return next(validator.descend(value, schema), None) is None


def _evaluated(validator: Any, instance: Mapping[str, Json], schema: Json) -> set[str]:
    """The properties that ``schema`` says something about where it applies."""
    BUDGET.get().spend()
    if not isinstance(schema, dict):
        return set()
    found = {key for key in instance if _declared(schema, key)}
    for name in ("additionalProperties", "unevaluatedProperties"):
        if name in schema:
            found |= {k for k, v in instance.items() if _fits(validator, v, schema[name])}
    for name in _REFERENCES:
        if name in schema:
            BUDGET.get().spend(_REFERENCE)
            resolved = validator._resolver.lookup(schema[name])
            there = validator.evolve(schema=resolved.contents, _resolver=resolved.resolver)
            found |= _evaluated(there, instance, resolved.contents)
    for part in _applied(validator, instance, schema):
        found |= _evaluated(validator, instance, part)
    return found


def _applied(validator: Any, instance: Mapping[str, Json], schema: Json) -> Iterator[Json]:
    """The schemas beside ``schema`` that hold for ``instance``."""
    for key, part in schema.get("dependentSchemas", {}).items():
        if key in instance:
            yield part
    for name in ("allOf", "oneOf", "anyOf"):
        for part in schema.get(name, ()):
            if _fits(validator, instance, part):
                yield part
    if "if" in schema:
        met = _fits(validator, instance, schema["if"])
        if met:
            yield schema["if"]
        branch = "then" if met else "else"
        if branch in schema:
            yield schema[branch]
