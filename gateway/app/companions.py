"""Companions of known MCP servers: the reads and ways back that those have no tools for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as Folder

from gateway.config import McpCallSettings, McpServerSettings, McpToolSettings
from gateway.config.document import Path
from gateway.upstreams.mcp.repositories import TOOLS, Repositories

_OPTIONS = ("-r", "--repository")


def companion(settings: McpServerSettings, environment: Mapping[str, str]) -> Repositories | None:
    """The companion that the server's pack has, if any."""
    if settings.pack != "git":
        return None
    named = _named(settings.line)
    inside = None if named is None else Folder(settings.cwd or ".", named)
    return Repositories(environment, inside)


def _named(line: tuple[str, ...]) -> str | None:
    """The repository that mcp-server-git was given; the last one counts, as it does there."""
    found = None
    for option, value in zip(line, (*line[1:], ""), strict=True):
        if option in _OPTIONS:
            found = value
        elif option.startswith("--repository="):
            found = option.partition("=")[2]
    return found


def companion_faults(
    tools: Mapping[str, McpToolSettings], settings: McpServerSettings, path: Path
) -> Iterator[tuple[Path, str]]:
    """What is wrong with the calls of ``tools`` that name a companion."""
    for name, tool in tools.items():
        for call in _calls(tool):
            if not call.companion:
                continue
            if settings.pack != "git" or settings.command is None:
                yield (*path, name), "only a server with a command and the pack git has a companion"
            elif call.tool not in TOOLS:
                yield (*path, name), f"the companion has no tool {call.tool!r}"
            elif call.arguments.keys() != TOOLS[call.tool]:
                wanted = ", ".join(sorted(TOOLS[call.tool]))
                yield (*path, name), f"{call.tool} of the companion takes {wanted}"


def _calls(tool: McpToolSettings) -> Iterator[McpCallSettings]:
    single = (tool.before, tool.undo, tool.undo_absent, tool.redo, tool.verify, tool.probe)
    for call in (*tool.before_needs, *tool.undo_then, *single):
        if call is not None:
            yield call
