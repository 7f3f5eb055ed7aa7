from __future__ import annotations

import pytest

from gateway.lifecycle import MOVES
from tests.model.bugs import Bug
from tests.model.diagram import BEGIN, DOCUMENT, END, diagram, rendered


def test_the_diagram_in_the_architecture_document_is_the_table() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")

    assert rendered(document) == document, "run `python -m tests.model.diagram`"


def test_the_architecture_document_counts_the_planted_bugs() -> None:
    assert f"each of {len(Bug)} bugs" in DOCUMENT.read_text(encoding="utf-8")


def test_the_diagram_has_one_arrow_per_move_and_target() -> None:
    arrows = [line for line in diagram().splitlines() if "-->" in line and "[*]" not in line]

    assert len(arrows) == sum(len(targets) for targets in MOVES.values())


def test_a_stale_or_missing_diagram_is_noticed() -> None:
    stale = f"# A\n\n{BEGIN}\n```mermaid\n```\n{END}\n"

    assert rendered(stale) != stale
    with pytest.raises(ValueError):
        rendered("# A document without a diagram\n")
