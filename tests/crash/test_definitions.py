"""The process is killed at every step of a change of the schema on MariaDB, which commits by
itself: afterwards the record says truly whether it happened, and what happened can be taken back.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from gateway.lifecycle import SETTLED
from gateway.model import Call, EffectState, OnConflict
from gateway.revert import RevertRequest
from tests.crash.bank import Deed, call_of
from tests.crash.gatehouse import Gatehouse, Place, gatehouse
from tests.crash.killing import Killer, run_and_kill
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.options import size

SETUP = (
    "DROP DATABASE IF EXISTS holdfast",
    "CREATE TABLE p (id INT PRIMARY KEY)",
    "CREATE TABLE t (id INT PRIMARY KEY, p INT, CONSTRAINT k FOREIGN KEY (p) REFERENCES p (id))",
    "CREATE TABLE u (id INT PRIMARY KEY)",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO t VALUES (1, 1), (2, NULL)",
    "INSERT INTO u VALUES (1), (2)",
)
# On MySQL, foreign keys keep their tables from being changed.
ALONE = tuple(
    statement.replace(", CONSTRAINT k FOREIGN KEY (p) REFERENCES p (id)", "") for statement in SETUP
)
STEPS = ("walk.captured", "walk.permitted", "mysql.committing", "mysql.announced", "mysql.moved",
         "mysql.committed", "walk.landed")  # fmt: skip
STATEMENTS = ("DROP TABLE t", "TRUNCATE u", "RENAME TABLE t TO other")
ALTERED = ("ALTER TABLE t ADD COLUMN x INT", "ALTER TABLE u MODIFY id VARCHAR(20)")
CASES = [(step, sql) for sql in STATEMENTS for step in STEPS]
CASES += [(step, sql) for sql in ALTERED for step in ("mysql.announced", "mysql.moved")]
CASES += [("mysql.locked", ALTERED[1])]
SESSION = ("UPDATE u SET id = id + 10", "ALTER TABLE u MODIFY id VARCHAR(20)", "DELETE FROM u",
           "CREATE INDEX i ON t (p, id)", "DELETE FROM t WHERE id = 1", "DROP TABLE t")  # fmt: skip
BACK = ("back.begun", "back.permitted", "mysql.announced", "mysql.moved",
        "mysql.unwind.committing", "mysql.unwind.committed", "back.settled")  # fmt: skip
SEEDS = size("seeds", 1)


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


@pytest.mark.parametrize(("step", "sql"), CASES)
def test_a_kill_leaves_the_truth(
    step: str, sql: str, tmp_path: Path, each_mysql: MariadbServer
) -> None:
    database = each_mysql.create_database()
    with each_mysql.connect(database) as connection, connection.cursor() as cursor:
        for statement in ALONE if each_mysql.kind == "mysql" else SETUP:
            cursor.execute(statement)
    before = _tables(each_mysql, database)
    place = Place(tmp_path, each_mysql.url(database))

    async def child(killer: Killer) -> None:
        async with gatehouse(place, killer) as house:
            await house.pipeline.handle(_call(sql))

    assert run_and_kill(child, Killer(step, 1), tmp_path / "log").killed

    async def recovered() -> EffectState:
        async with gatehouse(place) as house:
            effect = await _settled(house)
            there = _tables(each_mysql, database)
            assert (effect is EffectState.APPLIED) == (there != before)
            if effect is EffectState.APPLIED:
                # Cut off before the checksum of its rows was kept: whether somebody wrote to the
                # table since cannot be told, so a person has to say so.
                blind = (step, sql) == ("mysql.moved", ALTERED[1])
                mode = OnConflict.FORCE if blind else OnConflict.ABORT
                order = RevertRequest(target={"call": _call(sql).id}, by="admin", on_conflict=mode)
                assert (await house.reverter.revert(order)).state == "reverted"
            return effect

    effect = asyncio.run(recovered())
    before_it = ("walk.captured", "walk.permitted", "mysql.committing", "mysql.announced")
    if step in (*before_it, "mysql.locked"):
        assert effect is EffectState.NONE
    else:
        assert effect is EffectState.APPLIED
    assert _tables(each_mysql, database) == before
    each_mysql.drop_database(database)


@pytest.mark.parametrize("step", BACK)
def test_a_session_of_rows_and_schema_goes_on_where_a_kill_cut_its_way_back(
    step: str, tmp_path: Path, each_mysql: MariadbServer
) -> None:
    for seed in range(SEEDS):
        nth = random.Random(seed).randint(1, 3)
        before, killed, now = _session_case(step, nth, tmp_path / str(seed), each_mysql)
        assert killed
        assert now == before


def _session_case(
    step: str, nth: int, folder: Path, each_mysql: MariadbServer
) -> tuple[object, bool, object]:
    """The tables before the session; whether its way back was killed; the tables after all."""
    folder.mkdir()
    database = each_mysql.create_database()
    with each_mysql.connect(database) as connection, connection.cursor() as cursor:
        for statement in ALONE if each_mysql.kind == "mysql" else SETUP:
            cursor.execute(statement)
    before = _tables(each_mysql, database)
    place = Place(folder, each_mysql.url(database))
    request = RevertRequest(target={"session": "crash"}, by="admin")

    async def work() -> None:
        async with gatehouse(place) as house:
            for number, sql in enumerate(SESSION):
                done = await house.pipeline.handle(call_of(number, Deed(sql, 0, None), "bank"))
                assert done.effect is EffectState.APPLIED, done

    async def back(killer: Killer) -> None:
        async with gatehouse(place, killer) as house:
            await house.reverter.revert(request)

    async def recovered() -> None:
        async with gatehouse(place) as house:
            deadline = time.monotonic() + 20
            while True:
                await house.recovery.settle(everything=True)
                records, _ = await house.store.calls(limit=100)
                if all(record.state in SETTLED for record in records):
                    break
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            for job in await house.reverter.resume():
                assert job.state == "reverted", job.steps

    asyncio.run(work())
    assert _tables(each_mysql, database) != before
    killed = run_and_kill(back, Killer(step, nth), folder / "log").killed
    asyncio.run(recovered())
    now = _tables(each_mysql, database)
    each_mysql.drop_database(database)
    return before, killed, now
