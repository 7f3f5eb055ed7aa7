"""Blocks of MCP servers as other tools' files have them, taken over as they are.

Claude Code, Cursor, Windsurf and Gemini write ``mcpServers``, VS Code ``servers`` with ``inputs``,
Codex ``mcp_servers``. What means the same here is renamed, what only those tools need is left out,
and what cannot be kept is a fault that names its key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as File
from typing import Any

from gateway.config.document import Document, Fault, Path, dotted
from gateway.model import Json

OURS = "mcp_servers"
THEIRS = ("mcpServers", "servers")
# What other tools keep beside a server: who may use it without asking, how long they wait, and what
# people read. Here policy decides, so it says nothing to us and may stay.
FOREIGN = frozenset(
    {
        "alwaysAllow", "always_allow", "autoApprove", "auto_approve", "description", "dev",
        "gallery", "icon", "name", "note", "required", "startup_timeout_ms",
        "startup_timeout_sec", "timeout", "trust", "version",
    }
)  # fmt: skip
_RENAMED = {
    "httpUrl": "url",
    "serverUrl": "url",
    "transport": "type",
    "http_headers": "headers",
    "tool_timeout_sec": "timeout_s",
}
_TOO_OLD = "the transport of revisions before 2025-03-26 is not spoken; give the address of its "
_TOO_OLD += "streamable HTTP endpoint, with type http"
_ALLOWED = "which of a server's tools may be used is for policy to say; remove it and do not grant "
_ALLOWED += "the others"
_REFUSED = {
    "oauth": "signing in at a server is not done here; put a token into headers",
    "auth": "signing in at a server is not done here; put a token into headers",
    "authProviderType": "signing in at a server is not done here; put a token into headers",
    **dict.fromkeys(
        ("disabledTools", "disabled_tools", "excludeTools", "enabledTools", "enabled_tools",
         "includeTools"),
        _ALLOWED,
    ),
}  # fmt: skip
_ELSEWHERE = re.compile(
    r"\$\{(?:(env|input):([A-Za-z_][A-Za-z0-9_.-]*)"
    r"|(workspaceFolderBasename|workspaceFolder|userHome|pathSeparator|/))\}"
)
_CREDENTIAL = re.compile(
    r"auth|cookie|token|secret|key|passw|session|credential|private|dsn", re.IGNORECASE
)
_LIKE_ONE = re.compile(
    r"^(?:Bearer |Basic )"
    r"|^(?:sk|pk|ghp|gho|github_pat|glpat|xox[abp]|AKIA|hf)[-_]?[A-Za-z0-9_-]{12,}"
    r"|://[^/@\s]+:[^/@\s]+@|[?&](?:api_?key|key|token|secret)=[^&]+",
    re.IGNORECASE,
)
_OPTION = re.compile(r"^--?([A-Za-z0-9-]+)(?:=(.+))?$", re.DOTALL)
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_PASTED_TOML = re.compile(r"^\s*\[mcp_servers\.", re.MULTILINE)


def adopt(document: Document, folder: File) -> None:
    """Takes up servers under the keys that other tools' files have. Paths in them start at
    ``folder``, where the configuration lies."""
    for key in THEIRS:
        document.join(key, OURS)
    if isinstance(document.data, dict) and isinstance(document.data.get("inputs"), list):
        del document.data["inputs"]  # what VS Code asks for; ``${input:ID}`` reads a variable
    servers = document.data.get(OURS) if isinstance(document.data, dict) else None
    for name, server in servers.items() if isinstance(servers, dict) else ():
        if isinstance(server, dict):
            _Server(document, (OURS, name), server, folder).adopt()


def foreign_variable(
    written: str, path: Path, environ: Mapping[str, str], folder: File
) -> tuple[re.Match[str], Callable[[list[str]], str]] | None:
    """A variable of another tool at the start of ``written``, and what gives its value or says why
    there is none."""
    found = _ELSEWHERE.match(written)
    if found is None or path[:1] not in ((OURS,), *((key,) for key in THEIRS)):
        return None
    kind, name, word = found.groups()

    def value(missing: list[str]) -> str:
        if word is not None:
            return _place(word, folder, environ)
        variable = name if kind == "env" else re.sub(r"\W", "_", name)
        if variable not in environ:
            asked = "" if kind == "env" else f" (in place of the input {name})"
            missing.append(f"{dotted(path)}: the environment variable {variable} is not set{asked}")
        return environ.get(variable, "")

    return found, value


def _place(word: str, folder: File, environ: Mapping[str, str]) -> str:
    if word == "userHome":
        return environ.get("HOME", str(File.home()))
    if word in ("pathSeparator", "/"):
        return os.sep
    return folder.name if word == "workspaceFolderBasename" else str(folder)


def is_toml(text: str) -> bool:
    """Whether ``text`` has servers as Codex writes them."""
    return _PASTED_TOML.search(text) is not None


class _Server:
    """One server as it was pasted, changed in place."""

    def __init__(
        self, document: Document, path: Path, server: dict[str, Json], folder: File
    ) -> None:
        self._document = document
        self._path = path
        self._server = server
        self._folder = folder

    def adopt(self) -> None:
        server = self._server
        for key in FOREIGN & set(server):
            del server[key]
        for key, why in _REFUSED.items():
            if key in server and server.pop(key) not in ([], None, False):
                self._fault(key, why)
        for theirs, ours in _RENAMED.items():
            if theirs in server:
                self._rename(theirs, ours)
        if str(server.get("type", "")).lower() == "sse":
            del server["type"]
            self._fault("type", _TOO_OLD)
        if isinstance(server.get("enabled"), bool):
            server["disabled"] = not server.pop("enabled")
        self._codex()
        if isinstance(server.get("envFile"), str):
            self._env_file(server.pop("envFile"))

    def _rename(self, theirs: str, ours: str) -> None:
        if ours in self._server:
            self._fault(theirs, f"there is {ours} already")
            del self._server[theirs]
            return
        self._server[ours] = self._server.pop(theirs)
        self._document.rename((*self._path, theirs), (*self._path, ours))

    def _codex(self) -> None:
        server, environ = self._server, self._document.environ
        bearer = server.pop("bearer_token_env_var", None)
        named = server.pop("env_http_headers", None)
        wanted = dict(named) if isinstance(named, dict) else {}
        if isinstance(bearer, str):
            wanted["Authorization"] = bearer
        for header, variable in wanted.items():
            key = "bearer_token_env_var" if variable == bearer else "env_http_headers"
            value = self._variable(key, str(variable), environ)
            value = f"Bearer {value}" if variable == bearer else value
            server["headers"] = {**(server.get("headers") or {}), header: value}
        passed = server.pop("env_vars", None)
        for variable in passed if isinstance(passed, list) else ():
            value = self._variable("env_vars", str(variable), environ)
            server["env"] = {str(variable): value, **(server.get("env") or {})}

    def _variable(self, key: str, variable: str, environ: Mapping[str, str]) -> str:
        if variable not in environ:
            self._fault(key, f"the environment variable {variable} is not set")
        return environ.get(variable, "")

    def _env_file(self, named: str) -> None:
        try:
            text = (self._folder / named).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            self._fault("envFile", f"{named} cannot be read: {why}")
            return
        found: dict[str, Json] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                self._fault("envFile", f"{named} has no NAME=VALUE on line {number}")
                return
            found[match[1]] = _unquoted(match[2])
        self._server["env"] = {**found, **(self._server.get("env") or {})}

    def _fault(self, key: str, why: str) -> None:
        path = (*self._path, key)
        line = self._document.key_line(path)
        self._document.faults.append(Fault(line=line, message=f"{dotted(path)}: {why}"))


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        inner = value[1:-1]
        return inner.replace("\\n", "\n").replace('\\"', '"') if value[0] == '"' else inner
    return re.sub(r"\s+#.*$", "", value)


def literal_credentials(document: Document) -> Iterator[Path]:
    """The keys of servers whose value is a credential that stands in the file itself."""
    for path, scalar in document.scalars.items():
        if path[:1] != (OURS,) or len(path) < 3 or not scalar.text or _from_outside(scalar.written):
            continue
        if path[2] in ("env", "headers") and len(path) == 4:
            if _CREDENTIAL.search(str(path[3])) or _LIKE_ONE.search(scalar.text):
                yield path
        elif path[2] in ("args", "command", "url") and _argument(document, path, scalar.text):
            yield path


def _argument(document: Document, path: Path, text: str) -> bool:
    if _LIKE_ONE.search(text):
        return True
    option = _OPTION.match(text)
    if option is not None:
        return option[2] is not None and _CREDENTIAL.search(option[1]) is not None
    if not isinstance(path[-1], int) or path[-1] == 0:
        return False
    before: Any = document.scalars.get((*path[:-1], path[-1] - 1))
    named = _OPTION.match(before.text) if before is not None else None
    return named is not None and named[2] is None and _CREDENTIAL.search(named[1]) is not None


def _from_outside(written: str) -> bool:
    """A variable stands in it, and none brings a default."""
    variables = re.findall(r"\$\{[^}]*\}", written)
    return bool(variables) and not any(":-" in found for found in variables)
