"""A few rows in one exchange with each side; what this does not prove is left to peek."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from gateway.upstreams.sql.postgres.peek import Peek
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer

_T = """
CREATE TABLE t(id int PRIMARY KEY, gone int, v text, n numeric, doc jsonb,
  twice int GENERATED ALWAYS AS (id * 2) STORED, at timestamptz, "odd ""name" text[]);
ALTER TABLE t DROP COLUMN gone;
INSERT INTO t(id, v, n, doc, at, "odd ""name")
  SELECT i, CASE WHEN i % 3 > 0 THEN 'v' || i END, i * 1.10,
  '{"a":  1.0}', 'epoch', ARRAY['a', NULL] FROM generate_series(1, 900) i;
CREATE TABLE child(id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE);
INSERT INTO child VALUES (1, 50), (2, 50);
"""
_ROW = "(1000, 'new', NaN, '[]', DEFAULT, 'infinity', NULL)"


@pytest.fixture(scope="module")
def target(each_postgres: PostgresServer) -> PostgresServer:
    return each_postgres


@pytest.fixture
def peeked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that a glance was not enough for."""
    taken: list[str] = []
    real = Peek.ended

    def noted(self: Peek) -> Any:
        taken.append(self.table.name)
        return real(self)

    monkeypatch.setattr(Peek, "ended", noted)
    return taken


async def _exact(case: Case, *statements: str, params: tuple[Any, ...] = ()) -> Mapping[str, Any]:
    before = case.dump()
    done = await case.call(*statements, params=params)
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    assert case.dump() == after
    return done.undo.manifest


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("UPDATE t SET v = 'x', doc = '1' WHERE id = 5", (1, 1)),
        ("UPDATE t SET id = id + 1000 WHERE id BETWEEN 100 AND 290", (191, 191)),
        ("UPDATE t SET v = 'x', n = n + 1 WHERE id > 0", (900, 900)),
        ("DELETE FROM t WHERE id IN (3, 4, 5)", (3, 0)),
        ("DELETE FROM t WHERE v IS NULL AND id < 100 AND id <> 50", (33, 0)),
        (f"INSERT INTO t VALUES {_ROW.replace('NaN', chr(39) + 'NaN' + chr(39))}", (0, 1)),
        ("UPDATE t SET v = v WHERE id = 7", (1, 1)),
    ],
)
async def test_a_few_rows_need_no_second_look(
    case: Case, peeked: list[str], sql: str, rows: tuple[int, int]
) -> None:
    case.setup(_T)
    case.admin.execute("DROP TABLE child")
    before = case.dump()
    done = await case.call(sql)
    (entry,) = done.undo.manifest["tables"]
    assert (entry["before"]["rows"], entry["after"]["rows"]) == rows
    assert peeked == []
    await case.revert(done.undo)
    assert case.dump() == before
    await _exact(case, sql)


@pytest.mark.parametrize(
    "also",
    [
        # Other rows of the table than those that the statement speaks of.
        "CREATE RULE aside AS ON UPDATE TO t WHERE OLD.id = 7 DO INSTEAD DELETE FROM t "
        "WHERE id = 800",
        # Within a savepoint, whose id is another.
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN BEGIN "
        "UPDATE t SET n = 0 WHERE id = 9; EXCEPTION WHEN division_by_zero THEN NULL; END; "
        "RETURN NEW; END $$; CREATE TRIGGER r AFTER UPDATE ON t FOR EACH ROW "
        "WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION f()",
        # The same row twice.
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE t SET n = 0 WHERE id = 7; RETURN NEW; END $$; CREATE TRIGGER r AFTER UPDATE ON t "
        "FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION f()",
        # Locks more rows than it changes.
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM FROM t WHERE id <= 10 FOR UPDATE; IF NEW.id = 8 THEN RETURN NULL; END IF; "
        "RETURN NEW; END $$; CREATE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TABLE log(v int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO log VALUES (NEW.id); RETURN NEW; END $$; CREATE TRIGGER r AFTER UPDATE ON t "
        "FOR EACH ROW EXECUTE FUNCTION f()",
    ],
)
async def test_what_is_not_proven_is_left_to_peek(case: Case, peeked: list[str], also: str) -> None:
    case.setup(f"{_T};{also}")
    await _exact(case, "UPDATE t SET v = 'y' WHERE id <= 10 AND id >= 7")
    assert peeked


async def test_a_condition_that_means_something_else_to_the_capture_role_is_not_used(
    case: Case, peeked: list[str]
) -> None:
    """The agents' own operator is found through their search path."""
    case.setup(
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t(id int PRIMARY KEY, m mood, v int); "
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2); "
        "CREATE FUNCTION same(mood, text) RETURNS bool LANGUAGE sql AS $$ SELECT $1::text = $2 $$; "
        "CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = text, FUNCTION = same)"
    )
    await _exact(case, "DELETE FROM t WHERE m = $1 AND v = 1", params=("a",))
    assert "t" in peeked or not peeked


async def test_what_others_commit_meanwhile_is_not_ours(case: Case, peeked: list[str]) -> None:
    case.setup(_T)
    with psycopg.connect(case.server.url(case.database), autocommit=True) as other:
        done = await case.call(
            "UPDATE t SET v = 'x' WHERE id < 4",
            during=lambda: other.execute("UPDATE t SET v = 'theirs' WHERE id IN (10, 11)"),
        )
        (entry,) = done.undo.manifest["tables"]
        assert (entry["before"]["rows"], entry["after"]["rows"]) == (3, 3)
    assert peeked == []
