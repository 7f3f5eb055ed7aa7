"""The process is killed (SIGKILL) at every step of schema changes and of their reverts over a real
PostgreSQL. After recovery everything that landed can be taken back, and the whole dump is that of
before: nothing was committed without its undo, and no half revert stays.

``HOLDFAST_SEEDS`` seeds per step (1 by default).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from gateway.lifecycle import SETTLED
from gateway.model import EffectState
from gateway.revert import RevertRequest
from gateway.upstreams.sql.postgres.preparing import preparations
from tests.crash.bank import Deed, call_of
from tests.crash.gatehouse import Gatehouse, Place, gatehouse
from tests.crash.killing import Killer, run_and_kill
from tests.fixtures.options import size
from tests.fixtures.postgres_ddl import sorted_rows
from tests.fixtures.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

SEEDS = size("seeds", 1)
SCHEMA = """
CREATE TABLE parent(id int PRIMARY KEY, name text);
CREATE TABLE child(id serial PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE, v text);
CREATE TABLE other(id int PRIMARY KEY, a text, b numeric);
CREATE VIEW seen AS SELECT * FROM child;
INSERT INTO parent SELECT i, 'p' || i FROM generate_series(1, 9) i;
INSERT INTO child(parent, v) SELECT 1 + i % 9, 'c' || i FROM generate_series(1, 30) i;
INSERT INTO other SELECT i, 'a' || i, i * 1.50 FROM generate_series(1, 9) i;
"""
CHANGES = (
    "DROP TABLE other",
    "DROP VIEW seen",
    "DROP TABLE parent CASCADE",
    "DROP TABLE child CASCADE",
    "TRUNCATE child RESTART IDENTITY",
    "TRUNCATE parent CASCADE",
    "ALTER TABLE other DROP COLUMN b",
    "ALTER TABLE parent ADD COLUMN more int DEFAULT 3",
    "ALTER TABLE parent RENAME TO elders",
    "CREATE TABLE made AS SELECT * FROM other",
    "CREATE INDEX by_v ON child (v)",
)
STEPS = (
    "walk.intended",
    "walk.begun",
    "postgres.schema.changed",
    "postgres.ran",
    "walk.ran",
    "postgres.captured",
    "walk.captured",
    "walk.permitted",
    "postgres.committing",
    "postgres.committed",
    "walk.landed",
    "walk.settled",
)
BACK = (
    "back.begun",
    "postgres.schema.back",
    "postgres.unwound",
    "back.captured",
    "back.permitted",
    "postgres.unwind.committing",
    "postgres.unwind.committed",
    "back.settled",
)


@dataclass(frozen=True)
class Bank:
    server: PostgresServer
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def dump(self) -> list[str]:
        out = subprocess.run(
            [self.server.programs / "pg_dump", "--exclude-schema=holdfast*", "--dbname", self.url],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        return sorted_rows(out.stdout)


@pytest.fixture
def bank(postgres_server: PostgresServer) -> Iterator[Bank]:
    name = postgres_server.create_database()
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        connection.execute(SCHEMA)
        for one in preparations(agents="postgres", capture="postgres", database=name):
            connection.execute(one.statement.encode())
    yield Bank(postgres_server, name)
    postgres_server.drop_database(name)


async def work(house: Gatehouse, plan: list[str], *, back: bool) -> None:
    for number, sql in enumerate(plan):
        await house.pipeline.handle(call_of(number, Deed(sql, 0, None), "bank"))
    if back:
        await house.reverter.revert(RevertRequest(target={"session": "crash"}, by="admin"))


async def recovered(place: Place) -> None:
    """In a new process: everything is settled, and what landed is taken back."""
    async with gatehouse(place) as house:
        await house.recovery.settle(everything=True)
        for job in await house.reverter.resume():
            assert job.state == "reverted", job.steps
        records, _ = await house.store.calls(limit=1000)
        assert all(record.state in SETTLED for record in records)
        left = [
            record
            for record in records
            if record.effect is EffectState.APPLIED
            and record.reverted_by is None
            and not record.call.reverts
        ]
        if left:
            request = RevertRequest(target={"session": "crash"}, by="admin")
            job = await house.reverter.revert(request)
            assert job.state == "reverted", job.steps


def one_case(bank: Bank, folder: Path, step: str, seed: int) -> bool:
    rng = random.Random(seed)
    plan = rng.sample(CHANGES, 3)
    back = step in BACK
    before = bank.dump()
    folder.mkdir()
    place = Place(folder, bank.url)

    async def child(killer: Killer) -> None:
        async with gatehouse(place, killer) as house:
            await work(house, plan, back=back)

    nth = 1 if back else rng.randint(1, 2)
    ended = run_and_kill(child, Killer(step, nth), folder / "log")
    asyncio.run(recovered(place))
    assert bank.dump() == before, plan
    return ended.killed


@pytest.mark.parametrize("step", [*STEPS, *BACK])
def test_a_kill_between_two_steps_leaves_nothing_half_done(
    step: str, bank: Bank, tmp_path: Path
) -> None:
    killed = sum(one_case(bank, tmp_path / str(seed), step, seed) for seed in range(SEEDS))
    assert killed >= SEEDS * 0.6, "the step is hardly ever reached"
