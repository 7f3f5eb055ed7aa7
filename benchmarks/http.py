"""The HTTP hop: through the gateway (policy, audit, limits on), through nginx, and directly.

All stacks are up at once and take turns in an order that is shuffled each round. Every reply is
checked. CPU per request is that of the process under test; it is the figure that a busy machine
spoils least.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.serving import AGENT, served
from tests.fixtures.tooled import TOOL_TOKEN, write_config

BODY = b'{"id":7,"name":"Ada","email":"ada@example.com","plan":"pro"}'
_TICKS = os.sysconf("SC_CLK_TCK")
_NGINX = """
worker_processes 1; daemon off; pid {home}/{name}.pid; error_log {home}/{name}.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000; default_type application/json;
  client_body_temp_path {home}/{name}-a; proxy_temp_path {home}/{name}-b;
  fastcgi_temp_path {home}/{name}-c; uwsgi_temp_path {home}/{name}-d;
  scgi_temp_path {home}/{name}-e;
  {rest}
}}
"""
_STATIC = "server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{body}'; }} }}"
_PROXY = """upstream tool {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://tool; proxy_http_version 1.1;
    proxy_set_header Connection ""; }} }}"""


@dataclass
class Stack:
    """One way to the tool. ``pids`` are the processes whose CPU counts."""

    name: str
    port: int
    path: str
    pids: list[int]
    per_second: dict[int, list[float]] = field(default_factory=dict)
    p50_ms: dict[int, list[float]] = field(default_factory=dict)
    cpu_us: dict[int, list[float]] = field(default_factory=dict)
    errors: int = 0


def run(rounds: int, seconds: float, connections: list[int]) -> list[Stack]:
    """Raises ``SystemExit`` where nginx is missing."""
    if shutil.which("nginx") is None:
        raise SystemExit("nginx is needed: apt install nginx-light")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-")))
        tool, proxy = _free(), _free()
        rest = _STATIC.format(port=tool, body=BODY.decode())
        stack.enter_context(_nginx(home, "tool", rest))
        pids = stack.enter_context(_nginx(home, "proxy", _PROXY.format(upstream=tool, port=proxy)))
        config = write_config(home, f"http://127.0.0.1:{tool}", header_s=10, idle_s=30)
        gateway = stack.enter_context(served(home, config, TOOL_TOKEN=TOOL_TOKEN))
        port = int(gateway.url.rpartition(":")[2])
        found = [
            Stack("direct", tool, "/customers/7", []),
            Stack("nginx proxy_pass", proxy, "/customers/7", pids),
            Stack("holdfast", port, "/http/crm/customers/7", [gateway.process.pid]),
        ]
        for _ in range(rounds):
            for count in connections:
                for each in random.sample(found, len(found)):
                    asyncio.run(_measure(each, count, seconds))
        return found


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _nginx(home: Path, name: str, rest: str) -> Iterator[list[int]]:
    config = home / f"{name}.conf"
    config.write_text(_NGINX.format(home=home, name=name, rest=rest))
    process = subprocess.Popen(
        ["nginx", "-c", str(config), "-p", str(home)], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield [process.pid, *map(int, children)]
    finally:
        process.terminate()
        process.wait(timeout=10)


def _cpu_s(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


async def _measure(stack: Stack, connections: int, seconds: float) -> None:
    request = (
        f"GET {stack.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {AGENT}\r\n\r\n"
    ).encode()
    end = time.perf_counter() + seconds
    before, began = _cpu_s(stack.pids), time.perf_counter()
    laps = await asyncio.gather(*(_client(stack, request, end) for _ in range(connections)))
    took = time.perf_counter() - began
    times = [lap for some in laps for lap in some]
    stack.per_second.setdefault(connections, []).append(len(times) / took)
    stack.p50_ms.setdefault(connections, []).append(statistics.median(times) * 1000)
    cpu = (_cpu_s(stack.pids) - before) / len(times) * 1e6
    stack.cpu_us.setdefault(connections, []).append(cpu)


async def _client(stack: Stack, request: bytes, end: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    laps = []
    while (began := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        low = head.lower()
        length = int(low.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        laps.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200") or body != BODY:
            stack.errors += 1
    writer.close()
    return laps


def render(stacks: list[Stack], rounds: int, seconds: float) -> str:
    """A table: medians over the rounds, and ratios to nginx within each round."""
    nginx = next(s for s in stacks if s.name.startswith("nginx"))
    lines = [
        f"{rounds} rounds of {seconds:g} s, order shuffled; {os.cpu_count()} cores shared with the "
        f"load, load average {os.getloadavg()[0]:.1f}.",
        "",
        "| way | connections | requests/s | p50 ms | CPU us | CPU / nginx | errors |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for stack in stacks:
        for count, rates in stack.per_second.items():
            cpu = statistics.median(stack.cpu_us[count])
            ratios = [
                own / other
                for own, other in zip(stack.cpu_us[count], nginx.cpu_us[count], strict=True)
                if other
            ]
            shown = f"{cpu:,.0f}" if stack.pids else "-"
            ratio = f"{statistics.median(ratios):.1f}" if stack.pids and ratios else "-"
            lines.append(
                f"| {stack.name} | {count} | {statistics.median(rates):,.0f} "
                f"| {statistics.median(stack.p50_ms[count]):.2f} | {shown} | {ratio} "
                f"| {stack.errors} |"
            )
    return "\n".join(lines) + "\n"
