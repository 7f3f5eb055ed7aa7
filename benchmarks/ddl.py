"""DROP and TRUNCATE on PostgreSQL: plain, and through the source's own walk from parsing to commit,
in turns within one run. ``python -m benchmarks.ddl [--rounds N] [--sizes 1,1000] [--write]``."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.fixtures.postgres_ddl import Done, SchemaCase
from tests.fixtures.postgres_server import PostgresServer

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-ddl.md"
T = TypeVar("T")

_HEAD = """# Benchmarks of schema changes

    python -m benchmarks.ddl --rounds {rounds} --sizes {sizes} --write

PostgreSQL {version}, fsync on. A table of about 180 bytes a row with a primary key and a second
index. Plain: the statement alone, committed. Guarded: parsed, judged by the server, tried, done by
quarantine (or copied), recorded and committed, without the HTTP surface and the gateway's store.
Medians of {rounds} rounds that alternate; the ratio is that of the medians. Load average {load}.

| statement | rows | plain ms | guarded ms | ratio | revert ms |
|---|---:|---:|---:|---:|---:|
"""


@dataclass
class Times:
    plain: list[float] = field(default_factory=list)
    guarded: list[float] = field(default_factory=list)
    revert: list[float] = field(default_factory=list)


def fill(case: SchemaCase, rows: int) -> None:
    case.owner.execute(
        f"CREATE TABLE item AS SELECT i AS id, i % 997 AS owner, 'open'::text AS state, "
        f"lpad(i::text, 140, '0') AS body FROM generate_series(1, {rows}) i"
    )
    case.owner.execute("ALTER TABLE item ADD PRIMARY KEY (id); CREATE INDEX ON item (owner)")


async def timed(work: Awaitable[T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = await work
    return time.perf_counter() - began, result


async def one_round(case: SchemaCase, statement: str, rows: int, times: Times) -> None:
    fill(case, rows)
    case.admin.execute("CHECKPOINT")
    took, done = await timed(case.call(statement))
    assert isinstance(done, Done)
    times.guarded.append(took)
    took, reverted = await timed(case.revert(done.undo))
    assert reverted.states == ["reverted"], reverted.steps
    times.revert.append(took)
    began = time.perf_counter()
    case.owner.execute(statement.encode())
    times.plain.append(time.perf_counter() - began)
    case.owner.execute("DROP TABLE IF EXISTS item")


async def measured(server: PostgresServer, rounds: int, sizes: list[int]) -> tuple[list[str], str]:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        case = SchemaCase(server, Path(folder))
        version = str(case.admin.info.parameter_status("server_version")).split()[0]
        try:
            for statement in ("DROP TABLE item", "TRUNCATE item"):
                for rows in sizes:
                    times = Times()
                    await one_round(case, statement, 10, Times())  # connections, plans
                    for _ in range(rounds):
                        await one_round(case, statement, rows, times)
                    plain, guarded, revert = (
                        statistics.median(t) * 1000
                        for t in (times.plain, times.guarded, times.revert)
                    )
                    lines.append(
                        f"| {statement} | {rows:,} | {plain:.1f} | {guarded:.1f} "
                        f"| {guarded / plain:.2f} | {revert:.1f} |"
                    )
        finally:
            await case.close()
    return lines, version


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ddl", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="1,1000,100000,1000000")
    parser.add_argument("--write", action="store_true", help="writes docs/benchmarks-ddl.md")
    options = parser.parse_args()
    sizes = [int(n) for n in options.sizes.split(",")]
    with PostgresServer.started() as server:
        lines, version = asyncio.run(measured(server, options.rounds, sizes))
    load = f"{os.getloadavg()[0]:.1f}"
    head = _HEAD.format(rounds=options.rounds, sizes=options.sizes, version=version, load=load)
    text = head + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
