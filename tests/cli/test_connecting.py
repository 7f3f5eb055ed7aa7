from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.terminal import Terminal


def test_the_configuration_to_paste_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"git": {"command": "git-mcp"}}}')
    shell = Terminal()
    assert shell.run("connect", "claude-code", "--file", str(file)) == 0
    assert '"url": "http://gate:8400/mcp"' in shell.out
    assert "command: git-mcp" in shell.out
    assert file.read_text() == '{"mcpServers": {"git": {"command": "git-mcp"}}}'


def test_one_server_of_the_gateway_can_be_named(tmp_path: Path) -> None:
    shell = Terminal()
    file = tmp_path / "none.json"
    assert shell.run("connect", "json", "--server", "notes", "--file", str(file), "--json") == 0
    document = json.loads(shell.out)
    assert '"http://gate:8400/mcp/notes"' in document["text"]
    assert document["written"] == []
    assert not file.exists()


def test_writing_keeps_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / ".cursor" / "mcp.json"
    shell = Terminal()
    assert shell.run("connect", "cursor", "--file", str(file), "--write") == 0
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    assert shell.run("connect", "cursor", "--server", "x", "--file", str(file), "--write") == 0
    (backup,) = file.parent.glob("mcp.json.before-holdfast-*")
    assert backup.read_text() == first
    assert file.stat().st_mode & 0o777 == 0o640
    assert "http://gate:8400/mcp/x" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("emacs",), 2, "is not a client"),
        (("vscode", "--file", "{file}"), 1, "is left alone"),
    ],
)
def test_what_cannot_be_connected_is_said(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("{} // mine")
    shell = Terminal()
    given = [a.replace("{file}", str(file)) for a in arguments]
    assert shell.run("connect", *given) == code
    assert said in shell.err
    assert file.read_text() == "{} // mine"
