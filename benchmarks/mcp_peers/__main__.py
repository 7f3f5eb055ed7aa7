"""``python -m benchmarks.mcp_peers [--rounds N] [--seconds S] [--write]``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.mcp_peers import stacks
from benchmarks.mcp_peers.load import Measured, Target, load

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks-mcp.md"
CONNECTIONS = (1, 8, 32)
GATEWAY_CORE, LOAD_CORE = 1, 0
Found = dict[tuple[str, int], list[Measured]]


@contextlib.contextmanager
def everything(folder: Path, environments: Path) -> Iterator[list[Target]]:
    """All stacks at once, over one upstream."""

    def own(name: str) -> Path:
        made = folder / name
        made.mkdir()
        return made

    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        url = enter(stacks.upstream(LOAD_CORE))
        yield [
            Target(name="direct", url=url),
            enter(stacks.nginx(url, GATEWAY_CORE, own("nginx"))),
            enter(stacks.holdfast(url, GATEWAY_CORE, own("holdfast"))),
            enter(stacks.fastmcp(url, GATEWAY_CORE, own("fastmcp"), environments)),
            enter(stacks.contextforge(url, GATEWAY_CORE, own("contextforge"), environments)),
        ]


def measure(targets: list[Target], rounds: int, seconds: float) -> Found:
    """The order is another one in each round; the first round warms up and is not counted."""
    found: Found = defaultdict(list)
    for number in range(rounds + 1):
        for connections in CONNECTIONS:
            for target in random.sample(targets, len(targets)):
                measured = asyncio.run(load(target, connections=connections, seconds=seconds))
                if number:
                    found[target.name, connections].append(measured)
    return found


def table(targets: list[Target], found: Found, options: argparse.Namespace) -> str:
    lines = [
        "# MCP calls through the gateway, beside others",
        "",
        "`tools/call` of one small tool. All stacks stand in front of the same upstream and run at",
        "once, one worker each, pinned to one core; upstream and load share the other. The order",
        "is shuffled in each round; every reply is read and checked. Holdfast parses, asks policy,",
        "records intent and outcome durably and keeps its limits for each call; the others do not.",
        "",
        f"    python -m benchmarks.mcp_peers --rounds {options.rounds} --seconds "
        f"{options.seconds:g} --write",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load average {os.getloadavg()[0]:.1f} at the end.",
        "",
        "| stack | connections | right calls/s (median) | best | p50 ms | p99 ms | wrong "
        "| Holdfast is |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for target in targets:
        for connections in CONNECTIONS:
            lines.append(_row(target.name, connections, found))
    return "\n".join(lines) + "\n"


def _row(name: str, connections: int, found: Found) -> str:
    rounds, ours = found[name, connections], found["Holdfast", connections]
    rates = [m.rate for m in rounds]
    ratios = [o.rate / r.rate for o, r in zip(ours, rounds, strict=True) if r.rate]
    ratio = statistics.median(ratios) if ratios else float("nan")
    p50 = statistics.median(m.quantile(0.5) for m in rounds) * 1000
    p99 = statistics.median(m.quantile(0.99) for m in rounds) * 1000
    return (
        f"| {name} | {connections} | {statistics.median(rates):,.0f} | {max(rates):,.0f} "
        f"| {p50:.2f} | {p99:.2f} | {sum(m.wrong for m in rounds)} | {ratio:.2f}x |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mcp_peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--write", action="store_true", help=f"writes {DOCUMENT.name}")
    parser.add_argument("--environments", type=Path, default=None, help="where peers are installed")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="holdfast-peers-") as name:
        environments = options.environments or Path(name) / "environments"
        with everything(Path(name), environments) as targets:
            text = table(targets, measure(targets, options.rounds, options.seconds), options)
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
