"""What is captured of a call is what an independent log by triggers says it did, while others write
to the same table.

``HOLDFAST_TRANSACTIONS`` calls (30 by default).
"""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator, Iterator

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.images import unpack
from tests.fixtures.mariadb_case import Case, Done, Refused
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.options import size

CALLS = size("transactions", 30)
ROWS = 60
Pair = tuple[tuple[int, ...] | None, tuple[int, ...] | None]
_AGENTS = "FROM DUAL WHERE USER() LIKE 'agent@%'"  # what others do is no business of the log
SETUP = (
    "CREATE TABLE t (id INT PRIMARY KEY, v INT, KEY (v))",
    "CREATE TABLE log (id BIGINT AUTO_INCREMENT PRIMARY KEY, was INT, was_v INT, is_ INT, "
    "is_v INT)",
    "CREATE TRIGGER i AFTER INSERT ON t FOR EACH ROW INSERT INTO log (is_, is_v) "
    f"SELECT NEW.id, NEW.v {_AGENTS}",
    "CREATE TRIGGER u AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (was, was_v, is_, is_v) "
    f"SELECT OLD.id, OLD.v, NEW.id, NEW.v {_AGENTS}",
    "CREATE TRIGGER d AFTER DELETE ON t FOR EACH ROW INSERT INTO log (was, was_v) "
    f"SELECT OLD.id, OLD.v {_AGENTS}",
    f"INSERT INTO t SELECT seq, seq % 7 FROM seq_1_to_{ROWS}",
)


def statement(rng: random.Random) -> str:
    id, v = rng.randint(1, ROWS), rng.randint(0, 9)
    return rng.choice(
        (
            f"UPDATE t SET v = {v} WHERE id = {id}",
            f"UPDATE t SET v = v + 1 WHERE id BETWEEN {id} AND {id + 5}",
            f"DELETE FROM t WHERE id = {id}",
            f"REPLACE INTO t VALUES ({id}, {v}), ({id + 1}, {v})",
            f"INSERT IGNORE INTO t VALUES ({id}, {v}), ({id + 2}, {v})",
            f"INSERT INTO t VALUES ({id}, {v}) ON DUPLICATE KEY UPDATE v = v + 1",
        )
    )


class Others:
    """Three threads that write all the time."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._stop = threading.Event()
        self.done = 0
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(3)]

    def __enter__(self) -> Others:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, seed: int) -> None:
        rng = random.Random(seed)
        with self._case.connection() as connection, connection.cursor() as cursor:
            while not self._stop.is_set():
                try:
                    cursor.execute(statement(rng))
                    self.done += 1
                except pymysql.Error:
                    continue  # a deadlock or a wait that took too long
                self._stop.wait(0.005)


@pytest.fixture
def database(each_mysql: MariadbServer) -> Iterator[str]:
    name = each_mysql.create_database()
    yield name
    each_mysql.drop_database(name)


@pytest.fixture
async def case(each_mysql: MariadbServer, database: str) -> AsyncIterator[Case]:
    case = Case(each_mysql, database)
    case.setup(*SETUP)
    yield case
    await case.close()


def captured(case: Case, done: Done) -> dict[int, Pair]:
    found: dict[int, Pair] = {}
    for image in unpack(done.undo, case.source._spooler.read(done.undo)):
        if image.table.name == "t":
            for change in image.changes:
                before, after = (
                    None if row is None else tuple(int(cell or 0) for cell in row)
                    for row in (change.before, change.after)
                )
                some = before or after
                assert some is not None
                found[some[0]] = (before, after)
    return found


def logged(case: Case, since: int) -> tuple[dict[int, Pair], int]:
    """Net of the lines after ``since``, by key."""
    first: dict[int, tuple[int, ...] | None] = {}
    last: dict[int, tuple[int, ...] | None] = {}
    lines = case.run(f"SELECT * FROM log WHERE id > {since} ORDER BY id")
    for _, was, was_v, is_, is_v in lines:
        before = None if was is None else (was, was_v)
        after = None if is_ is None else (is_, is_v)
        key = was if was is not None else is_
        first.setdefault(key, before)
        last[key] = after
    net = {key: (first[key], last[key]) for key in first if first[key] != last[key]}
    return net, max([since, *(line[0] for line in lines)])


@pytest.mark.timeout(1200)
async def test_images_are_what_a_log_of_triggers_says(case: Case) -> None:
    rng = random.Random(7)
    since, compared = 0, 0
    with Others(case) as others:
        for _ in range(CALLS * 20):
            try:
                done = await case.call(statement(rng))
            except (UpstreamError, Refused):
                continue  # a lock was not to be had in time
            net, since = logged(case, since)
            images = captured(case, done) if done.undo.spooled is not None else {}
            assert images == net
            compared += 1
            if compared == CALLS:
                break
    assert compared == CALLS
    assert others.done > CALLS
