from __future__ import annotations

import json

from gateway.config import Config, parse

PASTED = {
    "mcpServers": {
        "filesystem": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-filesystem", "/data"],
            "env": {"DEBUG": "1"},
            "type": "stdio",
            "disabled": False,
            "autoApprove": ["read_file"],
            "alwaysAllow": [],
            "timeout": 60,
        },
        "remote": {
            "type": "http",
            "url": "https://mcp.example.com/mcp",
            "headers": {"Authorization": "Bearer ${TOKEN}"},
        },
        "off": {"command": "no-such", "disabled": True},
    }
}
ENVIRON = {"ADMIN": "a-token-for-the-admin", "TOKEN": "s3cret-of-the-remote"}
IDENTITY = 'identity: {admin_token: "${ADMIN}"}\n'


def test_a_block_of_another_tool_works_unchanged() -> None:
    text = IDENTITY + f"mcpServers: {json.dumps(PASTED['mcpServers'], indent=2)}\n"
    servers = parse(text, ENVIRON).mcp_servers
    assert servers["filesystem"].line == (
        "npx", "-y", "@modelcontextprotocol/server-filesystem", "/data",
    )  # fmt: skip
    assert servers["filesystem"].env["DEBUG"].get_secret_value() == "1"
    assert servers["remote"].headers["Authorization"].get_secret_value().endswith("remote")
    assert servers["off"].disabled


def test_secrets_of_servers_are_not_shown() -> None:
    text = IDENTITY + f"mcpServers: {json.dumps(PASTED['mcpServers'])}\n"
    config: Config = parse(text, ENVIRON)
    assert ENVIRON["TOKEN"] not in repr(config)
    assert ENVIRON["TOKEN"] not in config.model_dump_json()


def test_a_command_may_be_a_list() -> None:
    text = IDENTITY + "mcp_servers: {notes: {command: [python, -m, gateway.demo.notes]}}\n"
    assert parse(text, ENVIRON).mcp_servers["notes"].line == ("python", "-m", "gateway.demo.notes")
