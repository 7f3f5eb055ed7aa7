"""The way back of schema changes and TRUNCATEs, tried in the agent's transaction where policy
demands it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Action, Deny, Permit, Undo
from gateway.upstreams.sql.postgres.attempt import PostgresAttempt
from tests.fixtures.postgres_ddl import SchemaCase, different

pytestmark = pytest.mark.postgres

CHANGES = [
    "DROP TABLE child",
    "DROP TABLE t CASCADE",
    "DROP SCHEMA box CASCADE",
    "DROP FUNCTION add(int, int) CASCADE",
    "ALTER TABLE wide DROP COLUMN last",
    "ALTER TABLE t RENAME TO renamed",
    "CREATE TABLE new AS SELECT * FROM t",
    "GRANT INSERT ON wide TO PUBLIC, ddl_reader",
    "SELECT setval('alone', 99)",
    "TRUNCATE borrower, wide",
    "TRUNCATE child RESTART IDENTITY",
]


async def rehearsed(case: SchemaCase, sql: str, spoil: Any = None) -> tuple[Deny | None, Undo]:
    """What the rehearsal says, and the undo of the call, which commits all the same."""
    call = case.call_of(sql)
    action = await case.upstream.parse(call)
    assert isinstance(action, Action), action
    async with case.upstream.attempt(call, action) as attempt:
        assert isinstance(attempt, PostgresAttempt)
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny), captured
        if spoil is not None:
            attempt._undo = spoil(captured.undo)
        said = await attempt.rehearse(demanded=True)
        async with case.images.placing(captured.undo) as stored:
            await attempt.commit(Permit.issue(call.id, 1))
    return said, replace(captured.undo, image=b"", spooled=stored)


@pytest.mark.parametrize("sql", CHANGES)
async def test_a_rehearsal_leaves_the_change_and_its_way_back_as_they_were(
    shop: SchemaCase, sql: str
) -> None:
    before = shop.dump()
    said, undo = await rehearsed(shop, sql)
    assert said is None
    assert shop.dump() != before
    assert (await shop.revert(undo)).states == ["reverted"]
    assert different(before, shop.dump()) == []


async def test_what_would_not_come_back_is_refused(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'x')")

    def lost(undo: Undo) -> Undo:
        (part,) = undo.manifest["parts"]
        return replace(undo, manifest={**undo.manifest, "parts": [{**part, "undo": []}]})

    said, _ = await rehearsed(case, "ALTER TABLE a ALTER v SET DEFAULT 'd'", lost)
    assert isinstance(said, Deny)
    assert said.reason == "undo.inexact"
    assert "did not come back as it was" in said.detail


async def test_where_triggers_would_run_a_truncate_cannot_be_rehearsed(case: SchemaCase) -> None:
    case.setup(
        "CREATE TABLE a(id int PRIMARY KEY); INSERT INTO a VALUES (1);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER g BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()"
    )
    said, _ = await rehearsed(case, "TRUNCATE a")
    assert isinstance(said, Deny)
    assert said.reason == "undo.unavailable"
