"""The configuration files of MCP clients: where each keeps its servers, and how it names the
gateway. Pure: texts in, texts out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tomlkit
import yaml
from tomlkit.exceptions import TOMLKitError

from gateway.model import Json

GATEWAY = "holdfast"
TOKEN_VARIABLE = "HOLDFAST_AGENT_TOKEN"  # noqa: S105 - the name of a variable
_VARIABLE = re.compile(r"\$\{(?:env:|input:)?([A-Za-z_][A-Za-z0-9_-]*)(?::-[^}]*)?\}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_WHERE = {"command", "url", "httpUrl", "serverUrl"}
_FIELDS = (
    "command", "args", "env", "envFile", "cwd", "url", "httpUrl", "serverUrl", "headers",
    "disabled",
)  # fmt: skip
_WORKSPACE = "${workspaceFolder}"


class Unreadable(ValueError):
    """The file is not what this client writes; it is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """``file``: where the client looks, relative to the project unless it begins with ``~``.
    ``servers``: the key under which servers stand. ``beside``: what the entry needs elsewhere in
    the file."""

    name: str
    file: str
    servers: str
    entry: Callable[[str], dict[str, Json]]
    beside: Mapping[str, Json] = field(default_factory=dict)
    toml: bool = False


def _http(url: str, token: str) -> dict[str, Json]:
    return {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {token}"}}


_VS_CODE_INPUT = "holdfast-token"
CLIENTS: Mapping[str, Client] = {
    client.name: client
    for client in (
        Client(
            name="claude-code",
            file=".mcp.json",
            servers="mcpServers",
            entry=lambda url: _http(url, f"${{{TOKEN_VARIABLE}}}"),
        ),
        Client(
            name="cursor",
            file=".cursor/mcp.json",
            servers="mcpServers",
            entry=lambda url: {
                "url": url,
                "headers": {"Authorization": f"Bearer ${{env:{TOKEN_VARIABLE}}}"},
            },
        ),
        Client(
            name="vscode",
            file=".vscode/mcp.json",
            servers="servers",
            entry=lambda url: _http(url, f"${{input:{_VS_CODE_INPUT}}}"),
            beside={
                "inputs": [
                    {
                        "type": "promptString",
                        "id": _VS_CODE_INPUT,
                        "description": "Holdfast agent token",
                        "password": True,
                    }
                ]
            },
        ),
        Client(
            name="codex",
            file="~/.codex/config.toml",
            servers="mcp_servers",
            entry=lambda url: {"url": url, "bearer_token_env_var": TOKEN_VARIABLE},
            toml=True,
        ),
        Client(
            name="json",
            file="mcp.json",
            servers="mcpServers",
            entry=lambda url: _http(url, f"${{{TOKEN_VARIABLE}}}"),
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """``text``: the client's file as it should be. ``moved``: the servers that stood there, for
    the gateway's configuration. ``variables``: what the gateway's environment has to hold."""

    text: str
    moved: Mapping[str, Mapping[str, Json]]
    variables: tuple[str, ...]


def connected(
    client: Client, url: str, before: str | None, *, move: bool, workspace: str | None = None
) -> Connected:
    """The file ``before`` (``None``: there is none) with the gateway in it and, with ``move``, its
    other servers taken out; ``workspace`` is the folder they take for theirs. Raises
    ``Unreadable``."""
    document = _read(client, before)
    servers = document.setdefault(client.servers, {})
    if not isinstance(servers, dict):
        raise Unreadable(f"{client.servers} is not an object.")
    others = [name for name in servers if name != GATEWAY] if move else []
    moved, variables = {}, set()
    for name in others:
        found, needs = _behind(name, servers.pop(name))
        moved[name] = found if workspace is None else _placed(found, workspace)
        variables |= needs
    servers[GATEWAY] = client.entry(url)
    for key, value in client.beside.items():
        _beside(document, key, value)
    text = tomlkit.dumps(document) if client.toml else json.dumps(document, indent=2) + "\n"
    return Connected(text=text, moved=moved, variables=tuple(sorted(variables)))


def _read(client: Client, before: str | None) -> Any:
    try:
        if client.toml:
            return tomlkit.parse(before or "")
        document = json.loads(before or "{}")
    except TOMLKitError as error:
        raise Unreadable(f"not TOML: {error}") from None
    except ValueError as error:
        # Comments are legal in some of these files, and would be lost.
        raise Unreadable(f"not plain JSON: {error}") from None
    if not isinstance(document, dict):
        raise Unreadable("not a JSON object.")
    return document


def _beside(document: dict[str, Any], key: str, wanted: Json) -> None:
    have = document.setdefault(key, [])
    if not isinstance(have, list):
        raise Unreadable(f"{key} is not a list.")
    known = {entry.get("id") for entry in have if isinstance(entry, dict)}
    have.extend(entry for entry in wanted if entry["id"] not in known)


def _behind(name: str, server: Any) -> tuple[dict[str, Json], set[str]]:
    """One server as the gateway's configuration has it. Every value of its environment and its
    headers becomes a variable: secrets do not stand in the gateway's file."""
    plain: Json = server.unwrap() if hasattr(server, "unwrap") else server
    if not isinstance(plain, dict) or not _WHERE & plain.keys():
        raise Unreadable(f"{name} has neither a command nor a url.")
    if _NAME.fullmatch(name) is None:
        raise Unreadable(f"{name!r} is not a name the gateway takes: letters, digits, _ . -")
    if str(plain.get("type", plain.get("transport", ""))).lower() == "sse":
        raise Unreadable(f"{name} is of type sse, which the gateway does not speak; use --keep.")
    kept = {key: plain[key] for key in _FIELDS if plain.get(key)}
    if plain.get("enabled") is False:
        kept["disabled"] = True
    variables: set[str] = set()
    passed = {str(named): f"${{{named}}}" for named in plain.get("env_vars", ())}
    if passed:
        kept["env"] = {**passed, **kept.get("env", {})}
    if "env" in kept:
        kept["env"] = {key: _variable(key, str(v), variables) for key, v in kept["env"].items()}
    if "http_headers" in plain or "headers" in kept:
        given = {**plain.get("http_headers", {}), **kept.get("headers", {})}
        kept["headers"] = {
            key: _variable(f"{name}_{key}".upper(), str(value), variables)
            for key, value in given.items()
        }
    for header, named in plain.get("env_http_headers", {}).items():
        variables.add(str(named))
        kept["headers"] = {**kept.get("headers", {}), header: f"${{{named}}}"}
    if plain.get("bearer_token_env_var"):
        named = str(plain["bearer_token_env_var"])
        variables.add(named)
        kept["headers"] = {**kept.get("headers", {}), "Authorization": f"Bearer ${{{named}}}"}
    return kept, variables


def _placed(value: Json, workspace: str) -> Json:
    """``value`` with the client's folder written out: the gateway's is another one."""
    if isinstance(value, str):
        return value.replace(_WORKSPACE, workspace)
    if isinstance(value, list):
        return [_placed(member, workspace) for member in value]
    if isinstance(value, dict):
        return {key: _placed(member, workspace) for key, member in value.items()}
    return value


def _variable(name: str, value: str, variables: set[str]) -> str:
    named = _VARIABLE.findall(value)
    if named:
        known = {found: re.sub(r"\W", "_", found) for found in named}
        variables.update(known.values())
        return _VARIABLE.sub(lambda found: f"${{{known[found[1]]}}}", value)
    variable = re.sub(r"\W", "_", name)
    variables.add(variable)
    return f"${{{variable}}}"


def gateway_block(moved: Mapping[str, Mapping[str, Json]]) -> str:
    """``mcp_servers`` as YAML for the gateway's configuration."""
    return yaml.safe_dump(
        {"mcp_servers": {name: dict(server) for name, server in moved.items()}},
        sort_keys=False,
        allow_unicode=True,
    )


def with_servers(config: str, moved: Mapping[str, Mapping[str, Json]]) -> str:
    """The gateway's configuration file with the servers added, all else byte for byte."""
    lines = gateway_block(moved).splitlines(keepends=True)
    found = re.search(r"^mcp_servers:[ \t]*(?:\{\}[ \t]*)?(?:#.*)?\n", config, re.MULTILINE)
    if found is None:
        gap = "" if config.endswith("\n") or not config else "\n"
        return config + gap + "\n" + "".join(lines)
    return config[: found.start()] + "mcp_servers:\n" + "".join(lines[1:]) + config[found.end() :]
