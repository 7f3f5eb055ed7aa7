"""Runs judged statements, each behind an authorizer that permits what the judge saw and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import apsw

from gateway.errors import UpstreamError
from gateway.model import ActionClass, Json
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.masking import Mask, Origin
from gateway.upstreams.sql.sqlite.catalog import folded
from gateway.upstreams.sql.sqlite.facts import Act, Judged, Judgement
from gateway.upstreams.sql.sqlite.functions import FUNCTIONS, MODULE_PRAGMAS, PRAGMAS
from gateway.upstreams.sql.sqlite.tokens import tokens
from gateway.upstreams.sql.values import render


@dataclass(slots=True)
class _Room:
    """What is left of the call's limits on results."""

    rows: int
    bytes: int

    def take(self, row: tuple[object, ...]) -> list[Json]:
        self.rows -= 1
        self.bytes -= sum(len(c) if isinstance(c, str | bytes) else 8 for c in row)
        if self.rows < 0 or self.bytes < 0:
            raise UpstreamError(
                "The result is larger than this source allows; ask for fewer rows.",
                reason="too_large",
            )
        return [render(cell) for cell in row]


# These look each member of one value up in the other, within one step of the engine.
_QUADRATIC = frozenset({"json_patch", "jsonb_patch"})
_MAX_QUADRATIC_BYTES = 256 * 1024
_SETS = frozenset({"UNION", "EXCEPT", "INTERSECT"})
_STORAGE: Mapping[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob"}


@dataclass(slots=True)
class _Result:
    verb: str
    names: list[str] = field(default_factory=list)
    types: list[str | None] = field(default_factory=list)  # as declared, else of the first value
    origins: list[Origin | None] = field(default_factory=list)
    rows: list[list[Json]] = field(default_factory=list)
    affected: int = 0

    def take(self, row: tuple[object, ...], room: _Room) -> None:
        self.rows.append(room.take(row))
        if None in self.types:
            self.types = [
                known or _STORAGE.get(type(cell))
                for known, cell in zip(self.types, row, strict=True)
            ]

    def as_json(self) -> dict[str, Json]:
        return {
            "verb": self.verb,
            "columns": [
                {"name": name, "type": type_ or "null"}
                for name, type_ in zip(self.names, self.types, strict=True)
            ],
            "rows": self.rows,
            "affected": self.affected,
        }


def run(
    db: apsw.Connection, judgement: Judgement, limits: SqlLimits, mask: Mask
) -> Mapping[str, Json]:
    """The surface's JSON. Raises ``apsw.Error`` as the engine does, and ``UpstreamError``
    ``too_large``."""
    room = _Room(limits.max_result_rows, limits.max_result_bytes)
    results: list[dict[str, Json]] = []
    for statement in judgement.statements:
        before = db.total_changes()
        result = _run_one(db, statement, room)
        if statement.cls in (ActionClass.WRITE, ActionClass.DESTRUCTIVE):
            # changes() keeps the number of an earlier statement when this one changed nothing.
            result.affected = db.changes() if db.total_changes() != before else 0
        results.append(mask.result(result.as_json(), result.origins))
    return results[0] if judgement.single else {"results": results}


def _run_one(db: apsw.Connection, statement: Judged, room: _Room) -> _Result:
    result = _Result(statement.verb)

    def described(cursor: apsw.Cursor, *_: object) -> bool:
        described = cursor.get_description()
        result.names = [str(c[0]) for c in described]
        result.types = [str(c[1]).lower() if c[1] else None for c in described]
        result.origins = _origins(cursor, statement)
        return True

    cursor = db.cursor()
    cursor.exec_trace = described
    db.authorizer = _Wall(statement).ask
    whole = db.limit(apsw.SQLITE_LIMIT_LENGTH)
    if _QUADRATIC & frozenset(statement.functions):
        db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_QUADRATIC_BYTES)
    try:
        for row in cursor.execute(statement.sql, statement.bindings, can_cache=False):
            result.take(tuple(row), room)
    except UnicodeDecodeError as error:
        raise UpstreamError(
            "The result holds text that is not valid UTF-8; ask for it as CAST(... AS BLOB)."
        ) from error
    finally:
        db.limit(apsw.SQLITE_LIMIT_LENGTH, whole)
        db.authorizer = None
        cursor.close(True)
    return result


def _origins(cursor: apsw.Cursor, statement: Judged) -> list[Origin | None]:
    """Where the engine says that columns come straight from. Of a set operation it tells only
    one side, and of a view it does not tell whether there is one inside."""
    described = cursor.description_full
    if _SETS & frozenset(tokens(statement.sql)) or any(e.kind == "view" for e in statement.effects):
        return [None for _ in described]
    return [(f"{c[2]}.{c[3]}", str(c[4])) if c[4] is not None else None for c in described]


class _Wall:
    """Permits the acts that were judged. A statement that the engine prepares anew, because the
    schema changed since, cannot do more than that."""

    def __init__(self, statement: Judged) -> None:
        self._acts = statement.acts
        self._modules = statement.modules
        self._analyzes = statement.verb == "analyze"

    def ask(self, op: int, a: str | None, b: str | None, c: str | None, d: str | None) -> int:
        if Act(op, a, b, c, d) in self._acts or (self._modules and self._own(op, a, b)):
            return apsw.SQLITE_OK
        if self._analyzes and _loads(op, a, b):
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY

    def _own(self, op: int, a: str | None, b: str | None) -> bool:
        """What a virtual table that is read does for itself while it is read."""
        if op in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE):
            return True
        if op == apsw.SQLITE_FUNCTION:
            return folded(b or "") in FUNCTIONS
        name = folded(a or "")
        if op in (apsw.SQLITE_READ, apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE):
            # An r-tree prepares its writes when it is opened; only a write to it, which is never
            # judged, would run them.
            return name in self._modules
        if op == apsw.SQLITE_PRAGMA:
            asked = name in PRAGMAS and f"pragma_{name}" in self._modules
            return asked or (name in MODULE_PRAGMAS and b is None)
        return False


def _loads(op: int, a: str | None, b: str | None) -> bool:
    """What the engine itself looks up after ANALYZE: the statistics, for its own use."""
    if op == apsw.SQLITE_READ:
        return folded(a or "") in ("sqlite_stat1", "sqlite_stat4")
    return op == apsw.SQLITE_SELECT or (op == apsw.SQLITE_FUNCTION and b == "count")
