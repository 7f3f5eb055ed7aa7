"""Decisions that need no second thought: policies are pure, so the parts of the input that they
read, being equal, give an equal answer.

Which parts they read is told by their syntax: every mention of ``input`` with the fields named
after it. Where a field is chosen while deciding (``input.action[x]``), all of what stands before
counts as read; where ``input`` stands alone, everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.model import Json
from gateway.policy.syntax import Module, Path

_MOST = 4_096
_LONGEST = 8_192
_REFS = ("RefDot", "RefBrack")


class Remembered:
    """The answers of one revision. May be used from several threads."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self._paths = read_paths(modules)
        self._answers: dict[str, Json] = {}

    def key(self, document: Mapping[str, Json]) -> str | None:
        """What the answer for ``document`` depends on; ``None`` where that is not worth keeping."""
        if self._paths is None:
            return None
        parts = [_at(document, path) for path in self._paths]
        key = json.dumps(parts, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
        return key if len(key) <= _LONGEST else None

    def get(self, key: str | None) -> Json:
        """The answer, or ``None``: an undefined one is not remembered."""
        return None if key is None else self._answers.get(key)

    def keep(self, key: str | None, answer: Json) -> None:
        if key is None or answer is None:
            return
        if len(self._answers) >= _MOST:
            self._answers.clear()
        self._answers[key] = answer


def read_paths(modules: Sequence[Module]) -> tuple[Path, ...] | None:
    """The paths below ``input`` that the rules read, or ``None`` for all of it. Tests do not
    count: their rules take no part in decisions."""
    found: set[Path] = set()
    for module in modules:
        if module.is_test:
            continue
        for rule in module.rules:
            for part in (rule.args, rule.key, rule.value):
                found.update(_mentions(part))
            for body in rule.bodies:
                found.update(_mentions(body.query))
                found.update(_mentions(body.value))
    if () in found:
        return None
    return tuple(sorted(path for path in found if not _covered(path, found)))


def _covered(path: Path, found: set[Path]) -> bool:
    return any(path[:length] in found for length in range(1, len(path)))


def _mentions(value: Any) -> Iterator[Path]:
    if isinstance(value, Mapping):
        if len(value) == 1:
            ((kind, members),) = value.items()
            if kind in _REFS:
                yield from _reference(value)
                return
            if kind == "Var" and members.get("value") == "input":
                yield ()
                return
        for member in value.values():
            yield from _mentions(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _mentions(member)


def _reference(value: Mapping[str, Any]) -> Iterator[Path]:
    """The static beginning of a reference, and what its indexes mention."""
    fields: list[str | None] = []
    while True:
        ((kind, members),) = value.items()
        if kind == "RefDot":
            fields.append(members["field"][1])
        elif kind == "RefBrack":
            ((index, inner),) = members["index"].items()
            fields.append(inner["value"] if index == "String" else None)
            yield from _mentions(members["index"])
        else:
            break
        value = members["refr"]
    if kind != "Var" or members.get("value") != "input":
        yield from _mentions(value)
        return
    path: list[str] = []
    for field in reversed(fields):
        if field is None:
            break
        path.append(field)
    yield tuple(path)


def _at(document: Json, path: Path) -> list[Json]:
    """The value at ``path`` in a list of its own; an empty one where there is none, which is not
    the same as ``null``."""
    for field in path:
        if not isinstance(document, Mapping) or field not in document:
            return []
        document = document[field]
    return [document]
