"""Declared calls (``PUT /customers/{id}`` with a body) as makers of requests."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.addresses import Ambiguous, path_from, query_from, query_of, segments_of
from gateway.messages import JSON_TYPE, may_be_sent
from gateway.model import Json
from gateway.upstreams.http.declared import DeclaredCall
from gateway.upstreams.http.patterns import METHODS
from gateway.upstreams.remote.plan import Maker
from gateway.upstreams.remote.templates import Template, TemplateInvalid, TemplateMissing

_HOLE = re.compile(r"\{(\$)?([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class _Text:
    """Plain text with holes that templates fill."""

    parts: tuple[str | Template, ...]

    def render(self, values: Mapping[str, Json]) -> str:
        return "".join(
            part if isinstance(part, str) else _plain(part.render(values)) for part in self.parts
        )


def _plain(value: Json) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TemplateMissing("a path or query is filled with texts and whole numbers only")
    text = str(value)
    if not text:
        raise TemplateMissing("a path or query is not filled with an empty text")
    return text


def maker_of(call: DeclaredCall, roots: Collection[str], variables: Collection[str]) -> Maker:
    """Raises ``TemplateInvalid``; ``at`` is the place within the declaration. What the maker
    makes has the form of ``Call.request``."""
    method, _, target = call.call.partition(" ")
    if method not in METHODS:
        raise TemplateInvalid(f"a call begins with one of {', '.join(METHODS)}", ("call",))
    for name in call.headers:
        if name.lower() != "content-type" and not may_be_sent(name.lower()):
            raise TemplateInvalid(f"{name} is not for declared calls to set", ("headers", name))
    path, question, query = target.partition("?")
    segments = _segments(path, roots, variables)
    pairs = _pairs(query, roots, variables) if question else ()
    headers = _headers(call.headers, roots)
    body = None if call.body is None else _compiled(call.body, roots, "body")

    def make(values: Mapping[str, Json]) -> Mapping[str, Json]:
        try:
            address = path_from(segment.render(values) for segment in segments)
            segments_of(address)
            found = [[n.render(values), v.render(values) if v else None] for n, v in pairs]
            query_of(query_from(found))
        except Ambiguous as error:
            raise TemplateMissing(f"{call.call} cannot be filled: {error}") from None
        sent = {
            name.lower(): _plain(value)
            for name, value in (headers.render(values) if headers else {}).items()
        }
        kind = sent.pop("content-type", JSON_TYPE) if body is not None else None
        return {
            "method": method,
            "path": address,
            "query": found,
            "headers": sent,
            "type": kind,
            "body": body.render(values) if body is not None else None,
        }

    return make


def condition_of(expression: str, roots: Collection[str]) -> Template:
    """A JMESPath condition. Raises ``TemplateInvalid``."""
    return _compiled("$" + expression.removeprefix("$"), roots, "happened")


def _compiled(value: Json, roots: Collection[str], key: str) -> Template:
    try:
        return Template.compile(value, roots)
    except TemplateInvalid as error:
        raise TemplateInvalid(str(error), (key, *error.at)) from None


def _headers(headers: Mapping[str, str], roots: Collection[str]) -> Template | None:
    return _compiled(dict(headers), roots, "headers") if headers else None


def _segments(path: str, roots: Collection[str], variables: Collection[str]) -> tuple[_Text, ...]:
    # Holes may hold slashes (`{$before.body.a}` has none, a quoted key may): cut around them.
    marked, holes = _marked(path)
    try:
        pieces = segments_of(marked)
    except Ambiguous as error:
        raise TemplateInvalid(str(error), ("call",)) from None
    return tuple(_text(piece, holes, roots, variables) for piece in pieces)


def _pairs(
    query: str, roots: Collection[str], variables: Collection[str]
) -> tuple[tuple[_Text, _Text | None], ...]:
    marked, holes = _marked(query)
    try:
        pairs = query_of(marked)
    except Ambiguous as error:
        raise TemplateInvalid(str(error), ("call",)) from None
    return tuple(
        (
            _text(name, holes, roots, variables),
            None if value is None else _text(value, holes, roots, variables),
        )
        for name, value in pairs
    )


def _marked(text: str) -> tuple[str, list[re.Match[str]]]:
    """``text`` with ``~n~`` for its nth hole."""
    if "~" in text:
        raise TemplateInvalid("a ~ is not accepted in a declared call", ("call",))
    holes: list[re.Match[str]] = []

    def mark(hole: re.Match[str]) -> str:
        holes.append(hole)
        return f"~{len(holes) - 1}~"

    return _HOLE.sub(mark, text), holes


def _text(
    piece: str,
    holes: list[re.Match[str]],
    roots: Collection[str],
    variables: Collection[str],
) -> _Text:
    parts: list[str | Template] = []
    for place, part in enumerate(piece.split("~")):
        if place % 2 == 0:
            if part:
                parts.append(part)
        else:
            parts.append(_filler(holes[int(part)], roots, variables))
    return _Text(tuple(parts))


def _filler(hole: re.Match[str], roots: Collection[str], variables: Collection[str]) -> Template:
    dollar, inside = hole[1], hole[2]
    if dollar:
        return _compiled("$" + inside, roots, "call")
    if _NAME.fullmatch(inside) is None or inside not in variables:
        known = ", ".join(f"{{{name}}}" for name in sorted(variables)) or "none"
        raise TemplateInvalid(
            f"{{{inside}}} is no variable of match; there are: {known}", ("call",)
        )
    return _compiled(f"$params.{inside}", roots, "call")
