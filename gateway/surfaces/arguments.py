"""Bodies and queries read name by name: what is not asked for is refused, never ignored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from gateway.errors import Malformed
from gateway.model import Json

Choice = TypeVar("Choice", bound=StrEnum)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def time_of(text: str, name: str) -> datetime:
    """An RFC 3339 time with its offset, in UTC. Raises ``Malformed``."""
    if _RFC3339.fullmatch(text) is None:
        raise Malformed(f"{name} must be an RFC 3339 time such as 2026-01-31T18:00:00Z.")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"{name} is not a time of the calendar.") from None


class Fields:
    """One JSON object. Every reader raises ``Malformed`` with the name of the field; ``end``
    refuses what was not read."""

    def __init__(self, document: Json, where: str = "The body") -> None:
        if not isinstance(document, dict):
            raise Malformed(f"{where} must be a JSON object.")
        self._left = dict(document)
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self._left.get(name) is not None

    def take(self, name: str) -> Json:
        """The value as it is, or ``None``."""
        return self._left.pop(name, None)

    def text(self, name: str, *, most: int = 500, least: int = 1) -> str:
        value = self.optional_text(name, most=most, least=least)
        if value is None:
            raise Malformed(f"{self._where} needs {name!r}.")
        return value

    def optional_text(self, name: str, *, most: int = 500, least: int = 1) -> str | None:
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise Malformed(f"{name!r} must be a text of {least} to {most} characters.")
        if _CONTROL.search(value):
            raise Malformed(f"{name!r} has control characters in it.")
        return value

    def flag(self, name: str) -> bool:
        """False when it is absent."""
        value = self._left.pop(name, False)
        if not isinstance(value, bool):
            raise Malformed(f"{name!r} must be true or false.")
        return value

    def time(self, name: str) -> datetime | None:
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise Malformed(f"{name!r} must be an RFC 3339 time.")
        return time_of(value, name)

    def choice(self, name: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        value = self.take(name)
        if value is None and default is not None:
            return default
        found = next((c for c in kind if c.value == value), None)
        if found is None:
            raise Malformed(f"{name!r} must be one of {', '.join(kind)}.")
        return found

    def texts(
        self, name: str, *, most: int = 100, among: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """A list of texts, empty when absent; with ``among``, of those alone."""
        value = self.take(name)
        items = [] if value is None else value
        if not isinstance(items, list) or len(items) > most:
            raise Malformed(f"{name!r} must be a list of at most {most} texts.")
        for item in items:
            if not isinstance(item, str) or not 1 <= len(item) <= 255 or _CONTROL.search(item):
                raise Malformed(f"{name!r} must hold texts of 1 to 255 characters.")
            if among is not None and item not in among:
                known = ", ".join(sorted(among)) or "none"
                raise Malformed(f"{name!r} holds {item!r}; there are: {known}.")
        return tuple(items)

    def end(self) -> None:
        if self._left:
            raise Malformed(f"{self._where} has unknown fields: {_listed(self._left)}.")


class Query:
    """The query parameters of a request. ``known`` are those its endpoint has; an unknown or
    repeated one raises ``Malformed``."""

    def __init__(self, items: Sequence[tuple[str, str]], known: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in items:
            if name not in known:
                raise Malformed(f"Unknown query parameter {_listed([name])}.")
            if name in self._values:
                raise Malformed(f"The query parameter {name!r} is given twice.")
            if not 1 <= len(value) <= 512 or _CONTROL.search(value) or "\ufffd" in value:
                raise Malformed(f"The query parameter {name!r} has no acceptable value.")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def time(self, name: str) -> datetime | None:
        value = self._values.get(name)
        return None if value is None else time_of(value, name)

    def flag(self, name: str) -> bool:
        value = self._values.get(name, "false")
        if value not in ("true", "false"):
            raise Malformed(f"{name!r} must be true or false.")
        return value == "true"

    def number(self, name: str, *, default: int, most: int, least: int = 0) -> int:
        value = self._values.get(name, str(default))
        if re.fullmatch(r"\d{1,18}", value, re.ASCII) is None or not least <= int(value) <= most:
            raise Malformed(f"{name!r} must be a number from {least} to {most}.")
        return int(value)

    def choices(self, name: str, kind: type[Choice]) -> tuple[Choice, ...]:
        """Several, separated by commas."""
        value = self._values.get(name)
        if value is None:
            return ()
        wanted = value.split(",")
        found = tuple(c for c in kind if c.value in wanted)
        if len(found) != len(wanted):
            raise Malformed(f"{name!r} must be among {', '.join(kind)}.")
        return found


def _listed(names: Collection[str] | Mapping[str, Json]) -> str:
    shown = [name[:40] for name in sorted(names)[:5]]
    return ", ".join(repr(name) for name in shown)
