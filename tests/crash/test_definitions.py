"""The process is killed at every step of a change of the schema on MariaDB, which commits by
itself: afterwards the record says truly whether it happened, and what happened can be taken back.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.lifecycle import SETTLED
from gateway.model import Call, EffectState
from gateway.revert import RevertRequest
from tests.crash.bank import Deed, call_of
from tests.crash.gatehouse import Gatehouse, Place, gatehouse
from tests.crash.killing import Killer, run_and_kill
from tests.fixtures.mariadb_server import MariadbServer

SETUP = (
    "DROP DATABASE IF EXISTS holdfast",
    "CREATE TABLE p (id INT PRIMARY KEY)",
    "CREATE TABLE t (id INT PRIMARY KEY, p INT, CONSTRAINT k FOREIGN KEY (p) REFERENCES p (id))",
    "CREATE TABLE u (id INT PRIMARY KEY)",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO t VALUES (1, 1), (2, NULL)",
    "INSERT INTO u VALUES (1), (2)",
)
STEPS = ("walk.captured", "walk.permitted", "mysql.committing", "mysql.announced", "mysql.moved",
         "mysql.committed", "walk.landed")  # fmt: skip
STATEMENTS = ("DROP TABLE t", "TRUNCATE u", "RENAME TABLE t TO other")


def _call(sql: str) -> Call:
    return call_of(1, Deed(sql, 0, None), "bank")


def _tables(server: MariadbServer, database: str) -> list[object]:
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        names = [row[0] for row in cursor.fetchall()]
        found: list[object] = []
        for name in names:
            cursor.execute(f"SHOW CREATE TABLE `{name}`")
            found.append(cursor.fetchone())
            cursor.execute(f"SELECT * FROM `{name}` ORDER BY 1")
            found.append(cursor.fetchall())
        return found


async def _settled(house: Gatehouse) -> EffectState:
    """Asks until the server has noticed that its client is gone."""
    deadline = time.monotonic() + 20
    while True:
        await house.recovery.settle(everything=True)
        record = await house.store.call(_call("").id)
        assert record is not None
        if record.state in SETTLED:
            return record.effect
        assert time.monotonic() < deadline, record.state
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("sql", STATEMENTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_the_truth(
    step: str, sql: str, tmp_path: Path, mariadb_server: MariadbServer
) -> None:
    database = mariadb_server.create_database()
    with mariadb_server.connect(database) as connection, connection.cursor() as cursor:
        for statement in SETUP:
            cursor.execute(statement)
    before = _tables(mariadb_server, database)
    place = Place(tmp_path, mariadb_server.url(database))

    async def child(killer: Killer) -> None:
        async with gatehouse(place, killer) as house:
            await house.pipeline.handle(_call(sql))

    assert run_and_kill(child, Killer(step, 1), tmp_path / "log").killed

    async def recovered() -> EffectState:
        async with gatehouse(place) as house:
            effect = await _settled(house)
            there = _tables(mariadb_server, database)
            assert (effect is EffectState.APPLIED) == (there != before)
            if effect is EffectState.APPLIED:
                order = RevertRequest(target={"call": _call(sql).id}, by="admin")
                assert (await house.reverter.revert(order)).state == "reverted"
            return effect

    effect = asyncio.run(recovered())
    if step in ("walk.captured", "walk.permitted", "mysql.committing", "mysql.announced"):
        assert effect is EffectState.NONE
    else:
        assert effect is EffectState.APPLIED
    assert _tables(mariadb_server, database) == before
    mariadb_server.drop_database(database)
