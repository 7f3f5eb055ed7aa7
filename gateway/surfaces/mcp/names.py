"""Which server a request is about. ``/mcp/{server}`` speaks of one by its own names; ``/mcp`` of
all of them, with names that begin with the server's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.interfaces.mcp import INVALID_PARAMS, NOT_FOUND_PREVIOUS, McpFault, McpServer
from gateway.model import Json

URIS = "holdfast://"


@dataclass(frozen=True, slots=True)
class Scope:
    """``only``: the server of the path, or ``None`` for all."""

    servers: Mapping[str, McpServer]
    only: str | None = None

    @property
    def targets(self) -> list[McpServer]:
        if self.only is not None:
            return [self.servers[self.only]]
        return list(self.servers.values())

    def outer(self, server: str, name: str) -> str:
        """The name of a tool or prompt as this scope says it."""
        return name if self.only is not None else f"{server}.{name}"

    def outer_uri(self, server: str, uri: str) -> str:
        return uri if self.only is not None else f"{URIS}{server}/{uri}"

    def target(self, name: Json) -> tuple[McpServer, str]:
        """The server and its own name of a tool or prompt. Raises ``McpFault``."""
        if not isinstance(name, str):
            raise McpFault(INVALID_PARAMS, "The name must be a text.")
        if self.only is not None:
            return self.servers[self.only], name
        server = server_of(self.servers, name)
        if server == name:
            raise McpFault(INVALID_PARAMS, f"There is nothing called {name[:128]!r} here.")
        return self.servers[server], name[len(server) + 1 :]

    def target_uri(self, uri: Json) -> tuple[McpServer, str]:
        """Raises ``McpFault``."""
        if not isinstance(uri, str):
            raise McpFault(INVALID_PARAMS, "The uri must be a text.")
        if self.only is not None:
            return self.servers[self.only], uri
        server, _, inner = uri.removeprefix(URIS).partition("/")
        if not uri.startswith(URIS) or server not in self.servers or not inner:
            raise McpFault(NOT_FOUND_PREVIOUS, "There is no such resource here.", {"uri": uri})
        return self.servers[server], inner

    def renamed(self, method: str, server: str, items: list[Json]) -> list[Json]:
        """The items of a list, with the names of this scope."""
        if self.only is not None:
            return items
        key = {"resources/list": "uri", "resources/templates/list": "uriTemplate"}.get(method)
        found = []
        for item in items:
            if not isinstance(item, dict):
                continue
            if key is not None and isinstance(item.get(key), str):
                item = {**item, key: self.outer_uri(server, item[key])}
            elif key is None and isinstance(item.get("name"), str):
                item = {**item, "name": self.outer(server, item["name"])}
            found.append(item)
        return found

    def split(self, method: str, params: Mapping[str, Json]) -> tuple[McpServer, dict[str, Json]]:
        """The server of a request and its parameters with the server's own names. Raises
        ``McpFault``."""
        inner = {key: value for key, value in params.items() if key != "_meta"}
        if method in ("tools/call", "prompts/get"):
            server, inner["name"] = self.target(params.get("name"))
        elif method == "completion/complete":
            server, inner["ref"] = self._reference(params.get("ref"))
        else:
            server, inner["uri"] = self.target_uri(params.get("uri"))
        return server, inner

    def _reference(self, ref: Json) -> tuple[McpServer, dict[str, Json]]:
        if not isinstance(ref, dict):
            raise McpFault(INVALID_PARAMS, "completion/complete needs a ref.")
        if ref.get("type") == "ref/resource":
            server, uri = self.target_uri(ref.get("uri"))
            return server, {**ref, "uri": uri}
        server, name = self.target(ref.get("name"))
        return server, {**ref, "name": name}


def server_of(servers: Mapping[str, McpServer], name: str) -> str:
    """The server that a name like ``server.tool`` begins with; ``name`` itself if there is none."""
    return max((s for s in servers if name.startswith(f"{s}.")), key=len, default=name)
