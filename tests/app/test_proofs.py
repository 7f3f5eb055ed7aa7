from __future__ import annotations

import json
from pathlib import Path

from gateway.app.proofs import declaration_of, proof_findings
from gateway.config import Config, parse
from tests.house.sources import ROOT

ENVIRON = {"HOLDFAST_ADMIN_TOKEN": "a" * 40, "HOLDFAST_AGENT_TOKEN": "b" * 40}


def keeping(record: Path | None) -> Config:
    text = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    named = "null" if record is None else json.dumps(str(record))
    return parse(text.replace("rehearsed: null", f"rehearsed: {named}"), ENVIRON)


def unproven(config: Config) -> list[str]:
    return [finding.message for finding in proof_findings(config)]


def write(record: Path, config: Config, *, proven: bool = True) -> None:
    routes = [
        {"route": r.match, "proven": proven, "declaration": declaration_of(r)}
        for r in config.tools["crm"].routes
        if r.undo is not None
    ]
    record.write_text(json.dumps({"routes": routes}))


def test_a_tool_without_a_record_is_not_spoken_of() -> None:
    assert unproven(keeping(None)) == []


def test_a_whole_record_is_enough(tmp_path: Path) -> None:
    record = tmp_path / "crm.json"
    write(record, keeping(record))
    assert unproven(keeping(record)) == []


def test_routes_that_failed_or_changed_since_are_named(tmp_path: Path) -> None:
    record = tmp_path / "crm.json"
    config = keeping(record)
    write(record, config, proven=False)
    assert len(unproven(config)) == 4
    write(record, config)
    changed = json.loads(record.read_text())
    changed["routes"][0]["declaration"] = "0" * 64
    record.write_text(json.dumps(changed))
    (message,) = unproven(config)
    assert changed["routes"][0]["route"] in message


def test_a_record_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    record = tmp_path / "crm.json"
    assert len(unproven(keeping(record))) == 1
    record.write_text("[]")
    assert len(unproven(keeping(record))) == 1
