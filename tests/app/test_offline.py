from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import check, explain
from gateway.config import Config, load
from tests.fixtures.serving import ROOT, environment


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(ROOT / "config.example.yaml", environment(tmp_path))


async def test_check_finds_nothing_wrong_with_the_example(config: Config) -> None:
    findings = await check(config)
    assert not [f for f in findings if f.level == "error"]
    assert any(f.about == "policy" for f in findings)


async def test_explain_tells_tables_and_decision_and_executes_nothing(
    config: Config, tmp_path: Path
) -> None:
    before = None
    for _ in range(2):
        found = await explain(config, "shop", "DELETE FROM customers WHERE id = 1")
        bytes_now = (tmp_path / "shop.db").read_bytes()
        assert before in (None, bytes_now)
        before = bytes_now
    assert found["decision"]["decision"] == "allow"
    assert {e["name"] for e in found["action"]["effects"]} >= {"main.customers", "main.orders"}
    refused = await explain(config, "shop", "DELETE FORM customers")
    assert refused["decision"]["reason"] == "sql.unparsable"
