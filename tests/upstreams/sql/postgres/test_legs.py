"""Reverts of rows and schema together, taken back in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import ImageDamaged
from gateway.model import OnConflict, Reversibility, Undo
from gateway.upstreams.sql.postgres.legs import KIND, legs_of, shown
from tests.fixtures.postgres_ddl import SchemaCase, different
from tests.fixtures.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

SETUP = """
CREATE TABLE a(id int PRIMARY KEY, v text, n numeric);
CREATE TABLE b(v int, w regclass); INSERT INTO b VALUES (1, 'a'), (1, 'a');
CREATE SEQUENCE s;
INSERT INTO a SELECT i, 'v' || i, i * 1.50 FROM generate_series(1, 9) i;
"""
CHAIN = [
    "UPDATE a SET v = v || '!', n = n + 1 WHERE id < 6",
    "ALTER TABLE a DROP COLUMN n",
    "DELETE FROM a WHERE id = 4",
    "DELETE FROM b",
    "SELECT setval('s', 40)",
    "INSERT INTO b VALUES (7, 'b'), (7, 'b')",
    "ALTER TABLE b RENAME TO c",
    "CREATE TABLE made(id int)",
    "INSERT INTO made SELECT generate_series(1, 3)",
    "SELECT setval('s', 50)",
    "TRUNCATE a",
    "INSERT INTO a VALUES (4, 'new')",
]


@pytest.fixture
async def case(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[SchemaCase]:
    case = SchemaCase(postgres_server, tmp_path)
    yield case
    await case.close()


async def chained(case: SchemaCase) -> list[Undo]:
    case.setup(SETUP)
    return [(await case.call(sql)).undo for sql in CHAIN][::-1]


async def test_a_revert_of_rows_and_schema_is_taken_back_and_that_as_well(case: SchemaCase) -> None:
    undos = await chained(case)
    after = case.dump()
    reverted = await case.revert(*undos)
    assert set(reverted.states) == {"reverted"}, reverted.steps
    before = case.dump()
    undo = reverted.undo
    for expected in (after, before, after):
        assert undo is not None
        assert (undo.kind, undo.reversibility) == (KIND, Reversibility.EXACT)
        again = await case.revert(undo)
        assert again.states == ["reverted"], again.steps
        assert different(expected, case.dump()) == []
        undo = again.undo


async def test_what_others_touched_since_keeps_the_whole_of_it_back(case: SchemaCase) -> None:
    undos = await chained(case)
    reverted = await case.revert(*undos)
    assert reverted.undo is not None
    case.owner.execute("UPDATE a SET v = 'theirs' WHERE id = 1")
    there = case.dump()
    for mode in (OnConflict.ABORT, OnConflict.SKIP):
        again = await case.revert(reverted.undo, mode=mode)
        assert again.states == ["conflict"]
        assert different(there, case.dump()) == []
    case.owner.execute("UPDATE a SET v = 'v1' WHERE id = 1")
    assert (await case.revert(reverted.undo)).states == ["reverted"]


async def test_people_see_rows_and_schema_of_it(case: SchemaCase) -> None:
    undos = await chained(case)
    reverted = await case.revert(*undos)
    assert reverted.undo is not None
    schema = shown(reverted.undo)
    everything = await case.upstream.images(reverted.undo, offset=0, limit=1000)
    assert everything[: len(schema)] == schema
    rows = everything[len(schema) :]
    assert {"public.a", "public.b", "public.made"} <= {str(row["resource"]) for row in rows}
    for start in range(0, len(everything), 7):
        page = await case.upstream.images(reverted.undo, offset=start, limit=7)
        assert page == everything[start : start + 7]


async def test_a_record_that_cannot_be_read_is_damaged(case: SchemaCase) -> None:
    reverted = await case.revert(*await chained(case))
    undo = reverted.undo
    assert undo is not None
    assert len(legs_of(undo)) == len([s for s in CHAIN if "setval" not in s])
    for manifest in ({}, {**undo.manifest, "legs": [{}]}, {**undo.manifest, "format": "x"}):
        with pytest.raises(ImageDamaged):
            legs_of(replace(undo, manifest=manifest))
