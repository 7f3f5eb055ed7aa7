"""Templates of declared requests: JSON in which a text that begins with ``$`` is an expression.

Expressions are JMESPath (jmespath.org) over named roots: ``$before.body``, ``$arguments.id``, with
``split(text, separator)`` beside its functions, for tools that answer with plain text. Two
dollars begin a plain text with one ``$``; every other value stands for itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult

from gateway.model import Json


class TemplateInvalid(ValueError):
    """The declaration is wrong: said at start-up. ``at`` is the path of keys and indexes."""

    def __init__(self, message: str, at: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.at = at


class TemplateMissing(LookupError):
    """An expression found nothing where a value is needed."""


@dataclass(frozen=True, slots=True)
class _Expression:
    text: str
    parsed: ParsedResult


class Template:
    """Compiled once; ``render`` is pure."""

    def __init__(self, compiled: Json) -> None:
        self._compiled = compiled

    @classmethod
    def compile(cls, value: Json, roots: Collection[str]) -> Template:
        """Raises ``TemplateInvalid`` for an expression that is not JMESPath or that reads a root
        which is not among ``roots``."""
        return cls(_compile(value, frozenset(roots), ()))

    def render(self, values: Mapping[str, Json]) -> Json:
        """Raises ``TemplateMissing`` where an expression finds ``null`` or nothing."""
        return _render(self._compiled, values)


def _compile(value: Json, roots: frozenset[str], at: tuple[str | int, ...]) -> Json:
    if isinstance(value, str) and value.startswith("$$"):
        return value[1:]
    if isinstance(value, str) and value.startswith("$"):
        return _expression(value[1:], roots, at)
    if isinstance(value, Mapping):
        return {key: _compile(member, roots, (*at, key)) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_compile(member, roots, (*at, index)) for index, member in enumerate(value)]
    return value


def _expression(text: str, roots: frozenset[str], at: tuple[str | int, ...]) -> _Expression:
    try:
        parsed = jmespath.compile(text)
    except JMESPathError as error:
        raise TemplateInvalid(f"${text} is not a JMESPath expression: {error}", at) from None
    strange = set(_functions(parsed.parsed)) - _KNOWN_FUNCTIONS
    if strange:
        raise TemplateInvalid(f"${text} calls {', '.join(sorted(strange))}, which is not there", at)
    unknown = set(_roots(parsed.parsed)) - roots
    if unknown:
        names = ", ".join(sorted(unknown))
        known = ", ".join(sorted(roots))
        raise TemplateInvalid(f"${text} reads {names}; there is only {known}", at)
    return _Expression(text, parsed)


def _roots(node: Mapping[str, Json]) -> Iterator[str]:
    """The names that an expression looks up in the whole of the values, not inside another one."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield node["value"]
    elif kind in _SCOPING:
        yield from _roots(children[0])
    elif kind == "current":
        yield "@"
    else:
        for child in children:
            if isinstance(child, Mapping):
                yield from _roots(child)


def _functions(node: Mapping[str, Json]) -> Iterator[str]:
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, Mapping):
            yield from _functions(child)


class _Functions(Functions):
    @signature({"types": ["string"]}, {"types": ["string"]})
    def _func_split(self, text: str, separator: str) -> list[str]:
        return text.split(separator) if separator else [text]


_OPTIONS = jmespath.Options(custom_functions=_Functions())
_KNOWN_FUNCTIONS = frozenset(_Functions.FUNCTION_TABLE)

# What stands behind the first child of these reads from its result.
_SCOPING = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection",
     "flatten", "pipe"}
)  # fmt: skip


def _render(compiled: Json, values: Mapping[str, Json]) -> Json:
    if isinstance(compiled, _Expression):
        try:
            found = compiled.parsed.search(values, options=_OPTIONS)
        except JMESPathError as error:
            raise TemplateMissing(f"${compiled.text} cannot be applied: {error}") from None
        if found is None:
            raise TemplateMissing(f"${compiled.text} finds nothing")
        return found
    if isinstance(compiled, Mapping):
        return {key: _render(member, values) for key, member in compiled.items()}
    if isinstance(compiled, list):
        return [_render(member, values) for member in compiled]
    return compiled
