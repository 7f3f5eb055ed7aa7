"""What capture, rehearsal and revert cost on SQLite, the mechanism alone: the same statement on two
copies of one file, plain and through the upstream, in turns.

``python -m benchmarks.sqlite [--rounds N] [--sizes 1,1000,100000,1000000] [--write]``; with
``--memory`` the most memory that a process needs for one call, and for its revert.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from gateway.model import Deny, Permit
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite.connections import spill_from
from tests.upstreams.sql.sqlite.driving import Done, Driver, call_of, driving

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-sqlite.md"
LIMITS = SqlLimits(statement_timeout_s=600.0)


@dataclass
class Line:
    """Seconds per round; ``stored``: bytes that are kept for the undo, the last time."""

    what: str
    rows: int
    plain: list[float] = field(default_factory=list)
    guarded: list[float] = field(default_factory=list)
    rehearsed: list[float] = field(default_factory=list)
    revert: list[float] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)  # plain, guarded
    stored: int = 0

    def cpu_ratio(self) -> float:
        return statistics.median(guarded / plain for plain, guarded in self.cpu)

    def ratio(self) -> float:
        pairs = zip(self.plain, self.guarded, strict=True)
        return statistics.median(guarded / plain for plain, guarded in pairs)


def fill(path: Path, rows: int) -> None:
    with closing(apsw.Connection(str(path))) as db, db:
        db.execute(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, state TEXT NOT NULL,"
            " body TEXT NOT NULL); CREATE TABLE spare(a, b, c)"
        )
        values = ((n, n % 997, "open", f"{n:0140d}") for n in range(rows))
        db.executemany("INSERT INTO item VALUES(?, ?, ?, ?)", values)


def statements(size: int) -> dict[str, str]:
    many = f"WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {size})"
    return {
        "DELETE": f"DELETE FROM item WHERE id < {size}",
        "UPDATE": f"UPDATE item SET state = 'done', owner = owner + 1 WHERE id < {size}",
        "INSERT": f"{many} INSERT INTO spare SELECT i, 'new', printf('%0140d', i) FROM g",
        "DROP": "DROP TABLE item",
    }


async def plain(path: Path, sql: str) -> tuple[float, float]:
    """Seconds by the clock and of the processor, on a connection with the settings of the
    gateway's, opened and warm."""
    with closing(apsw.Connection(str(path))) as db:
        spill_from(db, LIMITS.max_page_bytes)
        db.pragma("synchronous", 2)
        db.execute("SELECT max(rowid) FROM item").fetchall()
        began, spent = time.perf_counter(), time.process_time()
        db.execute("BEGIN IMMEDIATE")
        db.execute(sql).fetchall()
        db.execute("COMMIT")
        return time.perf_counter() - began, time.process_time() - spent


async def guarded(driver: Driver, sql: str, line: Line) -> tuple[float, float, Done]:
    action = await driver.judged(sql)
    call = call_of(driver.number, sql)
    async with driver.upstream.attempt(call, action) as attempt:
        began, spent = time.perf_counter(), time.process_time()
        ran = await attempt.run()
        captured = await attempt.capture()
        took, cpu = time.perf_counter() - began, time.process_time() - spent
        assert not isinstance(captured, Deny), captured
        began = time.perf_counter()
        assert await attempt.rehearse(demanded=False) is None
        line.rehearsed.append(time.perf_counter() - began)
        began, spent = time.perf_counter(), time.process_time()
        outcome = await attempt.commit(Permit.issue(call.id, 1))
        took, cpu = took + time.perf_counter() - began, cpu + time.process_time() - spent
    kept = captured.undo.manifest["journal"]
    journal = (driver.folder / kept["name"]).stat().st_size if kept else 0
    line.stored = len(captured.undo.image) + journal
    return took, cpu, Done(call, action, ran, captured.undo, outcome)


async def measured(folder: Path, base: Path, size: int, rounds: int) -> list[Line]:
    lines = []
    for what, sql in statements(size).items():
        line = Line(what, size)
        for number in range(rounds):
            copies = [folder / f"{way}{number}.db" for way in ("plain", "guarded")]
            for copy in copies:
                shutil.copy(base, copy)
                os.sync()

            spent: list[float] = []
            used: list[float] = []

            async def on_plain(
                copy: Path = copies[0],
                sql: str = sql,
                line: Line = line,
                spent: list[float] = spent,
            ) -> None:
                took, cpu = await plain(copy, sql)
                line.plain.append(took)
                spent.append(cpu)

            async def on_guarded(
                copy: Path = copies[1],
                sql: str = sql,
                line: Line = line,
                used: list[float] = used,
            ) -> None:
                async with driving(copy, "SELECT 1", limits=LIMITS) as driver:
                    took, cpu, done = await guarded(driver, sql, line)
                    line.guarded.append(took)
                    used.append(cpu)
                    began = time.perf_counter()
                    steps, _ = await driver.revert(done)
                    line.revert.append(time.perf_counter() - began)
                    assert steps[0].state == "reverted", steps

            ways: list[Callable[[], Awaitable[None]]] = [on_plain, on_guarded]
            for way in random.Random(number).sample(ways, 2):
                await way()
            line.cpu.append((spent[0], used[0]))
            for copy in copies:
                copy.unlink()
            shutil.rmtree(folder / "kept", ignore_errors=True)
        lines.append(line)
        if what == "DROP":
            line.rows = 0
    return lines


def render(lines: list[Line], command: str, rounds: int, table: int) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text = [
        "# Benchmark of the undo on SQLite",
        "",
        "The mechanism alone: one statement on two copies of one file, plain and through the",
        "upstream (run, capture, commit), in turns, on connections with the same settings; `ratio`",
        "is the median over the rounds; `rehearsal` is what trying the undo adds where it is done;",
        f"`kept` is the bytes of the undo. A table of {table:,} rows of about 180 bytes. Calls",
        "on up to 10,000 rows keep row images, larger ones and DROP the rollback journal, which",
        "holds every page that the call gives up: a plain DROP reads and writes none of them.",
        "`CPU` is the ratio of the processor's time. Statements through the whole gateway stand in",
        "[benchmarks.md](benchmarks.md).",
        "",
        f"    {command}",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, fsync on, {rounds} "
        f"rounds, load average {os.getloadavg()[0]:.1f}, peak memory {peak:,.0f} MiB.",
        "",
        "| statement | rows | plain ms | guarded | ratio | CPU | rehearsal | revert ms | kept |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for line in lines:
        times = (statistics.median(t) * 1000 for t in (line.plain, line.guarded))
        after = (statistics.median(t) * 1000 for t in (line.rehearsed, line.revert))
        cells = [f"{ms:,.2f}" for ms in times] + [f"{line.ratio():.2f}", f"{line.cpu_ratio():.2f}"]
        cells += [f"{ms:,.2f}" for ms in after] + [f"{line.stored:,}"]
        text.append(f"| {line.what} | {line.rows or table:,} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def memory(sizes: list[int]) -> str:
    """The peak of a new process for each, in MiB."""
    lines = ["", "| peak MiB | " + " | ".join(f"{n:,} rows" for n in sizes) + " |"]
    lines.append("|---|" + "---:|" * len(sizes))
    for what in ("DELETE", "UPDATE", "INSERT"):
        cells = []
        for size in sizes:
            told = subprocess.run(
                [sys.executable, "-m", "benchmarks.sqlite", "--peak", f"{what}:{size}"],
                check=True,
                capture_output=True,
                text=True,
            )
            cells.append(told.stdout.strip())
        lines.append(f"| {what} / with its revert | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


async def peak(folder: Path, what: str, size: int) -> str:
    path = folder / "peak.db"
    fill(path, max(size, 1000))
    async with driving(path, "SELECT 1", limits=LIMITS) as driver:
        done = await driver.do(statements(size)[what])
        called = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        await driver.revert(done)
    return f"{called} / {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sqlite", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="1,1000,10000,100000,1000000")
    parser.add_argument("--write", action="store_true", help="writes docs/benchmarks-sqlite.md")
    parser.add_argument("--memory", action="store_true", help="memory instead of times")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        what, _, size = options.peak.partition(":")
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
            print(asyncio.run(peak(Path(name), what, int(size))))
        return
    sizes = [int(n) for n in options.sizes.split(",")]
    if options.memory:
        print(memory(sizes))
        return
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        base = folder / "base.db"
        fill(base, max(sizes))
        for size in sizes:
            found = asyncio.run(measured(folder, base, size, options.rounds))
            # DROP does not depend on the size: it is measured once, at the end.
            lines += found if size == sizes[-1] else found[:-1]
    command = (
        f"python -m benchmarks.sqlite --rounds {options.rounds} --sizes {options.sizes} --write"
    )
    text = render(lines, command, options.rounds, max(sizes))
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
