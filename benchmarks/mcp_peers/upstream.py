"""An MCP server as fast as Python lets one be, so that what is measured is what stands in front.

``python -m benchmarks.mcp_peers.upstream PORT``. One tool, ``echo``; both protocol revisions; no
sessions. Not a server for anything else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httptools
import uvloop

TOOL = {
    "name": "echo",
    "description": "Answers what it is told.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True},
}
INFO = {"name": "upstream", "version": "1"}
CAPABILITIES = {"tools": {}}
MODERN = "2026-07-28"


def answered(message: dict[str, Any]) -> dict[str, Any] | None:
    method, params = message.get("method"), message.get("params") or {}
    if "id" not in message:
        return None
    modern = "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or {})
    whole = {"resultType": "complete"} if modern else {}
    if method == "initialize":
        version = params.get("protocolVersion", "2025-11-25")
        result = {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": INFO}
    elif method == "server/discover":
        result = {
            "supportedVersions": [MODERN],
            "capabilities": CAPABILITIES,
            "serverInfo": INFO,
            "ttlMs": 60_000,
            "cacheScope": "private",
            **whole,
        }
    elif method == "tools/list":
        cached = {"ttlMs": 60_000, "cacheScope": "private"} if modern else {}
        result = {"tools": [TOOL], **cached, **whole}
    elif method == "tools/call":
        text = params["arguments"]["text"]
        result = {"content": [{"type": "text", "text": text}], "isError": False, **whole}
    elif method == "ping":
        result = {}
    else:
        error = {"code": -32601, "message": "Method not found"}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


class Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._write(b"405 Method Not Allowed", b"")
            return
        answer = answered(json.loads(self._body))
        if answer is None:
            self._write(b"202 Accepted", b"")
        else:
            self._write(b"200 OK", json.dumps(answer).encode())

    def _write(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)  # type: ignore[attr-defined]


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
