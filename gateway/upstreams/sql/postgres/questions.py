"""Several catalog queries as one: one statement to plan, to send and to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Answer = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``text``: a query of ``width`` columns, none of them of a type that JSON would bend (numbers
    up to int8, text, booleans, arrays of these); its parameters are named."""

    text: str
    width: int


def as_one(questions: Sequence[Question]) -> str:
    """A query of one row, a column for each of ``questions``."""
    parts = []
    for question in questions:
        names = [f"c{i}" for i in range(question.width)]
        values = ", ".join(f"q.{name}" for name in names)
        parts.append(
            f"(SELECT pg_catalog.json_agg(pg_catalog.json_build_array({values}))"
            f" FROM ({question.text}) AS q({', '.join(names)}))"
        )
    return "SELECT " + ",\n".join(parts)


def answers(row: Sequence[Any]) -> list[Answer]:
    """What each question would have been answered alone, in its own order."""
    return [[tuple(line) for line in found or ()] for found in row]
