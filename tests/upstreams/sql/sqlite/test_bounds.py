"""An UPDATE or DELETE is bounded only when its text plainly is."""

from __future__ import annotations

import pytest

from gateway.upstreams.sql.sqlite.bounds import bounded


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t WHERE id = 1",
        "DELETE FROM t WHERE id = ?1",
        'UPDATE t SET a = 1 WHERE "id" IN (SELECT 1)',
        "UPDATE t SET a = 1 WHERE 1 AND id > 3",
        "UPDATE t SET a = 1 WHERE id = 1 OR a = 2",
    ],
)
def test_a_condition_on_a_column_bounds(sql: str) -> None:
    assert bounded(sql, frozenset({"id", "a"}))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "DELETE FROM t WHERE 1",
        "DELETE FROM t WHERE id = id",
        "DELETE FROM t WHERE id = 1 OR 1",
        "DELETE FROM t WHERE (SELECT id FROM t)",
        "DELETE FROM t WHERE EXISTS (SELECT 1 FROM t WHERE id = 1)",
        'DELETE FROM t WHERE "no column"',
        "DELETE FROM t WHERE ((",
        "DELETE FROM t WHERE id = 1 AND a IN (" + "1, " * 10_000 + "1)",
        "SELECT 1",
    ],
)
def test_everything_else_does_not(sql: str) -> None:
    assert not bounded(sql, frozenset({"id", "a"}))
