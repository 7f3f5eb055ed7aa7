from __future__ import annotations

import json
import tomllib

import pytest
import yaml

from gateway.cli.clients import CLIENTS, Unreadable, connected, gateway_block, with_servers

URL = "http://gate:8400/mcp"
FILES = {
    "mcpServers": {
        "files": {"command": "npx", "args": ["-y", "server-filesystem", "/data"]},
        "mail": {
            "command": "mail-mcp",
            "env": {"MAIL_TOKEN": "s3cret", "MAIL_USER": "${MAIL_USER}"},
        },
        "docs": {"type": "http", "url": "https://docs.example/mcp", "headers": {"X-Key": "k3y"}},
    },
    "theme": "dark",
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_new_file_has_the_gateway_and_no_secret(name: str) -> None:
    client = CLIENTS[name]
    text = connected(client, URL, None, move=True).text
    written = tomllib.loads(text) if client.toml else json.loads(text)
    assert written[client.servers]["holdfast"]["url"] == URL
    assert "Bearer hf" not in text


@pytest.mark.parametrize("name", CLIENTS)
def test_connecting_twice_changes_nothing_more(name: str) -> None:
    once = connected(CLIENTS[name], URL, None, move=True)
    again = connected(CLIENTS[name], URL, once.text, move=True)
    assert again.text == once.text
    assert not again.moved


def test_servers_move_behind_the_gateway_and_their_secrets_become_variables() -> None:
    result = connected(CLIENTS["claude-code"], URL, json.dumps(FILES), move=True)
    written = json.loads(result.text)
    assert list(written["mcpServers"]) == ["holdfast"]
    assert written["theme"] == "dark"
    assert result.moved == {
        "files": {"command": "npx", "args": ["-y", "server-filesystem", "/data"]},
        "mail": {
            "command": "mail-mcp",
            "env": {"MAIL_TOKEN": "${MAIL_TOKEN}", "MAIL_USER": "${MAIL_USER}"},
        },
        "docs": {"url": "https://docs.example/mcp", "headers": {"X-Key": "${DOCS_X_KEY}"}},
    }
    assert result.variables == ("DOCS_X_KEY", "MAIL_TOKEN", "MAIL_USER")
    for text in (result.text, gateway_block(result.moved)):
        assert "s3cret" not in text
        assert "k3y" not in text


def test_servers_stay_where_asked() -> None:
    result = connected(CLIENTS["cursor"], URL, json.dumps(FILES), move=False)
    assert set(json.loads(result.text)["mcpServers"]) == {"files", "mail", "docs", "holdfast"}
    assert not result.moved


def test_toml_keeps_its_comments_and_names_its_tokens() -> None:
    before = (
        "# mine\nmodel = 'x'\n\n[mcp_servers.docs]\nurl = 'https://docs.example/mcp'\n"
        "bearer_token_env_var = 'DOCS_TOKEN'\nhttp_headers = { X-Team = 'core' }\n"
    )
    result = connected(CLIENTS["codex"], URL, before, move=True)
    assert result.text.startswith("# mine\nmodel = 'x'")
    assert list(tomllib.loads(result.text)["mcp_servers"]) == ["holdfast"]
    headers = {"X-Team": "${DOCS_X_TEAM}", "Authorization": "Bearer ${DOCS_TOKEN}"}
    assert result.moved == {"docs": {"url": "https://docs.example/mcp", "headers": headers}}
    assert result.variables == ("DOCS_TOKEN", "DOCS_X_TEAM")


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("vscode", '{"servers": {} // mine\n}'),
        ("json", "[]"),
        ("json", '{"mcpServers": []}'),
        ("json", '{"mcpServers": {"x": {"args": []}}}'),
        ("json", '{"mcpServers": {"a b": {"command": "x"}}}'),
        ("json", '{"mcpServers": {"x": "y"}}'),
        ("vscode", '{"inputs": {}}'),
        ("codex", "mcp_servers = ["),
    ],
)
def test_a_file_that_cannot_be_kept_whole_is_left_alone(name: str, before: str) -> None:
    with pytest.raises(Unreadable):
        connected(CLIENTS[name], URL, before, move=True)


@pytest.mark.parametrize(
    "before",
    [
        "a: 1\n",
        "a: 1",
        "mcp_servers: {}\nb: 2\n",
        "# c\nmcp_servers: # here\n  old: {command: [x]}\nb: 2\n",
    ],
)
def test_the_gateways_file_gains_the_servers_and_loses_nothing(before: str) -> None:
    moved = {"files": {"command": "npx", "args": ["x: y", "#z"]}}
    after = yaml.safe_load(with_servers(before, moved))
    was = yaml.safe_load(before)
    servers = {**moved, **(was.get("mcp_servers") or {})}
    assert after == {**was, "mcp_servers": servers}
    kept = [line for line in before.splitlines() if not line.startswith("mcp_servers")]
    assert all(line in with_servers(before, moved) for line in kept)
