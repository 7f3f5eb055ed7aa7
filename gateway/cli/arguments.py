"""What stands on the command line: times, scopes, and the options that many commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli.remote import Usage
from gateway.config import DEFAULT_CONFIG
from gateway.config.values import parse_duration

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
ConfigFile = Annotated[str, typer.Option("--config", help="The configuration file.")]
CONFIG = DEFAULT_CONFIG

_KINDS = {
    "source": "sources",
    "tool": "tools",
    "table": "tables",
    "agent": "agents",
    "effect": "effects",
}
_EFFECTS = frozenset({"read", "write", "destructive", "ddl", "admin"})


def moment(text: str | None, now: datetime, *, ahead: bool = False) -> str | None:
    """RFC 3339 UTC for RFC 3339 or for a duration before (``ahead``: after) ``now``."""
    if text is None:
        return None
    try:
        span = parse_duration(text)
    except ValueError:
        return _rfc3339(text)
    try:
        found = now + span if ahead else now - span
    except OverflowError:
        raise Usage(f"{text!r} is too far away.") from None
    return found.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _rfc3339(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Usage(
            f"{text!r} is not a time: write 15m, 2h, 1d or RFC 3339 such as 2026-01-31T18:00:00Z."
        )
    return found.astimezone(UTC).isoformat().replace("+00:00", "Z")


def scope_of(words: list[str]) -> dict[str, list[str]]:
    """``source:shop table:customers agent:demo effect:ddl tool:crm``; a bare word is an effect
    class, or else a source."""
    scope: dict[str, list[str]] = {name: [] for name in _KINDS.values()}
    for word in words:
        kind, mark, name = word.replace("=", ":", 1).partition(":")
        if not mark:
            kind, name = ("effect" if word in _EFFECTS else "source"), word
        if kind not in _KINDS or not name:
            raise Usage(
                f"{word!r} is not a scope: write source:NAME, table:NAME, agent:NAME, tool:NAME "
                "or effect:NAME."
            )
        scope[_KINDS[kind]].append(name)
    return scope
