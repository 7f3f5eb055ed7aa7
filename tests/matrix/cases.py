"""The matrix as data: shapes of tables, statements, and what is expected where they meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
TRAP = "trap"  # the statement of one
EXACT, REFUSED, FAILS = "exact", "refused", "fails"
_ROWS = "INSERT INTO t SELECT i, i % 2, 'v' || i, i + 0.50 FROM generate_series(1, 6) i"  # six rows
_PICK = "CREATE TABLE pick(id int, v text); INSERT INTO pick VALUES (1, 'one'), (4, 'four')"


@dataclass(frozen=True, slots=True)
class Statement:
    """``stdin``: what a COPY of it reads."""

    name: str
    text: str
    stdin: str | None = None

    @classmethod
    def told(cls, name: str, told: Any, words: Mapping[str, str]) -> Statement:
        """``told``: its text, or that and its ``stdin``."""
        if isinstance(told, str):
            return cls(name, told.format(**words))
        return cls(name, told["text"].format(**words), told["stdin"])


@dataclass(frozen=True, slots=True)
class Shape:
    """``drawn``: statements draw numbers that the next attempt does not get again."""

    name: str
    setup: str
    statements: tuple[Statement, ...]
    otherwise: Mapping[str, Any]
    since: int = 0
    drawn: bool = False

    def expected(self, statement: str, version: str) -> str:
        """``version``: the name of one of the engine's versions."""
        found = self.otherwise.get(statement, self.otherwise.get("*", EXACT))
        return str(found[version] if isinstance(found, Mapping) else found)


@dataclass(frozen=True, slots=True)
class Matrix:
    """``refused``: what is refused on every shape."""

    engine: str
    versions: tuple[str, ...]
    shapes: tuple[Shape, ...]
    statements: tuple[str, ...]
    traps: tuple[Shape, ...] = ()  # of one statement each
    refused: tuple[str, ...] = ()


def load(path: Path) -> Matrix:
    """``base`` in a file names another one, of which it says what is different; what it lists as
    ``absent`` does not exist there."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "base" in told:
        told = _changed(yaml.safe_load((FOLDER / told["base"]).read_text(encoding="utf-8")), told)
    return Matrix(
        engine=told["engine"],
        versions=tuple(told["versions"]),
        shapes=tuple(_shapes(told)),
        statements=tuple(told["statements"]),
        traps=tuple(_traps(told)),
    )


def _changed(base: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    found = {**base, **told, "statements": {**base["statements"], **told.get("statements", {})}}
    for part in ("shapes", "traps"):
        found[part] = {
            name: _merged(one, told.get(part, {}).get(name, {}))
            for name, one in base[part].items()
            if name not in told.get("absent", ())
        }
    return found


def _merged(one: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    found = {**one, **told}
    both = [part.get("otherwise") for part in (one, told)]
    if all(isinstance(part, Mapping) for part in both):
        found["otherwise"] = {name: what for part in both for name, what in (part or {}).items()}
    return found


def _traps(told: Mapping[str, Any]) -> Iterator[Shape]:
    for name, trap in told.get("traps", {}).items():
        yield Shape(
            name=name,
            setup=";".join((trap["setup"], trap.get("rows", told.get("rows", _ROWS)))),
            statements=(Statement(TRAP, trap["statement"], trap.get("stdin")),),
            otherwise={TRAP: trap["otherwise"]} if "otherwise" in trap else {},
            since=trap.get("since", 0),
            drawn=trap.get("drawn", False),
        )


def _shapes(told: Mapping[str, Any]) -> Iterator[Shape]:
    for name, shape in told["shapes"].items():
        words = {
            "into": shape.get("into", "t"),
            "onto": shape.get("onto", "t(id, grp, v, n)"),
            "key": shape.get("key", "id"),
        }
        yield Shape(
            name=name,
            setup=";".join(
                (
                    shape["setup"],
                    told.get("aside", _PICK),
                    shape.get("rows", told.get("rows", _ROWS)),
                )
            ),
            statements=tuple(
                Statement.told(what, text, words) for what, text in told["statements"].items()
            ),
            otherwise=shape.get("otherwise", {}),
            since=shape.get("since", 0),
            drawn=shape.get("drawn", False),
        )
