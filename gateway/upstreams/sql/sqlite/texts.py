"""Functions of text that SQLite computes in quadratic time, within one step that nothing can
interrupt: the same in linear time, or refused where the arguments are too long for that."""

from __future__ import annotations

import threading
from collections.abc import Callable

import apsw

from gateway.upstreams.sql.sqlite.facts import Value

# So many comparisons of SQLite's own loops take about a second.
_MOST_STEPS = 100_000_000
_FEW = 64  # characters that are looked for one by one


def replace_slow(db: apsw.Connection) -> None:
    """In this connection, for everything: indexes and checks of the schema may use them too."""
    for name, arguments, quick in (
        ("instr", 2, _instr),
        ("replace", 3, _replace(db)),
        ("trim", 2, _trim(left=True, right=True)),
        ("ltrim", 2, _trim(left=True, right=False)),
        ("rtrim", 2, _trim(left=False, right=True)),
        ("unhex", 2, None),
    ):
        db.create_scalar_function(
            name,
            _guarded(name, arguments, quick),
            arguments,
            deterministic=True,
            flags=apsw.SQLITE_INNOCUOUS,
        )


def _guarded(name: str, arguments: int, quick: Callable[..., Value] | None) -> Callable[..., Value]:
    sql = f"SELECT {name}({', '.join('?' * arguments)})"

    def call(*values: Value) -> Value:
        if None in values:
            return _ENGINE.own(sql, values)  # which is soon told
        if quick is not None and all(isinstance(v, str) and "\0" not in v for v in values):
            return quick(*values)
        one, other = (len(v) if isinstance(v, str | bytes) else 32 for v in values[:2])
        if one * other > _MOST_STEPS:
            raise apsw.TooBigError(f"the arguments of {name} are too long")
        return _ENGINE.own(sql, values)

    return call


def _instr(text: str, part: str) -> int:
    return text.find(part) + 1


def _replace(db: apsw.Connection) -> Callable[[str, str, str], str]:
    def replace(text: str, part: str, by: str) -> str:
        if not part:
            return text
        most = db.limit(apsw.SQLITE_LIMIT_LENGTH)
        if len(text) + text.count(part) * (len(by) - len(part)) > most:
            raise apsw.TooBigError("string or blob too big")
        return text.replace(part, by)

    return replace


def _trim(*, left: bool, right: bool) -> Callable[[str, str], str]:
    def trim(text: str, characters: str) -> str:
        some = set(characters)
        if len(some) <= _FEW:
            few = "".join(some)
            text = text.lstrip(few) if left and few else text
            return text.rstrip(few) if right and few else text
        start, end = 0, len(text)
        while left and start < end and text[start] in some:
            start += 1
        while right and end > start and text[end - 1] in some:
            end -= 1
        return text[start:end]

    return trim


class _Engine(threading.local):
    """SQLite as it is, one per thread."""

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")

    def own(self, sql: str, values: tuple[Value, ...]) -> Value:
        for (value,) in self._db.execute(sql, values):
            return value  # type: ignore[no-any-return]
        return None


_ENGINE = _Engine()
