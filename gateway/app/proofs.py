"""What the record of a rehearsal proves about the routes of a tool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from gateway.audit import canonical_digest
from gateway.config import Config, RouteSettings
from gateway.model import Finding


def declaration_of(route: RouteSettings) -> str:
    """Names the route as it is declared: what was proven of another declaration proves nothing."""
    return canonical_digest(route.model_dump(mode="json", by_alias=True))


def proof_findings(config: Config) -> Iterator[Finding]:
    """A warning for each route with an undo that its tool's record does not prove; nothing for
    tools that keep no record."""
    for name, tool in config.tools.items():
        if tool.rehearsed is None:
            continue
        about = f"tool {name}"
        try:
            proven = _proven(Path(tool.rehearsed))
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"The record of its rehearsal cannot be read: {error}."
            yield Finding(level="warning", about=about, message=message)
            continue
        for route in tool.routes:
            if route.undo is not None and (route.match, declaration_of(route)) not in proven:
                message = (
                    f"The undo of {route.match} is not proven as it is declared now: run "
                    f"`holdfast tools rehearse {name} --sandbox URL`."
                )
                yield Finding(level="warning", about=about, message=message)


def _proven(file: Path) -> set[tuple[str, str]]:
    record = json.loads(file.read_text(encoding="utf-8"))
    return {(r["route"], r["declaration"]) for r in record["routes"] if r["proven"] is True}
