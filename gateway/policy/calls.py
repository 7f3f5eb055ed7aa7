"""What the load check asks of the arguments of certain functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gateway.model import Json
from gateway.policy import patterns
from gateway.policy.syntax import dotted, node

_NOW = ("input", "context", "time")
_VERBS = re.compile(r"%(.)", re.DOTALL)


def call_fault(name: str, arguments: Sequence[Mapping[str, Json]]) -> str | None:
    """Why these arguments of the allowed function ``name`` are not accepted, or ``None``."""
    if name == "regex.match" and len(arguments) == 2:
        return _pattern_fault(arguments[0])
    if name == "sprintf" and len(arguments) == 2:
        return _format_fault(arguments[0], arguments[1])
    if name == "time.parse_rfc3339_ns" and len(arguments) == 1:
        return None if dotted(arguments[0]) == _NOW else "only input.context.time is parsed"
    if name.startswith("time.") and len(arguments) == 1:
        return _moment_fault(arguments[0])
    return None


def _literal(value: Mapping[str, Json]) -> str | None:
    kind, members = node(value)
    text: str | None = members["value"] if kind in ("String", "RawString") else None
    return text


def _pattern_fault(value: Mapping[str, Json]) -> str | None:
    pattern = _literal(value)
    if pattern is None:
        return "the pattern of regex.match is written out, so that it can be checked"
    fault = patterns.fault_of(pattern)
    return None if fault is None else f"regular expression: {fault}"


def _format_fault(form: Mapping[str, Json], values: Mapping[str, Json]) -> str | None:
    text = _literal(form)
    kind, members = node(values)
    if text is None or kind != "Array":
        return "sprintf takes a written-out format and an array of its values"
    verbs = [verb for verb in _VERBS.findall(text) if verb != "%"]
    if not set(verbs) <= set("sdv") or text.replace("%%", "").count("%") != len(verbs):
        return "sprintf knows %s for text, %d for whole numbers, %v for either, and %%"
    if len(verbs) != len(members["items"]):
        return f"sprintf has {len(verbs)} verb(s) and {len(members['items'])} value(s)"
    return None


def _moment_fault(value: Mapping[str, Json]) -> str | None:
    kind, members = node(value)
    if kind == "Call" and dotted(members["fcn"]) == ("time", "parse_rfc3339_ns"):
        return None
    return "time functions are accepted on time.parse_rfc3339_ns(input.context.time), in UTC"
