from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

# One import against each contract, planted in a copy.
VIOLATIONS = {
    "layers": ("gateway/pipeline.py", "import gateway.surfaces"),
    "starlette": ("gateway/policy/__init__.py", "import starlette.requests"),
    "servers": ("gateway/guards/__init__.py", "import uvicorn"),
    "targets": ("gateway/recovery.py", "import sqlglot"),
    "databases": (
        "gateway/upstreams/sql/sqlite/__init__.py",
        "import gateway.upstreams.sql.postgres",
    ),
    "keys": ("gateway/store/images.py", "import cryptography"),
    "graphql": ("gateway/surfaces/__init__.py", "import graphql"),
    "store": ("gateway/policy/__init__.py", "import sqlite3"),
    "policy": ("gateway/deciding.py", "import opa_client"),
    "client": ("gateway/surfaces/__init__.py", "import httpx"),
    "metrics": ("gateway/pipeline.py", "import prometheus_client"),
    "terminal": ("gateway/app/__init__.py", "import rich"),
}
SIBLINGS = [
    ("gateway/guards/__init__.py", "import gateway.store"),
    ("gateway/policy/__init__.py", "import gateway.config"),
    ("gateway/audit.py", "import gateway.interfaces"),
    ("gateway/interfaces/__init__.py", "import gateway.deciding"),
]


def lint(where: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    chosen = [word for contract in contracts for word in ("--contract", contract)]
    command = "import sys; from importlinter.cli import lint_imports_command; " + (
        "lint_imports_command(sys.argv[1:])"
    )
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo", *chosen],
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def plant(copy: Path, file: str, line: str) -> None:
    """Adds ``line`` below the module's docstring and future imports."""
    path = copy / file
    text = path.read_text(encoding="utf-8")
    head = [
        node
        for node in ast.parse(text).body
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    ]
    lines = text.splitlines()
    lines.insert(head[-1].end_lineno or 0 if head else 0, line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_imports_run_one_way_and_libraries_stay_in_their_rooms() -> None:
    linted = lint(ROOT)

    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert f"Contracts: {len(VIOLATIONS)} kept, 0 broken." in linted.stdout


def test_every_contract_finds_an_import_that_breaks_it(copy: Path) -> None:
    for file, line in VIOLATIONS.values():
        plant(copy, file, line)

    linted = lint(copy)

    assert linted.returncode == 1
    assert f"Contracts: 0 kept, {len(VIOLATIONS)} broken." in linted.stdout, linted.stdout


@pytest.mark.parametrize(("file", "line"), SIBLINGS)
def test_parts_on_one_level_and_below_never_look_up(copy: Path, file: str, line: str) -> None:
    plant(copy, file, line)

    assert lint(copy, "layers").returncode == 1


def test_a_new_package_without_a_layer_is_found(copy: Path) -> None:
    (copy / "gateway" / "telepathy.py").write_text('"""New."""\n', encoding="utf-8")

    linted = lint(copy, "layers")

    assert linted.returncode == 1
    assert "telepathy" in linted.stdout
