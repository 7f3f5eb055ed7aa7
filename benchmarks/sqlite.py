"""What capture, rehearsal and revert cost on SQLite, the mechanism alone: the same statement on two
copies of one file, plain and through the upstream, in turns.

``python -m benchmarks.sqlite [--rounds N] [--sizes 1,1000,100000,1000000] [--write]``
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
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from gateway.model import Deny, Permit
from gateway.upstreams.sql.limits import SqlLimits
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
    stored: int = 0

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


async def plain(path: Path, sql: str) -> float:
    """On a connection of the same settings as the gateway's, opened and warm."""
    with closing(apsw.Connection(str(path))) as db:
        db.pragma("cache_spill", False)
        db.pragma("synchronous", 2)
        db.execute("SELECT max(rowid) FROM item").fetchall()
        began = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.execute(sql).fetchall()
        db.execute("COMMIT")
        return time.perf_counter() - began


async def guarded(driver: Driver, sql: str, line: Line) -> tuple[float, Done]:
    action = await driver.judged(sql)
    call = call_of(driver.number, sql)
    async with driver.upstream.attempt(call, action) as attempt:
        began = time.perf_counter()
        ran = await attempt.run()
        captured = await attempt.capture()
        took = time.perf_counter() - began
        assert not isinstance(captured, Deny), captured
        began = time.perf_counter()
        assert await attempt.rehearse(demanded=True) is None
        line.rehearsed.append(time.perf_counter() - began)
        began = time.perf_counter()
        outcome = await attempt.commit(Permit.issue(call.id, 1))
        took += time.perf_counter() - began
    kept = captured.undo.manifest["journal"]
    journal = (driver.folder / kept["name"]).stat().st_size if kept else 0
    line.stored = len(captured.undo.image) + journal
    return took, Done(call, action, ran, captured.undo, outcome)


async def measured(folder: Path, base: Path, size: int, rounds: int) -> list[Line]:
    lines = []
    for what, sql in statements(size).items():
        line = Line(what, size)
        for number in range(rounds):
            copies = [folder / f"{way}{number}.db" for way in ("plain", "guarded")]
            for copy in copies:
                shutil.copy(base, copy)
                os.sync()

            async def on_plain(copy: Path = copies[0], sql: str = sql, line: Line = line) -> None:
                line.plain.append(await plain(copy, sql))

            async def on_guarded(copy: Path = copies[1], sql: str = sql, line: Line = line) -> None:
                async with driving(copy, "SELECT 1", limits=LIMITS) as driver:
                    took, done = await guarded(driver, sql, line)
                    line.guarded.append(took)
                    began = time.perf_counter()
                    steps, _ = await driver.revert(done)
                    line.revert.append(time.perf_counter() - began)
                    assert steps[0].state == "reverted", steps

            ways: list[Callable[[], Awaitable[None]]] = [on_plain, on_guarded]
            for way in random.Random(number).sample(ways, 2):
                await way()
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
        f"`stored` is what the undo keeps. A table of {table:,} rows of about 180 bytes. Calls on",
        "up to 10,000 rows keep row images, larger ones and DROP the rollback journal. Rows of a",
        "statement through the whole gateway stand in [benchmarks.md](benchmarks.md).",
        "",
        f"    {command}",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, fsync on, {rounds} "
        f"rounds, load average {os.getloadavg()[0]:.1f}, peak memory {peak:,.0f} MiB.",
        "",
        "| statement | rows | plain ms | guarded ms | ratio | rehearsal ms | revert ms | stored |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for line in lines:
        times = (statistics.median(t) * 1000 for t in (line.plain, line.guarded))
        after = (statistics.median(t) * 1000 for t in (line.rehearsed, line.revert))
        cells = [f"{ms:,.2f}" for ms in times] + [f"{line.ratio():.2f}"]
        cells += [f"{ms:,.2f}" for ms in after] + [f"{line.stored:,}"]
        text.append(f"| {line.what} | {line.rows or table:,} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sqlite", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="1,1000,10000,100000,1000000")
    parser.add_argument("--write", action="store_true", help="writes docs/benchmarks-sqlite.md")
    options = parser.parse_args()
    sizes = [int(n) for n in options.sizes.split(",")]
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
