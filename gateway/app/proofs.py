"""What the record of a rehearsal proves about the routes of a tool, and which of those that were
derived from its OpenAPI document are used because of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.addresses import Ambiguous
from gateway.audit import canonical_digest
from gateway.config import Config, RouteSettings, ToolSettings
from gateway.model import Finding
from gateway.upstreams.http.patterns import Pattern, clash, pattern_of
from gateway.upstreams.openapi.derive import derive
from gateway.upstreams.openapi.document import DocumentInvalid, digest_of_document, read

# The route, its declaration, and the digest of the document that it was derived from.
Proven = frozenset[tuple[str, str, str | None]]


def declaration_of(route: RouteSettings) -> str:
    """Names the route as it is declared: what was proven of another declaration proves nothing."""
    return canonical_digest(route.model_dump(mode="json", by_alias=True))


def routes_of(tool: ToolSettings) -> tuple[RouteSettings, ...]:
    """The declared routes, and the derived ones that a rehearsal proved."""
    return (*tool.routes, *(found.route for found in _derived(tool) if found.why_not is None))


def proof_findings(config: Config) -> Iterator[Finding]:
    """A warning for each route with an undo that its tool's record does not prove, and a word on
    every derived one; nothing for tools that keep no record."""
    for name, tool in config.tools.items():
        about = f"tool {name}"
        if tool.rehearsed is None:
            continue
        try:
            proven = _proven(Path(tool.rehearsed))
        except _Unreadable as error:
            yield Finding(level="warning", about=about, message=str(error))
            continue
        for route in tool.routes:
            if route.undo is None or (route.match, declaration_of(route), None) in proven:
                continue
            message = (
                f"The undo of {route.match} is not proven as it is declared now: run "
                f"`holdfast tools rehearse {name} --sandbox URL`."
            )
            yield Finding(level="warning", about=about, message=message)
        if tool.openapi is not None and _elsewhere(tool.openapi):
            message = "Routes are derived from a file alone: keep a copy of its OpenAPI document."
            yield Finding(level="warning", about=about, message=message)
        for found in _derived(tool):
            used = found.why_not is None
            yield Finding(
                level="info" if used else "warning",
                about=about,
                message=f"{found.match} is derived and proven: it is used."
                if used
                else f"{found.match} stays undeclared: {found.why_not}.",
            )


@dataclass(frozen=True, slots=True)
class _Derived:
    """``why_not``: why it is not used."""

    match: str
    route: RouteSettings
    why_not: str | None


class _Unreadable(ValueError):
    pass


def _derived(tool: ToolSettings) -> Iterator[_Derived]:
    """What the tool's document tells beyond its declared routes; nothing without a record."""
    if tool.openapi is None or tool.rehearsed is None or _elsewhere(tool.openapi):
        return
    try:
        text = Path(tool.openapi).read_text(encoding="utf-8")
        operations = read(text)
        proven = _proven(Path(tool.rehearsed))
    except (OSError, UnicodeDecodeError, DocumentInvalid, _Unreadable):
        return
    digest = digest_of_document(text)
    declared = [found for route in tool.routes if (found := _pattern(route.match)) is not None]
    used: list[Pattern] = []
    for proposal in derive(operations):
        pattern = _pattern(proposal.match)
        # Where a person declared something, that is what counts.
        if pattern is None or any(pattern.meets(other) for other in declared):
            continue
        route = RouteSettings.model_validate(dict(proposal.route), strict=False)
        why = proposal.why_not
        if route.undo is None:
            why = why or "that it only reads is what its document says, which proves nothing"
        elif (route.match, declaration_of(route), digest) not in proven:
            why = "no rehearsal proved it as the document derives it now (tools rehearse --derived)"
        elif any(clash(pattern, other) is not None for other in used):
            why = "another derived route matches the same requests"
        if why is None:
            used.append(pattern)
        yield _Derived(proposal.match, route, why)


def _pattern(match: str) -> Pattern | None:
    """``None`` for what no route can be; of declared ones others tell."""
    try:
        return pattern_of(match)
    except Ambiguous:
        return None


def _elsewhere(openapi: str) -> bool:
    return openapi.startswith(("http://", "https://"))


def _proven(file: Path) -> Proven:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return frozenset(
            (r["route"], r["declaration"], r.get("openapi"))
            for r in record["routes"]
            if r["proven"] is True
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unreadable(f"The record of its rehearsal cannot be read: {error}.") from None
