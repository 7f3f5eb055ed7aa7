"""The matrix of SQLite as a page: its kinds of tables, its statements, and what is expected."""

from __future__ import annotations

from tests.matrix.cases import EXACT, FAILS, TRAP, Matrix, Shape, Statement
from tests.matrix.cases import REFUSED as NOT_DONE
from tests.matrix.sqlite_cells import (
    BY_CHANCE,
    FAILING,
    KINDS,
    REFUSED,
    SHAPES,
    TRAPS,
    TRAPS_REFUSED,
)


def expected(kind: str, shape: str) -> frozenset[str]:
    """What may come out: one thing, but where chance decides which rows are met."""
    found = matrix_shape(kind).otherwise.get(shape, EXACT)
    return frozenset(str(one) for one in (found.values() if isinstance(found, dict) else [found]))


def matrix_shape(kind: str) -> Shape:
    told: dict[str, object] = dict.fromkeys(FAILING.get(kind, ()), FAILS)
    told |= {s: {"luck": EXACT, "no luck": FAILS} for s in BY_CHANCE.get(kind, ())}
    return Shape(name=kind, setup=KINDS[kind], statements=(), otherwise=told)


def trap(name: str) -> Shape:
    setup, sql = TRAPS[name]
    told: dict[str, object] = {TRAP: NOT_DONE} if name in TRAPS_REFUSED else {}
    return Shape(name, setup, (Statement(TRAP, sql),), told)


def matrix() -> Matrix:
    return Matrix(
        engine="SQLite",
        versions=("luck", "no luck"),
        shapes=tuple(matrix_shape(kind) for kind in KINDS),
        statements=tuple(SHAPES),
        traps=tuple(map(trap, TRAPS)),
        refused=tuple(REFUSED),
    )
