"""Values in columns that a call added: they are nobody's to lose."""

from __future__ import annotations

import pytest

from gateway.model import OnConflict, Reversibility
from tests.fixtures.postgres_ddl import SchemaCase, different

pytestmark = pytest.mark.postgres

SETUP = "CREATE TABLE a(id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'x'), (2, 'y');"


@pytest.mark.parametrize("column", ["n int", "n int DEFAULT 7", "n text NOT NULL DEFAULT 'd'"])
async def test_a_column_that_was_added_comes_back_with_its_values(
    case: SchemaCase, column: str
) -> None:
    case.setup(SETUP + "CREATE TABLE bag(v int); INSERT INTO bag VALUES (1), (1)")
    for table in ("a", "bag"):
        before = case.dump()
        done = await case.call(f"ALTER TABLE {table} ADD COLUMN {column}")
        added = case.dump()
        reverted = await case.revert(done.undo)
        assert different(before, case.dump()) == []
        assert reverted.undo is not None
        assert reverted.undo.reversibility is Reversibility.EXACT
        assert (await case.revert(reverted.undo)).states == ["reverted"]
        assert different(added, case.dump()) == []


async def test_what_others_wrote_into_it_is_a_conflict_and_kept_where_it_is_forced(
    case: SchemaCase,
) -> None:
    case.setup(SETUP)
    done = await case.call("ALTER TABLE a ADD COLUMN n int DEFAULT 7")
    case.owner.execute("UPDATE a SET n = 9 WHERE id = 2")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], {"changed"})
    (conflict,) = reverted.steps[0].conflicts
    assert (conflict.resource, conflict.key, conflict.now) == (
        "public.a", {"column": "n"}, {"rows": 1}
    )  # fmt: skip
    assert different(there, case.dump()) == []
    forced = await case.revert(done.undo, mode=OnConflict.FORCE)
    assert forced.states == ["reverted"]
    assert forced.undo is not None
    again = await case.revert(forced.undo)
    assert again.states == ["reverted"], again.steps
    assert different(there, case.dump()) == []
    assert again.undo is not None
    assert (await case.revert(again.undo)).states == ["reverted"]


async def test_values_that_have_no_key_cannot_be_had_again_and_that_is_said(
    case: SchemaCase,
) -> None:
    case.setup("CREATE TABLE bag(v int); INSERT INTO bag VALUES (1), (1)")
    done = await case.call("ALTER TABLE bag ADD COLUMN n float DEFAULT random()")
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"], reverted.steps
    assert reverted.undo is not None
    assert reverted.undo.reversibility is Reversibility.IRREVERSIBLE
