"""The matrix of SQLite as a page: its kinds of tables, its statements, and what is expected."""

from __future__ import annotations

from tests.matrix.cases import EXACT, FAILS, Matrix, Shape
from tests.matrix.sqlite_cells import BY_CHANCE, FAILING, KINDS, REFUSED, SHAPES


def expected(kind: str, shape: str) -> frozenset[str]:
    """What may come out: one thing, but where chance decides which rows are met."""
    found = matrix_shape(kind).otherwise.get(shape, EXACT)
    return frozenset(str(one) for one in (found.values() if isinstance(found, dict) else [found]))


def matrix_shape(kind: str) -> Shape:
    told: dict[str, object] = dict.fromkeys(FAILING.get(kind, ()), FAILS)
    told |= {s: {"luck": EXACT, "no luck": FAILS} for s in BY_CHANCE.get(kind, ())}
    return Shape(name=kind, setup=KINDS[kind], statements=(), otherwise=told)


def matrix() -> Matrix:
    return Matrix(
        engine="SQLite",
        versions=("luck", "no luck"),
        shapes=tuple(matrix_shape(kind) for kind in KINDS),
        statements=tuple(SHAPES),
        refused=tuple(REFUSED),
    )
