"""What undo costs on PostgreSQL: each statement plain and guarded in turns, by the mechanism alone
(run, capture, commit over two connections) and through the whole gateway, DROP and TRUNCATE too.

``python -m benchmarks.postgres [--rounds N] [--sizes 1,1000,100000,1000000] [--newest] [--write]``
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from benchmarks.postgres_report import Line, aims, table
from benchmarks.sql import config, guarded, taken_back
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.attempt import Surroundings
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_ddl import OWNER, prepared_database
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.serving import served

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-postgres.md"
ALONE = "The mechanism alone"
_TICK = os.sysconf("SC_CLK_TCK")

_TABLE = """
CREATE TABLE item(id int PRIMARY KEY, code text NOT NULL UNIQUE, owner int NOT NULL,
  state text NOT NULL, doc jsonb NOT NULL);
INSERT INTO item SELECT i, 'code-' || i, i % 997, 'open',
  jsonb_build_object('note', md5(i::text), 'more', md5((i + 1)::text), 'n', i)
  FROM generate_series(1, {rows}) i;
CREATE TABLE spare AS SELECT * FROM item;
"""


class Timed(Case):
    """Notes when the steps of a call were done."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        super().__init__(server, database)
        self.limits = SqlLimits(max_capture_rows=10_000_000, max_capture_bytes=1 << 34)
        self.marks: list[tuple[str, float]] = []

    def around(self) -> Surroundings:
        return replace(super().around(), probe=self._mark)

    def _mark(self, step: str) -> None:
        self.marks.append((step, time.perf_counter()))

    def steps(self, began: float) -> dict[str, float]:
        """Seconds of each step of the last call."""
        at = dict(self.marks)
        ran, captured, done = (at[f"postgres.{s}"] for s in ("ran", "captured", "committed"))
        return {"run": ran - began, "capture": captured - ran, "commit": done - captured}


class Bench:
    """A table of about 180 bytes a row, put back to what it was after each statement."""

    def __init__(self, server: PostgresServer, database: str, rows: int) -> None:
        self.server = server
        self.database = database
        self.rows = rows
        self.pids = [os.getpid()]  # whose memory is looked at; the last one's time counts as well
        self.admin = psycopg.connect(server.url(database), autocommit=True)
        self.admin.execute(_TABLE.format(rows=rows).encode())
        self.admin.execute("VACUUM ANALYZE")
        (size,) = self.admin.execute("SELECT avg(pg_column_size(item.*))::int FROM item").fetchone()
        self.row_bytes = size

    def statements(self, size: int) -> dict[str, str]:
        """Rows spread over the table where there are few, and most of it where there are many."""
        first = self.rows // 3 if size < self.rows // 3 else 1
        among = f"id >= {first} AND id < {first + size}"
        if size == 1:
            among = f"id = {first}"
        fresh = f"generate_series({self.rows + 1}, {self.rows + size}) i"
        return {
            "DELETE": f"DELETE FROM item WHERE {among}",
            "UPDATE": f"UPDATE item SET state = 'done', owner = owner + 1 WHERE {among}",
            "INSERT": "INSERT INTO item SELECT i, 'code-' || i, 1, 'new', "
            f'\'{{"note": "0123456789abcdef0123456789abcdef", "n": 1}}\' FROM {fresh}',
        }

    def put_back(self, what: str, size: int) -> None:
        if what == "INSERT":
            self.admin.execute("DELETE FROM item WHERE id > %s", (self.rows,))
        elif what == "DELETE":
            self.admin.execute(
                "INSERT INTO item SELECT s.* FROM spare s LEFT JOIN item i USING (id) "
                "WHERE i.id IS NULL"
            )
        else:
            self.admin.execute(
                "UPDATE item SET state = 'open', owner = id % 997 WHERE state = 'done'"
            )
        if size >= 1000:
            self.admin.execute("VACUUM item")

    def gone(self, size: int) -> None:
        """A table to be dropped or cleared."""
        self.admin.execute("DROP TABLE IF EXISTS gone")
        self.admin.execute(f"CREATE TABLE gone AS SELECT * FROM spare WHERE id <= {size}")
        self.admin.execute(
            f"ALTER TABLE gone ADD PRIMARY KEY (id); ALTER TABLE gone OWNER TO {OWNER}"
        )

    def close(self) -> None:
        self.admin.close()

    def peak(self) -> float:
        """The most bytes that the gateway's process held since the last call of this."""
        folder = Path(f"/proc/{self.pids[-1]}")
        status = (folder / "status").read_text()
        (folder / "clear_refs").write_text("5")
        line = next(x for x in status.splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def wal(self) -> int:
        (lsn,) = self.admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        return int(lsn)

    def cpu(self) -> float:
        """Seconds that this process and all of the server's have used."""
        own = os.times()
        master = int((self.server.folder / "data" / "postmaster.pid").read_text().split()[0])
        ticks = 0
        for pid in [master, *_children(master), *self.pids[1:]]:
            try:
                parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue
            ticks += int(parts[11]) + int(parts[12])
        return own.user + own.system + ticks / _TICK


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def taking(bench: Bench, wall: list[float], cpu: list[float], wal: list[float]) -> Iterator[None]:
    before, logged, began = bench.cpu(), bench.wal(), time.perf_counter()
    yield
    wall.append(time.perf_counter() - began)
    wal.append(bench.wal() - logged)
    cpu.append(bench.cpu() - before)


async def mechanism(bench: Bench, case: Timed, size: int, rounds: int) -> list[Line]:
    lines = {what: Line(what, size) for what in bench.statements(size)}
    rng = random.Random(size)
    with psycopg.connect(bench.server.url(bench.database, "agent"), autocommit=True) as plain:
        for number in range(rounds + 1):  # the first warms up
            for what, sql in bench.statements(size).items():
                line = lines[what] if number else Line(what, size)
                for way in rng.sample(["plain", "guarded"], 2):
                    if way == "plain":
                        with taking(bench, line.plain, line.plain_cpu, line.plain_wal):
                            plain.execute(sql.encode())
                        bench.put_back(what, size)
                        continue
                    case.marks.clear()
                    bench.peak()
                    began = time.perf_counter()
                    with taking(bench, line.guarded, line.guarded_cpu, line.guarded_wal):
                        done = await case.call(sql)
                    line.resident.append(bench.peak())
                    for step, took in case.steps(began).items():
                        line.steps.setdefault(step, []).append(took)
                    spooled = done.undo.spooled
                    stored = (spooled.packed or 0) if spooled else len(done.undo.image)
                    line.stored.append(stored / size)
                    began = time.perf_counter()
                    await case.revert(done.undo)
                    line.reverts.append(time.perf_counter() - began)
                    if size >= 1000:
                        bench.admin.execute("VACUUM item")
    return list(lines.values())


def whole(bench: Bench, size: int, rounds: int, folder: Path) -> list[Line]:
    schema = {"DROP": "DROP TABLE gone", "TRUNCATE": "TRUNCATE gone"}
    reads = {"SELECT": f"SELECT id, owner, state FROM item WHERE id <= {min(size, 10_000)}"}
    statements = {**bench.statements(size), **schema, **reads}
    lines = {what: Line(what, size) for what in statements}
    rng = random.Random(size)
    url = bench.server.url(bench.database, OWNER)
    folder.mkdir()
    with (
        served(folder, config(folder, url, bench.server.url(bench.database))) as gateway,
        gateway.agent() as agent,
        gateway.admin() as admin,
        psycopg.connect(url, autocommit=True) as plain,
    ):
        bench.pids.append(gateway.process.pid)
        for number in range(rounds + 1):
            for what, sql in statements.items():
                line = lines[what] if number else Line(what, size)
                for way in rng.sample(["plain", "guarded"], 2):
                    if what in schema:
                        bench.gone(size)
                    if way == "plain":
                        with taking(bench, line.plain, line.plain_cpu, line.plain_wal):
                            cursor = plain.execute(sql.encode())
                            if cursor.description:
                                cursor.fetchall()
                        if what not in reads and what not in schema:
                            bench.put_back(what, size)
                        continue
                    bench.peak()
                    with taking(bench, line.guarded, line.guarded_cpu, line.guarded_wal):
                        _, call = guarded(agent, "bench", sql)
                    line.resident.append(bench.peak())
                    if what not in reads:
                        line.reverts.append(taken_back(admin, call))
                    if size >= 1000 and what not in schema:
                        bench.admin.execute("VACUUM item")
        bench.pids.pop()
    return list(lines.values())


def render(options: argparse.Namespace, bench: Bench, found: dict[str, list[Line]]) -> str:
    flags = f"--rounds {options.rounds} --sizes {options.sizes} --rows {options.rows}"
    flags += " --newest" if options.newest else ""
    (version,) = bench.admin.execute("SHOW server_version").fetchone()
    head = [
        "# What undo costs on PostgreSQL",
        "",
        "Every statement runs plain and guarded in turns, and the table is put back between. The",
        "ratio is the median over the rounds of guarded to plain wall time; CPU is that of the",
        "server's processes, the client's and the gateway's. Stored bytes are those of the",
        "compressed images. `revert` takes the statement back, and captures the way back from it.",
        "Peak MB is the most memory that the gateway's process held (of the mechanism alone: the",
        "process that it runs in, this benchmark's).",
        "",
        f"    python -m benchmarks.postgres {flags} --write",
        "",
        f"PostgreSQL {version}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores,",
        f"Python {platform.python_version()}, fsync on, {options.rounds} rounds,",
        f"{bench.rows:,} rows of {bench.row_bytes} bytes with two indexes, load average "
        f"{os.getloadavg()[0]:.1f}.",
        "",
    ]
    for title, lines in found.items():
        head += table(title, lines)
    return "\n".join([*head, *aims(found[ALONE])]).rstrip() + "\n"


async def run(options: argparse.Namespace, folder: Path) -> str:
    sizes = [int(n) for n in options.sizes.split(",")]
    found: dict[str, list[Line]] = {}
    with PostgresServer.started(newest=options.newest) as server:
        case = Timed(server, server.create_database())
        bench = Bench(server, case.database, options.rows)
        case.grant()
        found[ALONE] = [
            line for size in sizes for line in await mechanism(bench, case, size, options.rounds)
        ]
        await case.close()
        if not options.mechanism:
            bench.close()
            server.drop_database(bench.database)
            bench = Bench(server, prepared_database(server), options.rows)
            bench.admin.execute(f"ALTER TABLE item OWNER TO {OWNER}")
            found["Through the whole gateway"] = [
                line
                for size in sizes
                for line in whole(bench, size, options.rounds, folder / str(size))
            ]
        text = render(options, bench, found)
        bench.close()
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs per row of the table")
    parser.add_argument("--sizes", default="1,1000,100000,1000000", help="rows per statement")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table")
    parser.add_argument("--newest", action="store_true", help="the newest PostgreSQL")
    parser.add_argument("--mechanism", action="store_true", help="not the whole gateway")
    parser.add_argument("--write", action="store_true", help=f"writes {DOCUMENT.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        text = asyncio.run(run(options, Path(name)))
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
