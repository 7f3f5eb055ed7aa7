"""Calls over a fixed number of connections for a fixed time; every reply is read and checked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MODERN = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``tool``: what the stack calls the upstream's ``echo``; ``headers``: beside the usual;
    ``modern``: it speaks the current revision of the protocol without a handshake."""

    name: str
    url: str
    tool: str = "echo"
    headers: Mapping[str, str] = field(default_factory=dict)
    modern: bool = False


@dataclass(slots=True)
class Measured:
    """``latencies`` in seconds; ``wrong`` counts replies that are not the answer to their call."""

    seconds: float = 0.0
    wrong: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Right answers a second."""
        right = len(self.latencies) - self.wrong
        return right / self.seconds if self.seconds else 0.0

    def quantile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class _Connection:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._at = urlsplit(target.url)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, number: int) -> bool:
        if self._writer is None or self._writer.is_closing():
            host, port = self._at.hostname, self._at.port
            self._reader, self._writer = await asyncio.open_connection(host, port)
        assert self._reader is not None
        text = f"text {number}"
        params: dict[str, object] = {"name": self._target.tool, "arguments": {"text": text}}
        era = {"MCP-Protocol-Version": "2025-11-25"}
        if self._target.modern:
            params["_meta"] = _META
            era = {
                "MCP-Protocol-Version": MODERN,
                "Mcp-Method": "tools/call",
                "Mcp-Name": self._target.tool,
            }
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        body = json.dumps(message).encode()
        headers = {
            "Host": self._at.netloc,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **era,
            "Content-Length": str(len(body)),
            **self._target.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"POST {self._at.path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        status, answer = await self._answer()
        return status == 200 and _is_answer(answer, number, text)

    async def _answer(self) -> tuple[int, bytes]:
        assert self._reader is not None
        assert self._writer is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        length = head.partition("\r\ncontent-length:")[2].partition("\r\n")[0].strip()
        if length:
            body = await self._reader.readexactly(int(length))
        else:
            body = await self._chunks()
        if "\r\nconnection: close" in head:
            self._writer.close()
        return status, body

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        body = b""
        while size := int((await self._reader.readline()).strip() or b"0", 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _is_answer(body: bytes, number: int, text: str) -> bool:
    if body.lstrip()[:1] != b"{":  # server-sent events
        body = next((x[5:] for x in body.splitlines() if x.startswith(b"data:")), b"{}")
    message = json.loads(body)
    content = (message.get("result") or {}).get("content") or [{}]
    return message.get("id") == number and content[0].get("text") == text


async def load(target: Target, *, connections: int, seconds: float) -> Measured:
    measured = Measured()
    end = time.perf_counter() + seconds

    async def one(index: int) -> None:
        connection = _Connection(target)
        number = index * 1_000_000
        while (began := time.perf_counter()) < end:
            number += 1
            if not await connection.call(number):
                measured.wrong += 1
            measured.latencies.append(time.perf_counter() - began)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(connections)))
    measured.seconds = time.perf_counter() - began
    return measured
