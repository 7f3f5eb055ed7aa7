"""Every kind of schema statement and what becomes of it, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

TABLE = Path(__file__).resolve().parents[1] / "fixtures" / "postgres_statements.yaml"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "schema-changes.md"
BEGIN = (
    "<!-- generated from tests/fixtures/postgres_statements.yaml by `python -m tests.matrix` -->\n"
)
END = "<!-- end of the generated part -->\n"
VERDICTS = ("exact", "inexact", "tried", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``kind``: in the grammar's words; ``texts``: by verdict."""

    part: str
    kind: str
    texts: Mapping[str, str]


def entries() -> Iterator[Entry]:
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    for part in ("statements", "drop", "alter"):
        for kind, texts in table[part].items():
            yield Entry(part=part, kind=kind, texts=texts)
    yield Entry(part="statements", kind="SelectStmt", texts=table["setval"])


def others() -> frozenset[str]:
    return frozenset(yaml.safe_load(TABLE.read_text(encoding="utf-8"))["others"].split())


def render() -> str:
    lines = ["| | exact | inexact | tried, rolled back | refused |", "|---|---|---|---|---|"]
    for entry in entries():
        cells = [
            f"`{entry.texts[verdict]}`" if verdict in entry.texts else "" for verdict in VERDICTS
        ]
        lines.append(f"| {_named(entry)} | " + " | ".join(cells) + " |")
    return BEGIN + "\n".join(lines) + "\n" + END


def written(document: str) -> str:
    """``document`` with the generated part as it should be."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + render() + after


def _named(entry: Entry) -> str:
    what = {"drop": "DROP ", "alter": "ALTER TABLE: "}.get(entry.part, "")
    return what + entry.kind.removesuffix("Stmt")
