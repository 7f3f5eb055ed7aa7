"""Captured images among concurrent writers, against an independent row-trigger log.

``HOLDFAST_CASES`` sets the number of agents' transactions that are compared; those that met a lock
or a foreign key of another writer come on top.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from gateway.errors import UpstreamError
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer

CALLS = int(os.environ.get("HOLDFAST_CASES") or 300)

_TRUTH = """
CREATE TABLE p(id int PRIMARY KEY, n int);
CREATE TABLE t(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, v text);
CREATE TABLE truth(xid text, t name, old text, new text);
INSERT INTO p SELECT i, 0 FROM generate_series(1, 30) i;
INSERT INTO t SELECT i, 1 + i % 30, 'v' FROM generate_series(1, 120) i;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO truth VALUES (pg_current_xact_id()::text, TG_TABLE_NAME, OLD::text, NEW::text);
  RETURN NULL; END $$;
CREATE TRIGGER n AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER n AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION note();
"""


@pytest.fixture
async def case(postgres_server: PostgresServer) -> AsyncIterator[Case]:
    database = postgres_server.create_database()
    case = Case(postgres_server, database)
    yield case
    await case.close()
    postgres_server.drop_database(database)


def _write(url: str, seed: int, stop: threading.Event) -> int:
    """One of the others: updates, inserts that lock parents, rolled back savepoints."""
    choose = random.Random(seed)
    done = 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '200ms'; SET deadlock_timeout = '50ms'")
        while not stop.is_set():
            try:
                with connection.transaction():
                    row = choose.randint(1, 120)
                    connection.execute("UPDATE t SET v = v || 'w' WHERE id = %s", (row,))
                    with connection.transaction() as inner:
                        connection.execute("UPDATE p SET n = n + 1 WHERE id = %s", (row % 30 + 1,))
                        if choose.random() < 0.5:
                            raise psycopg.Rollback(inner)
                    connection.execute(
                        "INSERT INTO t SELECT %s, id, 'new' FROM p WHERE id = %s FOR KEY SHARE "
                        "ON CONFLICT (id) DO NOTHING",
                        (choose.randint(200, 5000), choose.randint(1, 30)),
                    )
                done += 1
            except (psycopg.errors.OperationalError, psycopg.errors.IntegrityError):
                continue
    return done


def _nets(rows: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    nets: dict[str, Counter[str]] = {}
    for row in rows:
        net = nets.setdefault(row["resource"].partition(".")[2], Counter())
        for sign, side in ((1, "after"), (-1, "before")):
            if row[side] is not None:
                net[json.dumps(list(row[side].values()))] += sign
    return {t: Counter({k: v for k, v in net.items() if v}) for t, net in nets.items()}


async def test_captures_among_other_writers_match_an_independent_log(case: Case) -> None:
    case.setup(_TRUTH)
    stop = threading.Event()
    url = case.server.url(case.database)
    choose = random.Random(5)
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(_write, url, seed, stop) for seed in range(3)]
        try:
            checked = tried = 0
            while checked < CALLS and tried < CALLS * 10:
                checked += await _agrees_with_log(case, choose)
                tried += 1
        finally:
            stop.set()
        assert all(writer.result() > 0 for writer in writers)
    assert checked == CALLS


async def _agrees_with_log(case: Case, choose: random.Random) -> int:
    row = choose.randint(1, 120)
    texts = choose.choice(
        [
            (f"DELETE FROM t WHERE id BETWEEN {row} AND {row + 3}",),
            (f"UPDATE t SET v = 'a' WHERE id BETWEEN {row} AND {row + 5}",),
            (f"UPDATE t SET v = 'a' WHERE id = {row}", f"UPDATE t SET v = 'b' WHERE id = {row}"),
            (f"INSERT INTO t VALUES ({row + 10000}, 1, 'x') ON CONFLICT (id) DO UPDATE SET "
             "v = 'y'",),
            (f"DELETE FROM p WHERE id = {row % 30 + 1}",),
            (f"INSERT INTO p VALUES ({row % 30 + 1}, 0) ON CONFLICT DO NOTHING",),
        ]
    )  # fmt: skip
    try:
        done = await case.call(*texts)
    except UpstreamError as error:
        if error.extra.get("sqlstate") not in ("55P03", "40P01", "23503"):
            raise
        return 0
    for table, net in _nets(await case.shown(done.undo)).items():
        if table != "truth":
            assert net == _logged(case, done.receipt, table)
    return 1


def _logged(case: Case, xid: str, table: str) -> Counter[str]:
    net: Counter[str] = Counter()
    columns = "x.id::text, x.n::text" if table == "p" else "x.id::text, x.p::text, x.v"
    for sign, side in ((1, "new"), (-1, "old")):
        for (row,) in case.admin.execute(
            f"SELECT ARRAY[{columns}] FROM truth, LATERAL (SELECT ({side}::{table}).*) AS x "
            f"WHERE xid = %s AND t = %s AND {side} IS NOT NULL",
            (xid, table),
        ):
            net[json.dumps(row)] += sign
    return Counter({k: v for k, v in net.items() if v})
