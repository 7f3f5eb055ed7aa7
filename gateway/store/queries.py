"""The statements of ``queries.sql`` by name, and the numbered migrations."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_NUMBERED = re.compile(r"(\d{4})_\w+\.sql")


class Migration(NamedTuple):
    number: int
    name: str
    text: str


@cache
def queries() -> dict[str, str]:
    """Each statement under its name. Raises ``ValueError`` for a name that stands twice."""
    text = (files("gateway.store") / "queries.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    found: dict[str, str] = {}
    for name, statement in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"the statement {name} stands twice")
        found[name] = statement.strip().removesuffix(";")
    return found


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in order. Raises ``ValueError`` when a number is missing or double."""
    found = []
    for file in sorted((files("gateway.store") / "migrations").iterdir(), key=lambda f: f.name):
        numbered = _NUMBERED.fullmatch(file.name)
        if numbered is not None:
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(numbered[1]), file.name, text))
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise ValueError("the migrations are not numbered 1, 2, 3, ...")
    return tuple(found)
