"""What the server answers to an agent's statement, taken from libpq's results."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import pq
from psycopg.pq import ExecStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answered to one statement of an agent; values as its text."""

    tag: str
    affected: int
    columns: tuple[tuple[str, int], ...]  # name, type oid
    origins: tuple[tuple[int, int], ...]  # table oid, column number; 0 for what is computed
    rows: list[tuple[bytes | None, ...]]


ROWS = frozenset(
    {ExecStatus.TUPLES_OK, ExecStatus.SINGLE_TUPLE, getattr(ExecStatus, "TUPLES_CHUNK", -1)}
)
DONE = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})


def columns_of(result: pq.abc.PGresult) -> tuple[tuple[str, int], ...]:
    return tuple(
        ((result.fname(i) or b"").decode(), result.ftype(i)) for i in range(result.nfields)
    )


def origins_of(result: pq.abc.PGresult) -> tuple[tuple[int, int], ...]:
    return tuple((result.ftable(i), result.ftablecol(i)) for i in range(result.nfields))


def take(result: pq.abc.PGresult, rows: list[tuple[bytes | None, ...]]) -> int:
    size = 0
    width = range(result.nfields)
    for row in range(result.ntuples):
        values = tuple(result.get_value(row, column) for column in width)
        size += sum(len(v) for v in values if v is not None) + 8
        rows.append(values)
    return size
