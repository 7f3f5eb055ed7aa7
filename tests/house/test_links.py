from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from tests.house.sources import ROOT, project_files

DOCUMENTS = [name for name in project_files() if name.endswith(".md")]


def links(text: str) -> list[str]:
    """The targets of Markdown links, code left out."""
    prose = re.sub(r"```.*?```|`[^`\n]*`(?!\])", "", text, flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", prose, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def dead(document: str, text: str) -> list[str]:
    found = []
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        name = (PurePosixPath(document).parent / path).as_posix() if path else document
        there = ROOT / name
        if not there.exists() or (
            anchor and anchor not in anchors(there.read_text(encoding="utf-8"))
        ):
            found.append(target)
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_links_of_a_document_lead_somewhere(document: str) -> None:
    assert dead(document, (ROOT / document).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:gateway|tests|policies|docs|benchmarks)/[\w./-]*)`", text)
    named = [name for name in named if re.search(r"\.\w+$|/$", name)]

    assert [name for name in named if not (ROOT / name).exists() and "/a/" not in name] == []


def test_there_are_documents_with_links() -> None:
    assert "README.md" in DOCUMENTS
    assert any(links((ROOT / name).read_text(encoding="utf-8")) for name in DOCUMENTS)


def test_a_dead_link_and_a_dead_anchor_are_found() -> None:
    assert dead("README.md", "[a](nowhere.md) [b](README.md#no-such-heading)") == [
        "nowhere.md",
        "README.md#no-such-heading",
    ]
    assert dead("README.md", "[a](LICENSE) [b](https://example.org/) `[c](code.md)`") == []
