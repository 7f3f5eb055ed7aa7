"""What carries requests to tools: the gateway's own client beside httpx and aiohttp, CPU of the
calling thread per request, in turns against one nginx."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import httpx

from benchmarks.http import _STATIC, BODY, _free, _nginx
from gateway.hosts import origin_of
from gateway.upstreams.http.by_httpx import HttpxConnections
from gateway.upstreams.http.declared import DeclaredTool
from gateway.upstreams.http.routes import Table
from gateway.upstreams.http.transport import HttpTransport
from gateway.upstreams.remote.pool import Pool

Ask = Callable[[], Awaitable[None]]
_REQUEST = {
    "method": "GET", "path": "/customers/7", "query": [], "headers": {}, "type": None, "body": None,
}  # fmt: skip


def compare(rounds: int, requests: int, at_once: int) -> dict[str, float]:
    """CPU microseconds per request by client, medians over the rounds."""
    port = _free()
    rest = _STATIC.format(port=port, body=BODY.decode())
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as home,
        _nginx(Path(home), "tool", rest),
    ):
        return asyncio.run(_compared(f"http://127.0.0.1:{port}", rounds, requests, at_once))


async def _compared(url: str, rounds: int, requests: int, at_once: int) -> dict[str, float]:
    tool = DeclaredTool(name="crm", origin=origin_of(url), environment="bench")
    own = HttpTransport(tool, Table.of([]), Pool(tool.origin, tool.bounds, internal=False))
    # The same transport behind the same seam, carried by httpx.
    carried = HttpTransport(
        tool, Table.of([]), HttpxConnections(tool.origin, tool.bounds, internal=False)
    )
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with (
        httpx.AsyncClient(trust_env=False, limits=limits) as by_httpx,
        aiohttp.ClientSession(auto_decompress=False) as by_aiohttp,
    ):

        async def ours() -> None:
            answer = await own.send(_REQUEST, live=True)
            assert answer.result["body"].encode() == BODY

        async def seams() -> None:
            answer = await carried.send(_REQUEST, live=True)
            assert answer.result["body"].encode() == BODY

        async def httpxs() -> None:
            assert (await by_httpx.get(f"{url}/customers/7")).content == BODY

        async def aiohttps() -> None:
            async with by_aiohttp.get(f"{url}/customers/7", allow_redirects=False) as response:
                assert await response.read() == BODY

        clients: dict[str, Ask] = {
            "holdfast": ours,
            "holdfast over httpx": seams,
            "aiohttp": aiohttps,
            "httpx": httpxs,
        }
        found: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(rounds):
            for name in random.sample(list(clients), len(clients)):
                found[name].append(await _cpu_us(clients[name], requests, at_once))
        return {name: statistics.median(figures) for name, figures in found.items()}


async def _cpu_us(ask: Ask, requests: int, at_once: int) -> float:
    async def several(count: int) -> None:
        for _ in range(count):
            await ask()

    await ask()
    began = time.thread_time()
    await asyncio.gather(*(several(requests // at_once) for _ in range(at_once)))
    return (time.thread_time() - began) / (requests // at_once * at_once) * 1e6


def render(found: dict[str, float], at_once: int) -> str:
    lines = [
        f"{at_once} requests at once.",
        "",
        "| client | CPU us per request | / holdfast |",
        "|---|---:|---:|",
    ]
    lines += [f"| {n} | {us:,.0f} | {us / found['holdfast']:.1f} |" for n, us in found.items()]
    return "\n".join(lines) + "\n"
