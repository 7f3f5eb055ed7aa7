"""Blocks of MCP servers as other tools write them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.app.offline import credential_findings
from gateway.config import Config, load, parse
from gateway.config.servers import McpServerSettings
from gateway.errors import ConfigInvalid

IDENTITY = 'identity: {admin_token: "${ADMIN}"}\n'
ENVIRON = {
    "ADMIN": "a-token-for-the-admin",
    "TOKEN": "t0ken-of-somebody",
    "api_key": "of-an-input",
    "HOME": "/srv/ann",
}
CANARY = "c4nary-Zq8vX2pL"


def written(block: dict[str, Any]) -> str:
    return IDENTITY + "\n".join(f"{key}: {json.dumps(value)}" for key, value in block.items())


def server(entry: dict[str, Any], key: str = "mcpServers") -> McpServerSettings:
    return parse(written({key: {"it": entry}}), ENVIRON).mcp_servers["it"]


def faults(text: str, environ: dict[str, str] = ENVIRON) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        parse(text, environ)
    return [fault["message"] for fault in refused.value.extra["faults"]]


def opened(secrets: dict[str, Any]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in secrets.items()}


def test_a_block_of_claude_code() -> None:
    found = server(
        {
            "type": "http",
            "url": "${API_BASE:-https://mcp.example.com}/mcp",
            "headers": {"Authorization": "Bearer ${TOKEN}"},
            "timeout": 60_000,
        }
    )
    assert found.url == "https://mcp.example.com/mcp"
    assert opened(found.headers) == {"Authorization": "Bearer t0ken-of-somebody"}
    assert server({"type": "stdio", "command": "npx", "args": ["-y", "x"], "env": {}}).line == (
        "npx", "-y", "x",
    )  # fmt: skip


def test_a_block_of_cursor(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# of the server\nexport A=1\nB = 'two words'\n\nC=\"x\\ny\" \nD=plain # why\nTOKEN=file\n"
    )
    entry = {
        "command": "${workspaceFolder}/bin/${workspaceFolderBasename}${/}run",
        "args": ["--at", "${userHome}/x", "$5"],
        "env": {"TOKEN": "${env:TOKEN}"},
        "envFile": "${workspaceFolder}/.env",
        "autoApprove": ["read"],
        "disabled": False,
    }
    file = tmp_path / "holdfast.yaml"
    file.write_text(written({"mcpServers": {"it": entry}}))
    found = load(file, ENVIRON).mcp_servers["it"]
    assert found.line == (f"{tmp_path}/bin/{tmp_path.name}/run", "--at", "/srv/ann/x", "$5")
    assert opened(found.env) == {
        "A": "1",
        "B": "two words",
        "C": "x\ny",
        "D": "plain",
        "TOKEN": "t0ken-of-somebody",
    }


def test_a_file_of_vs_code() -> None:
    text = written(
        {
            "inputs": [{"type": "promptString", "id": "api-key", "password": True}],
            "servers": {
                "it": {
                    "type": "stdio",
                    "command": "node",
                    "env": {"KEY": "${input:api-key}"},
                    "dev": {"watch": "src/**/*.ts"},
                }
            },
        }
    )
    assert opened(parse(text, ENVIRON).mcp_servers["it"].env) == {"KEY": "of-an-input"}
    [fault] = faults(text, {"ADMIN": ENVIRON["ADMIN"]})
    assert fault.startswith("servers.it.env.KEY: the environment variable api_key is not set")
    assert "input api-key" in fault


def test_a_block_in_the_words_of_codex() -> None:
    found = server(
        {
            "url": "https://x.example/mcp",
            "bearer_token_env_var": "TOKEN",
            "http_headers": {"X-Region": "eu"},
            "env_http_headers": {"X-Key": "api_key"},
            "startup_timeout_sec": 20,
            "tool_timeout_sec": 45,
            "enabled": False,
        },
        key="mcp_servers",
    )
    assert opened(found.headers) == {
        "X-Region": "eu",
        "X-Key": "of-an-input",
        "Authorization": "Bearer t0ken-of-somebody",
    }
    assert (found.timeout_s, found.disabled) == (45, True)
    local = server({"command": "x", "env_vars": ["TOKEN"], "env": {"A": "b"}}, key="mcp_servers")
    assert opened(local.env) == {"TOKEN": "t0ken-of-somebody", "A": "b"}


@pytest.mark.parametrize("key", ["httpUrl", "serverUrl"])
def test_an_address_under_another_name(key: str) -> None:
    assert server({key: "https://x.example/mcp"}).url == "https://x.example/mcp"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "sse", "url": "https://x.example/sse"}, "mcpServers.it.type: the transport of"),
        ({"transport": "sse", "url": "https://x.example/sse"}, "it.type: the transport of"),
        ({"command": "x", "oauth": {"clientId": "a"}}, "it.oauth: signing in at a server"),
        ({"command": "x", "disabledTools": ["a"]}, "it.disabledTools: which of a server's tools"),
        ({"command": "x", "envFile": "no/such.env"}, "it.envFile: no/such.env cannot be read"),
        ({"command": "x", "env": {"A": "${command:pick}"}}, "'${' must be followed by"),
        ({"command": "x", "env": {"A": "${env:NOT_SET}"}}, "it.env.A: the environment variable"),
        ({"url": "https://x.example", "httpUrl": "https://y.example"}, "it.httpUrl: there is url"),
        ({"command": "x", "sandboxx": True}, "it.sandboxx: unknown key"),
        ({"url": "https://x.example", "bearer_token_env_var": "NO"}, "it.bearer_token_env_var: "),
        ({"command": "x", "env_vars": ["NO"]}, "it.env_vars: the environment variable NO"),
    ],
)
def test_what_cannot_be_taken_over_names_its_key(entry: dict[str, Any], said: str) -> None:
    found = faults(written({"mcpServers": {"it": entry}}))
    assert any(said.replace("mcpServers", "mcp_servers") in fault for fault in found), found


def test_pasted_toml_is_named_as_such() -> None:
    [fault] = faults(IDENTITY + '[mcp_servers.git]\ncommand = "x"\n')
    assert "holdfast connect codex" in fault


def test_variables_of_other_tools_are_for_servers_only() -> None:
    assert any(
        "'${' must be followed by" in fault
        for fault in faults("identity: {admin_token: '${env:ADMIN}'}\n")
    )


def test_a_value_is_not_read_for_variables_again() -> None:
    environ = {**ENVIRON, "A": "${TOKEN} ${env:TOKEN} $$"}
    text = written({"mcpServers": {"it": {"command": "x", "env": {"A": "${env:A}", "B": "${A}"}}}})
    found = opened(parse(text, environ).mcp_servers["it"].env)
    assert found == {"A": "${TOKEN} ${env:TOKEN} $$", "B": "${TOKEN} ${env:TOKEN} $$"}


LITERAL: list[tuple[dict[str, Any], str]] = [
    ({"command": "x", "env": {"GITHUB_TOKEN": CANARY}}, "env.GITHUB_TOKEN"),
    ({"command": "x", "env": {"PLACE": f"Bearer {CANARY}"}}, "env.PLACE"),
    ({"command": "x", "env": {"DB": f"postgres://ann:{CANARY}@db/x"}}, "env.DB"),
    ({"command": "x", "env": {"KEY": f"${{KEY:-{CANARY}}}"}}, "env.KEY"),
    ({"url": "https://x.example", "headers": {"X-Api-Key": CANARY}}, "headers.X-Api-Key"),
    ({"url": "https://x.example", "http_headers": {"X-Api-Key": CANARY}}, "headers.X-Api-Key"),
    ({"command": "x", "args": [f"--api-key={CANARY}"]}, "args.0"),
    ({"command": "x", "args": ["--token", CANARY]}, "args.1"),
    ({"url": f"https://x.example/mcp?api_key={CANARY}"}, "url"),
]


@pytest.mark.parametrize(("entry", "key"), LITERAL)
def test_a_credential_in_the_file_is_named_and_never_shown(
    entry: dict[str, Any], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = written({"mcpServers": {"it": entry}})
    config = parse(text, ENVIRON)
    [finding] = credential_findings(config)
    assert (finding.level, finding.about) == ("warning", f"mcp_servers.it.{key}")
    assert "line 2" in finding.message
    wrong = faults(text + "\nmcp_servers: {it: {command: y}, other: {command: y, nope: 1}}")
    told = [repr(finding), *wrong, caplog.text]
    if key.startswith(("env", "headers")):
        told += [repr(config), config.model_dump_json()]
    assert not any(CANARY in said for said in told)


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "x", "env": {"GITHUB_TOKEN": "${GITHUB_TOKEN_HERE}", "DEBUG": "1"}},
        {"url": "https://x.example", "headers": {"Authorization": "Bearer ${env:TOKEN}"}},
        {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/data"]},
        {"command": "x", "args": ["--token", "${TOKEN}"], "env": {"TOKEN": ""}},
    ],
)
def test_what_comes_from_the_environment_is_no_matter(entry: dict[str, Any]) -> None:
    environ = {**ENVIRON, "GITHUB_TOKEN_HERE": CANARY}
    config: Config = parse(written({"mcpServers": {"it": entry}}), environ)
    assert credential_findings(config) == []
