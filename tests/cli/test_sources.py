from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tests.fixtures.serving import environment
from tests.fixtures.terminal import Terminal


@pytest.fixture
def shell(tmp_path: Path) -> Terminal:
    return Terminal(environ=environment(tmp_path))


def wal(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("PRAGMA journal_mode = WAL")


def test_what_is_missing_is_printed_as_statements_and_applied_when_asked(
    shell: Terminal, tmp_path: Path
) -> None:
    assert shell.run("source", "prepare", "shop") == 0
    assert "journal-mode: there" in shell.out
    wal(tmp_path)
    assert shell.run("source", "prepare", "shop") == 0
    assert "\nPRAGMA journal_mode = DELETE;\n" in shell.out
    assert "Something is missing." in shell.out
    assert shell.run("source", "prepare", "shop", "--apply", "--json") == 0
    told = json.loads(shell.out)
    assert (told["source"], told["ready"]) == ("shop", True)
    assert [(p["id"], p["state"]) for p in told["pieces"]] == [("journal-mode", "applied")]


def test_what_cannot_be_applied_is_a_failure(shell: Terminal, tmp_path: Path) -> None:
    assert shell.run("source", "prepare", "shop") == 0
    wal(tmp_path)
    with closing(apsw.Connection(str(tmp_path / "shop.db"))) as other:
        other.execute("BEGIN; SELECT count(*) FROM customers")
        assert shell.run("source", "prepare", "shop", "--apply") == 1
    assert "journal-mode: failed" in shell.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["none"],
        ["shop", "--include", "nothing"],
        ["shop", "--as", "NO_SUCH_VARIABLE"],
    ],
)
def test_what_names_nothing_is_a_usage_error(shell: Terminal, arguments: list[str]) -> None:
    assert shell.run("source", "prepare", *arguments) == 2
