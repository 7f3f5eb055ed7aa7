from __future__ import annotations

from tests.fixtures.terminal import Terminal

TOOL = {
    "tool": "act",
    "state": "changed",
    "digest": "d" * 64,
    "document": {"description": "Reads.\\u{202e}"},
    "warnings": ["description has hidden characters: U+202E"],
}
PATH = "/admin/mcp/unruly/tools"


def test_tools_are_listed_with_their_warnings() -> None:
    shell = Terminal().on("GET", PATH, 200, {"tools": [TOOL]})
    assert shell.run("mcp", "tools", "unruly") == 0
    for part in ("act", "changed", "hidden"):
        assert part in shell.out


def test_a_tool_is_approved_as_it_was_seen() -> None:
    shell = Terminal().on("GET", PATH, 200, {"tools": [TOOL]}).on("POST", PATH, 200, TOOL)
    assert shell.run("mcp", "approve", "unruly", "act") == 0
    assert shell.sent == {"tool": "act", "digest": "d" * 64}
    assert "Approved: act" in shell.out


def test_a_tool_that_is_not_there_is_not_approved() -> None:
    shell = Terminal().on("GET", PATH, 200, {"tools": []})
    assert shell.run("mcp", "approve", "unruly", "act") == 1
