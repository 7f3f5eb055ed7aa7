"""Calls that changed rows and calls that changed the schema, taken back together."""

from __future__ import annotations

import pytest

from gateway.model import OnConflict, Permit
from gateway.upstreams.sql.mysql.foreseeing import MixedForesight
from tests.fixtures.mariadb_case import Case
from tests.upstreams.sql.mysql.test_defining import T


async def test_what_stands_behind_a_change_of_the_schema_is_looked_at_later(case: Case) -> None:
    case.setup(*T, "CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1), (2)")
    one = await case.call("DELETE FROM t WHERE id = 1")
    two = await case.call("DELETE FROM u WHERE id = 1")
    three = await case.call("DROP TABLE t")
    there = case.dump()
    reverted = await case.revert(three.undo, two.undo, one.undo, commit=False)
    assert reverted.states == ["reverted", "reverted", "reverted"]
    assert [step.detail is None for step in reverted.steps] == [True, True, False]
    assert case.dump() == there
    case.run("INSERT INTO u VALUES (1)")
    found = await case.revert(three.undo, two.undo, one.undo, commit=False)
    assert found.states == ["reverted", "conflict", "reverted"]
    case.run("CREATE TABLE t (id INT)")
    found = await case.revert(three.undo, two.undo, one.undo, commit=False)
    assert found.states[0] == "conflict"
    case.run("DROP TABLE t")
    for undo, state in ((three.undo, "reverted"), (two.undo, "conflict"), (one.undo, "reverted")):
        assert (await case.revert(undo)).states == [state]


async def test_it_only_looks(case: Case) -> None:
    case.setup(*T)
    one = await case.call("DELETE FROM t WHERE id = 1")
    two = await case.call("ALTER TABLE t ADD COLUMN x INT")
    assert two.undo.alone
    assert not one.undo.alone
    call = case.request("revert")
    undos = [("b", two.undo), ("a", one.undo)]
    async with case.source.unwind(call, undos, OnConflict.ABORT) as unwinding:
        assert isinstance(unwinding, MixedForesight)
        with pytest.raises(TypeError):
            await unwinding.capture()
        with pytest.raises(TypeError):
            await unwinding.commit(Permit.issue(call.id, 1))
