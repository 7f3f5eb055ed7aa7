from __future__ import annotations

import re

import pytest

from tests.house.sources import ROOT, project_files

# Written in pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join(
        [
            r"/wo" r"rk/",
            r"/ro" r"ot/",
            r"/ho" r"me/[a-z]",
            r"/Us" r"ers/[A-Za-z]",
            r"[A-Z]:\\\\Us" r"ers",
        ]
    )
)
REGISTRIES = re.compile(
    "|".join(
        [
            r"py" r"pi\.org",
            r"python" r"hosted\.org",
            r"registry\.np" r"mjs\.org",
            r"proxy\.go" r"lang\.org",
            r"crates\.i" r"o",
            r"deb\.deb" r"ian\.org",
            r"ghcr\.i" r"o",
            r"docker\.i" r"o",
        ]
    )
)
MOST_BYTES = 1_000_000


def read(name: str) -> str:
    return (ROOT / name).read_bytes().decode("utf-8", errors="replace")


@pytest.mark.parametrize(
    ("what", "pattern"), [("a path of some machine", MACHINE_PATHS), ("a registry", REGISTRIES)]
)
def test_no_project_file_names(what: str, pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in project_files()
        for number, line in enumerate(read(name).splitlines(), 1)
        if pattern.search(line)
    ]

    assert found == [], what


def test_no_project_file_is_large_or_private() -> None:
    large = [n for n in project_files() if (ROOT / n).stat().st_size > MOST_BYTES]
    private = [n for n in project_files() if re.search(r"(^|/)(\.env|.*\.(pem|key|db|sqlite))$", n)]

    assert large == []
    assert private == []


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATHS.search("see /ho" + "me/ada/project")
    assert not MACHINE_PATHS.search("/var/lib/holdfast")
    assert REGISTRIES.search("https://py" + "pi.org/simple")


def test_the_documents_that_a_project_has_are_there() -> None:
    names = {
        "README.md", "LICENSE", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md",
        "CHANGELOG.md", "Makefile", "config.example.yaml", "docs/reasons.md",
    }  # fmt: skip

    assert names - set(project_files()) == set()
