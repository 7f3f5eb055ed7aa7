from __future__ import annotations

import pytest

from tests.fixtures.postgres_ddl import SchemaCase, different

pytestmark = pytest.mark.postgres


async def test_what_others_changed_in_quarantine_is_a_conflict(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int)")
    done = await case.call("DROP TABLE a")
    (place,) = done.undo.manifest["parts"][0]["places"]
    case.admin.execute(f"ALTER TABLE {place}.a ADD COLUMN sneaked int")
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], {"changed"})
    case.admin.execute(f"ALTER TABLE {place}.a DROP COLUMN sneaked")
    assert (await case.revert(done.undo)).states == ["reverted"]


async def test_what_was_purged_cannot_come_back(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int)")
    done = await case.call("DROP TABLE a")
    (place,) = done.undo.manifest["parts"][0]["places"]
    case.admin.execute(f"DROP SCHEMA {place} CASCADE")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.states == ["failed"]
    assert reverted.steps[0].reason == "revert.not_revertible"
    assert "purged" in (reverted.steps[0].detail or "")
    assert different(there, case.dump()) == []


async def test_a_place_that_others_filled_stops_the_revert(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int)")
    done = await case.call("DROP TABLE a")
    (place,) = done.undo.manifest["parts"][0]["places"]
    case.admin.execute(f"CREATE TABLE {place}.other(id int)")
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.states == ["failed"]
    assert reverted.steps[0].reason == "revert.schema_changed"
    assert different(there, case.dump()) == []


async def test_a_plan_changes_nothing(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int)")
    done = await case.call("DROP TABLE a")
    there = case.dump()
    assert (await case.revert(done.undo, commit=False)).states == ["reverted"]
    assert different(there, case.dump()) == []


async def test_several_drops_come_back_together_or_not_at_all(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE b(id int REFERENCES a)")
    before = case.dump()
    first = await case.call("DROP TABLE b")
    second = await case.call("DROP TABLE a")
    case.owner.execute("CREATE TABLE b(x int)")
    there = case.dump()
    assert "conflict" in (await case.revert(second.undo, first.undo)).states
    assert different(there, case.dump()) == []
    case.owner.execute("DROP TABLE b")
    assert (await case.revert(second.undo, first.undo)).states == ["reverted", "reverted"]
    assert different(before, case.dump()) == []
