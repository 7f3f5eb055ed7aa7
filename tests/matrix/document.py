"""The matrix for people, from the tables that the tests hold."""

from __future__ import annotations

from pathlib import Path

from tests.matrix import sqlite
from tests.matrix.cases import EXACT, FAILS, FOLDER, REFUSED, TRAP, Matrix, load

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "matrix.md"

_SIGNS = {EXACT: "exact", REFUSED: "**refused**", FAILS: "–"}
_HEAD = """# What can be taken back exactly

Each statement is run on each shape of table as an agent's call, taken back, taken forward again and
taken back once more. After each step every row of every table has to be, byte for byte in its
binary form, what it has to be; at the end of each line the whole schema has to be what it was, and
sequences never go back. What the agent sees (counts, returned rows, SQLSTATE) has to be what it
would have seen without the gateway.

- **exact**: all of that holds.
- **refused**: the call is refused before it commits, with the database unchanged.
- –: the database itself does not accept the statement there.

The tables stand in `tests/matrix/`, its `test_matrix.py` and `test_sqlite.py` run them, and
`python -m tests.matrix` writes this page from them.
"""

_SQLITE = """## SQLite

Each cell is run twice: as a call that keeps row images, and as one that keeps the rollback journal,
where the file has to come back to the byte (but for what lies in free pages). Its way back is
rehearsed first. Changes of the schema are run a third time in write-ahead mode, where a copy of the
file is kept. Where chance decides whether the database accepts it, both outcomes are given.
"""


def render() -> str:
    parts = [_HEAD]
    for path in sorted(FOLDER.glob("*.yaml")):
        parts.append(_table(load(path)))
    parts.append(_SQLITE)
    parts.append(_table(sqlite.matrix()).partition("\n\n")[2])
    return "\n".join(parts)


def _table(matrix: Matrix) -> str:
    lines = [f"## {matrix.engine}", ""]
    lines.append("| | " + " | ".join(matrix.statements) + " |")
    lines.append("|---|" + "---|" * len(matrix.statements))
    for shape in matrix.shapes:
        cells = []
        for statement in matrix.statements:
            found = [shape.expected(statement, version) for version in matrix.versions]
            cells.append(" / ".join(_SIGNS[one] for one in dict.fromkeys(found)))
        lines.append(f"| {shape.name} | " + " | ".join(cells) + " |")
    if matrix.traps:
        lines += ["", f"### Traps of {matrix.engine}", "", "| | statement | |", "|---|---|---|"]
    for trap in matrix.traps:
        [statement] = trap.statements
        found = [trap.expected(TRAP, version) for version in matrix.versions]
        sign = " / ".join(_SIGNS[one] for one in dict.fromkeys(found))
        text = " ".join(statement.text.split()).replace("|", "\\|")
        lines.append(f"| {trap.name} | `{text}` | {sign} |")
    if matrix.refused:
        lines += ["", f"Refused on every shape: {', '.join(matrix.refused)}."]
    return "\n".join(lines) + "\n"
