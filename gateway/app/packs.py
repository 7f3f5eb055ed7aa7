"""Ready-made declarations of the tools of known MCP servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

from gateway.config import McpServerSettings, McpToolSettings
from gateway.config.document import read


@cache
def pack(name: str) -> Mapping[str, McpToolSettings]:
    """The declarations of the pack ``name``, in the words of ``mcp_servers.*.tools``."""
    file = resources.files("gateway.upstreams.mcp") / "packs" / f"{name}.yaml"
    document = read(file.read_text("utf-8"), {})
    if document.faults:
        raise ValueError(f"the pack {name} cannot be read: {document.faults}")
    # Through the settings of a server, so that a pack is held to the rules of the configuration.
    server = {"command": name, "tools": document.data}
    return McpServerSettings.model_validate_json(json.dumps(server)).tools
