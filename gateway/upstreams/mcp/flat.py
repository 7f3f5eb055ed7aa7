"""Schemas that are a flat list of plain values, which most tools have: what they accept for certain
is told without a validator. Whatever is not accepted here has to be looked at by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Json

# Keywords that a value does not have to meet.
_SAID = frozenset({"title", "description", "default", "examples", "x-mcp-header"})
_OUTER = frozenset({"$schema", "type", "properties", "required", "additionalProperties", *_SAID})
_INNER = frozenset({"type", *_SAID})
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Flat:
    kinds: Mapping[str, tuple[type, ...]]
    required: frozenset[str]

    def accepts(self, arguments: Mapping[str, Json]) -> bool:
        """Whether ``arguments`` are valid for certain."""
        if not self.required <= arguments.keys():
            return False
        for name, value in arguments.items():
            kinds = self.kinds.get(name)
            # The very type: a boolean is no number, though Python thinks so.
            if kinds is None or type(value) not in kinds:
                return False
        return True


def flat(schema: Mapping[str, Json]) -> Flat | None:
    """``schema``, which is valid, as a flat list, or ``None`` where it says more than that."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not _OUTER.issuperset(schema) or not isinstance(properties, dict):
        return None
    if not isinstance(required, list):
        return None
    kinds: dict[str, tuple[type, ...]] = {}
    for name, each in properties.items():
        if not isinstance(each, dict) or not _INNER.issuperset(each):
            return None
        found = _KINDS.get(str(each.get("type")))
        if found is None:
            return None
        kinds[name] = found
    return Flat(kinds, frozenset(required))
