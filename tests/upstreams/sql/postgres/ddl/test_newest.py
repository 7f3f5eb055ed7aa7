"""One change of each kind on the newest server; ``HOLDFAST_NEWEST=1`` runs all of them there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.postgres_ddl import SHOP, SchemaCase, different, prepared_database
from tests.fixtures.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

CHANGES = [
    "DROP TABLE t CASCADE",
    "DROP TABLE parted_1",
    "DROP FUNCTION add(int, int) CASCADE",
    "ALTER TABLE wide DROP COLUMN last",
    "ALTER TABLE t ALTER v SET NOT NULL",
    "CREATE TABLE new(id serial PRIMARY KEY, t int REFERENCES t)",
    "GRANT ALL ON wide TO ddl_reader",
    "SELECT setval('alone', 99)",
    "TRUNCATE parent RESTART IDENTITY CASCADE",
]


async def test_each_kind_comes_back_on_the_newest_server(
    postgres_newest: PostgresServer, tmp_path: Path
) -> None:
    name = prepared_database(postgres_newest, setup=SHOP)
    case = SchemaCase(postgres_newest, tmp_path, database=name)
    try:
        before = case.dump()
        undos = []
        for sql in CHANGES:
            done = await case.call(sql)
            assert (await case.revert(done.undo)).states == ["reverted"], sql
            assert different(before, case.dump()) == [], sql
        for sql in CHANGES[1:4]:
            undos.append((await case.call(sql)).undo)
        changed = case.dump()
        reverted = await case.revert(*reversed(undos))
        assert case.dump() == before
        assert reverted.undo is not None
        assert (await case.revert(reverted.undo)).states == ["reverted"]
        assert sorted(case.dump()) == sorted(changed)
    finally:
        await case.close()
        postgres_newest.drop_database(name)
