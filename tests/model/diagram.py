"""The life of a call as a Mermaid diagram, made from ``lifecycle.MOVES``.

``python -m tests.model.diagram`` writes it into ARCHITECTURE.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from gateway.lifecycle import MOVES, SETTLED, State

DOCUMENT = Path(__file__).parents[2] / "ARCHITECTURE.md"
BEGIN = "<!-- generated from gateway/lifecycle.py by `python -m tests.model.diagram` -->"
END = "<!-- end of the generated part -->"


def diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.RECEIVED}"]
    for (state, name), targets in MOVES.items():
        lines += [f"    {state} --> {target}: {name}" for target in sorted(targets)]
    lines += [f"    {state} --> [*]" for state in sorted(SETTLED)]
    return "\n".join([*lines, "```"])


def rendered(document: str) -> str:
    """``document`` with the generated part as it should be; ``ValueError`` without its place."""
    place = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if len(place.findall(document)) != 1:
        raise ValueError("the document has no single place for the diagram")
    return place.sub(lambda _: f"{BEGIN}\n{diagram()}\n{END}", document)


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
