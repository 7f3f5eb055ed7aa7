from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.demo import incident
from tests.fixtures.terminal import Terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_incident_is_stopped_where_it_can_be_and_taken_back_exactly() -> None:
    shell = Terminal(environ={})
    assert shell.run("demo", "--json") == 0, shell.out
    report = json.loads(shell.out)
    assert report["good"] is True
    met = {(s["title"], s["tried"]): s["met"] for s in report["steps"]}
    assert met["under freeze", "delete most customers"] == "423 frozen"
    assert met["no freeze", "delete most customers"].startswith("403 limit.rows (")
    assert met["fabrication", "make up 4,000 customers at once"] == "403 limit.rows (4,000 rows)"
    assert met["fabrication", "the same, 50 at a time"] == "80 x 200 went through"
    assert met["revert", "revert it"].startswith("reverted: 89 calls")
    tables = {t["name"]: t for t in report["tables"]}
    assert tables["customers"]["before"] == tables["customers"]["after"] == 1206
    assert tables["customers"]["disturbed"] > 4000
    assert all(t["equal"] for t in report["tables"])


def test_data_that_differ_fail_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_at_all(_: object) -> None:
        return None

    monkeypatch.setattr(incident, "FABRICATED", 50)
    monkeypatch.setattr(incident._Incident, "taken_back", not_at_all)
    shell = Terminal(environ={})
    assert shell.run("demo") == 1
    assert "The data differ" in shell.out


def test_a_step_that_meets_something_else_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incident, "FABRICATED", 50)
    monkeypatch.setattr(incident, "EVASIONS", (("a read", "SELECT id FROM customers LIMIT 1"),))
    shell = Terminal(environ={})
    assert shell.run("demo") == 1
    assert "met something unexpected" in shell.out


def test_nothing_is_left_behind_in_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(incident, "FABRICATED", 50)
    for name in ("policies", "config.example.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    assert Terminal(environ={}).run("demo") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.example.yaml", "policies"]


def test_no_comparison_is_not_an_equal_one() -> None:
    assert incident.Report().good is False
