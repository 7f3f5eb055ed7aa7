"""MCP ``tools/call`` through the gateway against the same call at the server.

``python -m benchmarks.mcp [--rounds N] [--calls N] [--callers N]``: both in turns within one run,
over kept connections; the ratio is the median over the rounds. The server does next to nothing, so
the difference is the gateway: authentication, strict reading, schema, policy, audit, the relay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.fixtures.mcp.elsewhere import listening
from tests.fixtures.mcp.house import CURRENT, TOKENS, meta, request
from tests.fixtures.serving import AGENT, served

POLICY = """package gateway

import rego.v1

default decision := {"allow": false, "hold": false, "reasons": [], "obligations": {}}

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {}} if input.version == 1
"""
CALL = {"name": "test_simple_text", "arguments": {}}
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": CURRENT,
    "Mcp-Method": "tools/call",
    "Mcp-Name": CALL["name"],
}


async def seconds(url: str, token: str, calls: int, callers: int) -> list[float]:
    """The duration of each call; every answer is looked at."""
    left = iter(range(calls))
    found: list[float] = []

    async def caller(http: aiohttp.ClientSession) -> None:
        for id in left:
            body = json.dumps(request("tools/call", {**CALL, "_meta": meta()}, id))
            began = time.perf_counter()
            async with http.post(url, data=body) as answer:
                said = await answer.json()
            found.append(time.perf_counter() - began)
            assert said["result"]["content"][0]["text"].startswith("This is"), said

    headers = {**HEADERS, "Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        await asyncio.gather(*(caller(http) for _ in range(callers)))
    return found


def configuration(home: Path, url: str) -> Path:
    policies = home / "policies"
    policies.mkdir()
    (policies / "gateway.rego").write_text(POLICY)
    document: dict[str, Any] = {
        "store": {"url": f"sqlite:///{home}/store.db"},
        "policy": {"path": str(policies)},
        "snapshots": {"path": str(home / "snapshots")},
        "identity": {
            "admin_token": "${HOLDFAST_ADMIN_TOKEN}",
            "agents": [{"name": "demo", "token": "${HOLDFAST_AGENT_TOKEN}", "roles": ["r"]}],
        },
        "mcp_servers": {"everything": {"url": url, "tools": {"*": {"class": "read"}}}},
    }
    config = home / "gateway.json"
    config.write_text(json.dumps(document))
    return config


def cpu_seconds(process: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measured(rounds: int, calls: int, callers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        async with listening() as url:
            with served(home, configuration(home, url)) as gateway:
                through = f"{gateway.url}/mcp/everything"
                ways = {"direct": (url, TOKENS["a7"]), "gateway": (through, AGENT)}
                for address, token in ways.values():
                    await seconds(address, token, 50, callers)
                medians: dict[str, list[float]] = {name: [] for name in ways}
                used = cpu_seconds(gateway.process.pid)
                for _ in range(rounds):
                    for name, (address, token) in ways.items():
                        found = await seconds(address, token, calls, callers)
                        medians[name].append(statistics.median(found))
                used = cpu_seconds(gateway.process.pid) - used
    pairs = zip(medians["direct"], medians["gateway"], strict=True)
    ratio = statistics.median(guarded / direct for direct, guarded in pairs)
    for name, values in medians.items():
        print(f"{name:8} {statistics.median(values) * 1000:8.2f} ms (median, {callers} callers)")
    print(f"ratio    {ratio:8.2f}")
    print(f"CPU of the gateway: {used / (rounds * calls) * 1000:.2f} ms per call")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--callers", type=int, default=8)
    options = parser.parse_args()
    asyncio.run(measured(options.rounds, options.calls, options.callers))


if __name__ == "__main__":
    main()
