"""The types carry the duty: without a permit there is nothing to commit with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

HEAD = """
from __future__ import annotations
from datetime import timedelta
from gateway.interfaces import Attempt, CallStore, Unwinding
from gateway.model import Intent, Permit, Running
"""

REFUSED = {
    "commit_without_a_permit": "async def f(a: Attempt) -> None:\n    await a.commit()\n",
    "commit_with_none": "async def f(a: Attempt) -> None:\n    await a.commit(None)\n",
    "commit_with_a_running_call": (
        "async def f(a: Attempt, r: Running) -> None:\n    await a.commit(r)\n"
    ),
    "commit_with_what_permit_answers": (
        "async def f(a: Attempt, s: CallStore, p: 'Permit | Deny') -> None:\n"
        "    await a.commit(p)\n"
        "from gateway.model import Deny\n"
    ),
    "revert_without_a_permit": "async def f(u: Unwinding) -> None:\n    await u.commit()\n",
    "begin_without_an_intent": (
        "async def f(s: CallStore) -> None:\n"
        "    await s.begin(None, windows=(), revision='1', lease=timedelta(seconds=1))\n"
    ),
    "settle_before_begin": (
        "from gateway.model import Outcome\n"
        "async def f(s: CallStore, i: Intent, o: Outcome) -> None:\n    await s.settle(i, o)\n"
    ),
}
ACCEPTED = "async def f(a: Attempt, p: Permit) -> None:\n    await a.commit(p)\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("snippets")
    for name, body in {**REFUSED, "commit_with_a_permit": ACCEPTED}.items():
        (folder / f"{name}.py").write_text(HEAD + body, encoding="utf-8")
    return _mypy(folder)


def _mypy(folder: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml"]
    options = ["--cache-dir", ".mypy_cache/house", "--no-error-summary"]
    checked = subprocess.run(
        [*command, *options, *sorted(str(f) for f in folder.glob("*.py"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1, checked.stdout + checked.stderr
    return checked.stdout


@pytest.mark.parametrize("name", REFUSED)
def test_the_type_checker_refuses(name: str, report: str) -> None:
    errors = [line for line in report.splitlines() if f"{name}.py" in line]

    assert any("[call-arg]" in e or "[arg-type]" in e for e in errors), report


def test_the_type_checker_accepts_a_commit_with_a_permit(report: str) -> None:
    assert "commit_with_a_permit.py" not in report
