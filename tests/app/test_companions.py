from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.app.companions import companion, companion_faults
from gateway.config import McpServerSettings

GIT = {"command": ["mcp-server-git"], "pack": "git"}


def faults(call: dict[str, Any], **server: Any) -> list[str]:
    document = {**(server or GIT), "tools": {"it": {"class": "write", "verify": call}}}
    settings = McpServerSettings.model_validate_json(json.dumps(document))
    return [text for _, text in companion_faults(settings.tools, settings, ("tools",))]


def test_calls_of_a_companion_are_held_to_its_tools() -> None:
    state = {"tool": "state", "arguments": {"repo_path": "/"}, "companion": True}
    assert faults(state) == []
    assert faults({**state, "companion": False}, command="other") == []
    assert "no tool 'other'" in faults({**state, "tool": "other"})[0]
    assert faults({**state, "arguments": {}}) == ["state of the companion takes repo_path"]
    without: list[dict[str, Any]] = [
        {"command": "other"},
        {"command": "other", "pack": "memory"},
        {"url": "http://127.0.0.1:9/mcp", "pack": "git"},
    ]
    for server in without:
        assert "has a companion" in faults(state, **server)[0]


@pytest.mark.parametrize(
    "options",
    [("--repository", "a"), ("-r", "a"), ("--repository=a",), ("-r", "b", "--repository", "a")],
)
async def test_the_companion_keeps_to_the_repository_of_the_server(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    settings = McpServerSettings(
        command=("mcp-server-git", *options), cwd=str(tmp_path), pack="git"
    )
    found = companion(settings, {})
    assert found is not None
    said = await found.ask("state", {"repo_path": str(tmp_path / "b")})
    assert "outside" in str(said.view["text"])
    said = await found.ask("state", {"repo_path": str(tmp_path / "a")})
    assert "outside" not in str(said.view["text"])


def test_other_servers_have_none() -> None:
    assert companion(McpServerSettings(command="it"), {}) is None
