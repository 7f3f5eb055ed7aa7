"""The images of a revert that went straight back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.upstreams.sql.postgres.capture import Capture
from gateway.upstreams.sql.postgres.comparing import Met
from tests.fixtures.postgres_case import Case

_T = """
CREATE TABLE t(id int PRIMARY KEY, v text);
CREATE TABLE u(id int PRIMARY KEY, v text);
INSERT INTO t SELECT i, repeat('v', 100) || i FROM generate_series(1, 3000) i;
INSERT INTO u SELECT i, 'u' || i FROM generate_series(1, 3) i;
"""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes when the images of a revert are read from the tables."""
    captures: list[str] = []
    real = Capture._images

    def noted(self: Capture, *args: Any) -> Any:
        captures.append("read")
        return real(self, *args)

    monkeypatch.setattr(Capture, "_images", noted)
    return captures


async def test_the_images_of_the_call_are_turned_round(case: Case, read: list[str]) -> None:
    case.setup(_T)
    done = await case.call("UPDATE t SET v = 'x'", "DELETE FROM u")
    shown = [(row["key"], row["before"], row["after"]) for row in await case.shown(done.undo)]
    reverted = await case.revert(done.undo)
    assert reverted.undo is not None
    turned = [(row["key"], row["after"], row["before"]) for row in await case.shown(reverted.undo)]
    assert sorted(turned, key=str) == sorted(shown, key=str)
    assert read == ["read"]  # those of the call


async def test_counters_that_tell_of_more_are_believed(
    case: Case, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case.setup(_T)
    before = case.dump()
    done = await case.call("DELETE FROM u WHERE id < 3")
    after = case.dump()
    real = Met.__init__

    def fewer(self: Met, *, inserted: int, updated: int, deleted: int) -> None:
        real(self, inserted=inserted - 1, updated=updated, deleted=deleted)

    monkeypatch.setattr(Met, "__init__", fewer)
    reverted = await case.revert(done.undo)
    assert read == ["read", "read"]
    assert case.dump() == before
    assert reverted.undo is not None
    monkeypatch.setattr(Met, "__init__", real)
    await case.revert(reverted.undo)
    assert case.dump() == after


async def test_several_calls_are_read_from_the_tables(case: Case, read: list[str]) -> None:
    case.setup(_T)
    before = case.dump()
    first = await case.call("UPDATE u SET v = 'a'")
    second = await case.call("UPDATE u SET v = 'b' WHERE id = 1")
    after = case.dump()
    reverted = await case.revert(second.undo, first.undo)
    assert reverted.states == ["reverted", "reverted"]
    assert (case.dump(), len(read)) == (before, 3)
    assert reverted.undo is not None
    await case.revert(reverted.undo)
    assert case.dump() == after
