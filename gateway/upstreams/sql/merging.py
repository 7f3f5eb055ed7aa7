"""Merging by column: what is left of a row's change when only the columns come back that the call
changed and nobody touched since. The same arithmetic for every database that compares rows here;
where the database itself compares, it is written in its SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Cell = TypeVar("Cell")


def merged(
    before: Sequence[Cell] | None,
    after: Sequence[Cell] | None,
    now: Sequence[Cell] | None,
    same: Callable[[Cell, Cell], bool],
) -> tuple[Cell, ...] | None:
    """The row to put in the place of ``now``; ``None`` where there is nothing to merge: a row that
    came, went or is gone, or a column that both changed. ``same`` is the exact comparison."""
    if before is None or after is None or now is None:
        return None
    row: list[Cell] = []
    for old, new, there in zip(before, after, now, strict=True):
        if same(old, new):
            row.append(there)
        elif same(there, new):
            row.append(old)
        else:
            return None
    return tuple(row)
