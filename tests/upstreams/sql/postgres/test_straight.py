"""The short way back, and everything that has to take the long one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import OnConflict
from gateway.upstreams.sql.postgres.restore import Restore
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer

_T = """
CREATE TABLE p(id int PRIMARY KEY, name text);
CREATE TABLE t(id int PRIMARY KEY, code text UNIQUE, v text, n numeric, doc jsonb,
  twice int GENERATED ALWAYS AS (id * 2) STORED, p int REFERENCES p ON DELETE CASCADE);
INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 20) i;
INSERT INTO t(id, code, v, n, doc, p) SELECT i, 'c' || i, CASE WHEN i % 3 > 0 THEN 'v' END,
  i * 1.10, '{"a":  1.0}', 1 + i % 20 FROM generate_series(1, 1500) i;
"""


@pytest.fixture(scope="module")
def target(each_postgres: PostgresServer) -> PostgresServer:
    return each_postgres


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables whose rows were compared one by one."""
    names: list[str] = []
    real = Restore.compare

    def noted(self: Restore) -> Any:
        names.append(self.table.name)
        return real(self)

    monkeypatch.setattr(Restore, "compare", noted)
    return names


@pytest.mark.parametrize(
    ("statements", "restored"),
    [
        (["UPDATE t SET v = 'x', n = n + 1"], 1500),
        (["DELETE FROM t WHERE id > 700"], 800),
        (["INSERT INTO t(id, code, n) SELECT i, 'n' || i, 1 FROM generate_series(2001, 2100) i"],
         100),
        (["DELETE FROM p WHERE id <= 3"], 3 + 225),
        (["UPDATE t SET id = id + 5000, code = 'x' || id"], 3000),
        (["DELETE FROM t WHERE id < 10", "UPDATE t SET v = 'x' WHERE id < 20",
          "INSERT INTO t(id, code) VALUES (5000, 'x')"], 9 + 10 + 1),
        # Some rows are written as they were: there is nothing to put back in them.
        (["UPDATE t SET v = 'v' WHERE id <= 30"], 10),
        (["DELETE FROM t WHERE id = 7", "INSERT INTO t(id, code, v) VALUES (7, 'c7', 'other')"], 1),
    ],
)  # fmt: skip
async def test_nothing_is_compared_row_by_row(
    case: Case, compared: list[str], statements: list[str], restored: int
) -> None:
    case.setup(_T)
    before = case.dump()
    done = await case.call(*statements)
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.steps[0].restored) == (["reverted"], restored)
    assert case.dump() == before
    assert reverted.undo is not None
    again = await case.revert(reverted.undo)  # the images of the revert are those, turned round
    assert (again.states, again.steps[0].restored) == (["reverted"], restored)
    assert case.dump() == after
    assert compared == []


@pytest.mark.parametrize("mode", list(OnConflict))
@pytest.mark.parametrize(
    ("sql", "theirs", "why"),
    [
        ("UPDATE t SET n = 2", "UPDATE t SET n = 2.0 WHERE id = 9", "changed"),
        ("UPDATE t SET n = 2", "DELETE FROM t WHERE id = 9", "changed"),
        ("UPDATE t SET n = 2", "UPDATE t SET n = 9.90 WHERE id = 9", "undone"),
        ("DELETE FROM t WHERE id < 10", "INSERT INTO t(id) VALUES (3)", "changed"),
        ("DELETE FROM t WHERE id < 10", "INSERT INTO t(id, code) VALUES (9000, 'c3')", "unique"),
        ("INSERT INTO t(id) VALUES (9001), (9002)", "UPDATE t SET v = 'x' WHERE id = 9001",
         "changed"),
        ("INSERT INTO p VALUES (99, 'new')", "UPDATE t SET p = 99 WHERE id = 1", "referenced"),
        ("DELETE FROM t WHERE p = 5", "DELETE FROM p WHERE id = 5", "orphan"),
    ],
)  # fmt: skip
async def test_rows_that_others_touched_take_the_long_way(
    case: Case, compared: list[str], mode: OnConflict, sql: str, theirs: str, why: str
) -> None:
    case.setup(_T)
    done = await case.call(sql)
    case.admin.execute(theirs.encode())
    there = case.dump()
    reverted = await case.revert(done.undo, mode=mode)
    assert compared
    if mode is OnConflict.ABORT:
        assert reverted.states == ["conflict"]
        assert case.dump() == there
    if mode in (OnConflict.ABORT, OnConflict.SKIP):
        assert reverted.whys == [why]


@pytest.mark.parametrize(
    ("also", "sql"),
    [
        ("", "UPDATE t SET code = 'x' || id"),  # a unique column has another value
        ("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t DROP CONSTRAINT t_code_key",
         "UPDATE t SET v = 'x'"),
        ("ALTER TABLE p ADD UNIQUE (name) DEFERRABLE", "UPDATE p SET name = name || 'x'"),
    ],
)  # fmt: skip
async def test_what_three_statements_cannot_do_takes_the_long_way(
    case: Case, compared: list[str], also: str, sql: str
) -> None:
    case.setup(f"{_T};{also}")
    before = case.dump()
    done = await case.call(sql)
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
    assert compared
