"""Statements labelled by running them, where the collection is at hand: nothing that has an effect
is ever judged a read, and ordinary reads are hardly ever refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.mysql.judge import read
from tests.fixtures.mariadb_case import Case

ROOT = Path(__file__).resolve().parents[4]
FOLDER = Path(os.environ.get("HOLDFAST_CORPUS", ROOT.parent / "shared" / "corpus"))
FILES = ("adversarial_mysql", "external_guard_tests", "text2sql_reads")
DIALECTS = ("mysql", "mariadb")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpus is not at hand")


def records(name: str) -> list[dict[str, Any]]:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [r for r in found if r["dialect"] in DIALECTS and "safe_read" in r]


def is_read(record: dict[str, Any]) -> bool:
    found = read(record["sql"], (), 1 << 20)
    return not isinstance(found, Deny) and found.reads


# Their effects lie behind names, which only a server can resolve: see the test below.
BEHIND_NAMES = {"SELECT * FROM v_bomb"}


def test_nothing_that_has_an_effect_is_judged_a_read() -> None:
    scored = [r for name in FILES for r in records(name) if r["safe_read"] is False]
    assert len(scored) > 100
    assert {r["sql"] for r in scored if is_read(r)} <= BEHIND_NAMES


def test_ordinary_reads_are_hardly_ever_refused() -> None:
    scored = [r for r in records("text2sql_reads") if r["safe_read"] is True]
    refused = [r["sql"] for r in scored if not is_read(r)]
    assert len(refused) <= 0.03 * len(scored), refused


async def test_a_view_over_a_writing_function_is_refused(case: Case) -> None:
    case.run("SET GLOBAL log_bin_trust_function_creators = 1")
    case.setup(
        "CREATE TABLE audit_log (id INT)",
        "CREATE FUNCTION bump() RETURNS INT BEGIN INSERT INTO audit_log VALUES (1); RETURN 1; END",
        "CREATE VIEW v_bomb AS SELECT bump() AS b",
        "CREATE VIEW v_outer AS SELECT * FROM v_bomb",
    )
    for view in ("v_bomb", "v_outer"):
        found = await case.source.parse(case.request(f"SELECT * FROM {view}"))
        assert isinstance(found, Deny)
        assert found.reason == "action.unsupported"
    action = await case.parse("SELECT * FROM audit_log")
    assert action.cls is ActionClass.READ
