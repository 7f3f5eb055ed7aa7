"""Cases of decisions, read from ``tests/fixtures/decisions``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "fixtures" / "decisions"
CASES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "shipped.yaml").read_text())


def document(**case: Any) -> dict[str, Any]:
    """The policy input of a case; without arguments a developer's write that does nothing."""
    source, measured = case.get("source", "shop"), case.get("measured")
    approval = case.get("approval")
    return {
        "version": case.get("version", 1),
        "subject": {
            "id": "demo",
            "roles": case.get("roles", ["developer"]),
            "session": "s1",
            "delegation": [],
        },
        "action": {
            "surface": "sql",
            "tool": source,
            "name": "example",
            "class": case.get("class", "write"),
            "reversibility": "exact",
            "idempotent": False,
            "digest": "0" * 64,
            "effects": [_effect(text) for text in case.get("does", [])],
            "sql": {
                "dialect": "sqlite",
                "text": "...",
                "statements": [_statement(text) for text in case.get("statements", [])],
                "params": [],
            },
            "http": None,
            "mcp": None,
        },
        "resource": {
            "type": "sqlite",
            "id": source,
            "environment": case.get("environment", "production"),
            "labels": {},
        },
        "context": {
            "time": "2026-11-24T10:00:00Z",
            "freezes": [],
            "measured": measured and {"rows": measured[0], "share": measured[1], "tables": {}},
            "counters": {},
            "reason": None,
            "approval": approval and {"id": "a1", "state": approval, "approvers": ["maintainer"]},
        },
    }


def _effect(text: str) -> dict[str, Any]:
    verb, name, *rest = text.split(" ")
    return {
        "verb": verb,
        "kind": "table",
        "name": name.strip('"') if name == '"*"' else name,
        "columns": ["*"],
        "bounded": rest != ["unbounded"],
    }


def _statement(text: str) -> dict[str, Any]:
    verb, *tables = text.split(" ")
    return {"verb": verb, "tables": tables, "functions": [], "bounded": True}
