"""The mechanism on MariaDB or MySQL alone: a guarded statement against the plain one, in turns, and
the way back. The gateway around it (HTTP, policy, audit) is what ``benchmarks.sql`` measures.

    python -m benchmarks.mariadb [ROUNDS] [ROWS] [mysql]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.mariadb_case import Case, Done
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.mysql_server import MysqlServer

SIZES = (1, 1_000, 100_000)
SETUP = (
    "CREATE TABLE t (id INT PRIMARY KEY, owner INT, state VARCHAR(20), body VARCHAR(200))",
    "CREATE TABLE spare LIKE t",
    "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, v INT, FOREIGN KEY (p) REFERENCES p (id) "
    "ON DELETE CASCADE)",
)
RESTORE = (
    "SET foreign_key_checks = 0",
    "TRUNCATE t",
    "INSERT INTO t SELECT * FROM spare",
    "SET foreign_key_checks = 1",
)


async def timed(act: Callable[[], Awaitable[object]]) -> tuple[float, object]:
    began = time.perf_counter()
    found = await act()
    return (time.perf_counter() - began) * 1000, found


def plain(case: Case, sql: str) -> float:
    began = time.perf_counter()
    case.run(sql)
    return (time.perf_counter() - began) * 1000


async def measure(case: Case, name: str, sql: str, back: str, rounds: int) -> None:
    direct, guarded, reverts = [], [], []
    for number in range(rounds + 1):  # the first warms up and is not counted
        took = plain(case, sql)
        case.run(back)
        guard, done = await timed(lambda: case.call(sql))
        assert isinstance(done, Done)
        revert, _ = await timed(lambda done=done: case.revert(done.undo))
        if number:
            direct.append(took)
            guarded.append(guard)
            reverts.append(revert)
    ratio = statistics.median(g / d for g, d in zip(guarded, direct, strict=True))
    low, mid, again = map(statistics.median, (direct, guarded, reverts))
    print(f"| {name} | {low:.2f} | {mid:.2f} | {ratio:.2f} | {again:.2f} |", flush=True)


async def main(rounds: int, most: int, kind: type[MariadbServer]) -> None:
    with kind.started() as server:
        limits = SqlLimits(max_capture_rows=2_000_000)
        case = Case(server, server.create_database(), limits=limits)
        case.setup(*SETUP)
        case.run(
            f"INSERT INTO spare SELECT seq, seq % 997, 'open', LPAD(seq, 140, '0') "
            f"FROM seq_0_to_{most * 2}"
        )
        for statement in RESTORE:
            case.run(statement)
        case.run("INSERT INTO p SELECT seq, 0 FROM seq_0_to_9999")
        case.run("INSERT INTO c SELECT seq, seq % 10000, 0 FROM seq_0_to_49999")
        print(
            "| statement | plain ms | guarded ms | ratio | revert ms |\n|---|---:|---:|---:|---:|"
        )
        for size in (s for s in SIZES if s <= most):
            below = f"id < {size}"
            again = f"INSERT INTO t SELECT * FROM spare WHERE {below}"
            await measure(case, f"DELETE {size}", f"DELETE FROM t WHERE {below}", again, rounds)
            await measure(
                case, f"UPDATE {size}", f"UPDATE t SET owner = owner + 1 WHERE {below}",
                f"UPDATE t SET owner = owner - 1 WHERE {below}", rounds,
            )  # fmt: skip
        await measure(
            case, "INSERT 1", "INSERT INTO t VALUES (-1, 0, 'x', 'x')",
            "DELETE FROM t WHERE id = -1", rounds,
        )  # fmt: skip
        await measure(
            case, "DELETE 1 with 5 children", "DELETE FROM p WHERE id = 5",
            "INSERT INTO p VALUES (5, 0)", rounds,
        )  # fmt: skip
        await measure(case, "TRUNCATE", "TRUNCATE t", "INSERT INTO t SELECT * FROM spare", 1)
        await measure(case, "DROP", "DROP TABLE t", "CREATE TABLE t LIKE spare", 1)
        await case.close()


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    asyncio.run(main(rounds, most, MysqlServer if "mysql" in sys.argv[3:] else MariadbServer))
