"""Results as a table: medians, and the median of the ratios within each round."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from argparse import Namespace
from dataclasses import dataclass, field


@dataclass
class Row:
    """One statement at one size: seconds per round, direct and guarded side by side."""

    database: str
    what: str
    rows: int
    direct: list[float] = field(default_factory=list)
    guarded: list[float] = field(default_factory=list)
    reverts: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        pairs = zip(self.direct, self.guarded, strict=True)
        return statistics.median(guarded / direct for direct, guarded in pairs)


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:,.2f}" if seconds else "-"


def render(rows: list[Row], options: Namespace) -> str:
    command = f"python -m benchmarks sql --rounds {options.rounds} --sizes {options.sizes} --write"
    lines = [
        "# Benchmarks",
        "",
        "Each statement is sent directly to the database and through the whole gateway (HTTP,",
        "parsing, policy, audit, intent, images, permit), in turns within one run. The ratio is",
        "the median over the rounds of guarded to direct; milliseconds depend on the machine,",
        "ratios much less. `revert` takes the guarded statement back through the gateway.",
        "",
        f"    {command}",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version} (direct), fsync on, "
        f"{options.rounds} rounds, load average {os.getloadavg()[0]:.1f}.",
        "",
        "| database | statement | rows | direct ms | guarded ms | ratio | revert ms |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.database} | {r.what} | {r.rows:,} | {_ms(r.direct)} | {_ms(r.guarded)} "
        f"| {r.ratio():.2f} | {_ms(r.reverts)} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
