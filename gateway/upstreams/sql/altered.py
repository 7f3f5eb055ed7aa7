"""What became of a table since its rows were captured: why they are not put back, and which of
their values still have a place, for whoever has to decide. The same words for every database."""

from __future__ import annotations

from collections.abc import Mapping


def gone(table: str, rows: int) -> str:
    return (
        f"The table {table} is gone. Make it again as it was and revert then: "
        f"{_rows(rows)} are kept in the images."
    )


def altered(table: str, before: Mapping[str, str], now: Mapping[str, str], rows: int) -> str:
    """``before`` and ``now``: types by column."""
    told = [f"column {name} is gone" for name in before if name not in now]
    told += [f"column {name} is new" for name in now if name not in before]
    told += [
        f"column {name} was {before[name] or 'without a type'}, is {now[name] or 'without one'}"
        for name in before
        if name in now and before[name] != now[name]
    ]
    if not told:
        told = ["its key, constraints or order of columns are others, or it is another table"]
    kept = [name for name in before if before[name] == now.get(name)]
    where = ", ".join(kept) if kept else "no column"
    return (
        f"The table {table} was altered: {'; '.join(told)}. Nothing is put back into it. Of "
        f"{_rows(rows)} in the images, the values of {where} still have their place."
    )


def _rows(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"
