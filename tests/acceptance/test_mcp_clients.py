"""Clients and servers that people use, through the gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.fixtures.mcp.house import TOKENS, House, current, house, messages, request
from tests.fixtures.mcp.npm import node_module, node_program
from tests.fixtures.mcp.programs import client_python

SCRIPT = Path(__file__).parents[1] / "fixtures" / "mcp" / "clients.py"
TOKEN = TOKENS["a7"]
NAMES = ["delete_note", "list_notes", "read_note", "search_notes", "write_note"]
OWN_WORD: dict[str, Any] = {"*": {"class": "read"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("clients")
    command = [sys.executable, "-m", "gateway.demo.notes", f"{folder}/notes.db"]
    notes = {"command": command, "tools": {name: {"class": "read"} for name in NAMES[1:4]}}
    async with house(folder, {"notes": notes}) as found:
        yield found


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ran(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()[-3000:] + out.decode()[-1000:]
    return out.decode()


@pytest.mark.parametrize("client", ["official", "langchain", "openai-agents"])
async def test_a_client_of_the_previous_revision_reads_and_is_refused(
    home: House, client: str
) -> None:
    url = f"{home.url}/mcp/notes"
    out = await ran(client_python(), str(SCRIPT), client, url, TOKEN)
    seen = json.loads(out.splitlines()[-1])
    assert seen["tools"] == NAMES
    assert "Agents may change these notes." in seen["read"]
    assert "policy.denied" in seen["refused"]
    assert "Effect: none" in seen["refused"]
    assert seen["failed"] is True


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_speaks_both_revisions(home: House, mode: Any) -> None:
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"})
    transport = streamable_http_client(f"{home.url}/mcp/notes", http_client=http)
    async with http, Client(transport, mode=mode) as client:
        tools = await client.list_tools()
        assert sorted(tool.name for tool in tools.tools) == NAMES
        read = await client.call_tool("read_note", {"id": "welcome"})
        assert "Agents may change" in read.content[0].text  # type: ignore[union-attr]
        refused = await client.call_tool("delete_note", {"id": "deny"})
        assert refused.is_error
        assert "policy.denied" in refused.content[0].text  # type: ignore[union-attr]


async def test_the_inspector_lists_and_calls(home: House) -> None:
    inspector = node_module("@modelcontextprotocol/inspector/clients/launcher/build/index.js")
    base = [node_program(), str(inspector), "--cli", f"{home.url}/mcp/notes"]
    base += ["--transport", "http", "--header", f"Authorization: Bearer {TOKEN}"]
    call = ["--method", "tools/call", "--tool-name", "read_note", "--tool-arg", "id=welcome"]
    listed = json.loads(await ran(*base, "--method", "tools/list"))
    read = json.loads(await ran(*base, *call))
    assert sorted(tool["name"] for tool in listed["tools"]) == NAMES
    assert "Agents may change" in read["content"][0]["text"]


async def test_curl_is_enough(home: House) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    body = request(
        "tools/call",
        {
            "name": "notes.read_note",
            "arguments": {"id": "welcome"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    )
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "notes.read_note",
    }
    sent = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    out = await ran(curl, "-sS", *sent, "-d", json.dumps(body), f"{home.url}/mcp")
    assert "Agents may change" in json.loads(out)["result"]["content"][0]["text"]


SERVERS = {
    "everything": ("@modelcontextprotocol/server-everything/dist/index.js", ["stdio"]),
    "filesystem": ("@modelcontextprotocol/server-filesystem/dist/index.js", ["{folder}"]),
    "memory": ("@modelcontextprotocol/server-memory/dist/index.js", []),
}
CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "everything": ("echo", {"message": "hello"}, "hello"),
    "filesystem": ("read_text_file", {"path": "{folder}/a.txt"}, "a text"),
    "memory": ("read_graph", {}, "entities"),
}


@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_of_npm_is_listed_and_called(name: str, tmp_path: Path) -> None:
    script, arguments = SERVERS[name]
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("a text")
    filled = [argument.format(folder=folder) for argument in arguments]
    command = [node_program(), str(node_module(script)), *filled]
    memory = {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}
    server = {"command": command, "env": memory, "tools": OWN_WORD}
    tool, values, expected = CALLS[name]
    values = {k: v.format(folder=folder) for k, v in values.items()}
    listed, said = await _listed_and_called(tmp_path, server, tool, values)
    assert tool in listed
    assert not said.get("isError"), said
    assert expected in json.dumps(said)


async def test_the_git_server_is_listed_and_called(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    await ran("git", "init", "-q", str(repository))
    command = [client_python(), "-m", "mcp_server_git"]
    server = {"command": command, "tools": OWN_WORD}
    values = {"repo_path": str(repository)}
    listed, said = await _listed_and_called(tmp_path, server, "git_status", values)
    assert "git_status" in listed
    assert not said.get("isError"), said
    assert "status" in json.dumps(said)


async def _listed_and_called(
    home: Path, server: dict[str, Any], tool: str, arguments: dict[str, Any]
) -> tuple[set[str], dict[str, Any]]:
    """The names of the server's tools, and what the call of one of them answers."""
    async with house(home, {"it": server}) as found, found.client() as client:
        # The first answer waits until the program has started, so it may come as a stream.
        listed = messages(await current(client, "/mcp/it", "tools/list"))[-1]["result"]["tools"]
        params = {"name": tool, "arguments": arguments}
        said = messages(await current(client, "/mcp/it", "tools/call", params))[-1]["result"]
        return {t["name"] for t in listed}, said
