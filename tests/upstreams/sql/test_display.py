from __future__ import annotations

import logging

import pytest

from gateway.upstreams.sql.display import ShownStatement, shown


def one(sql: str, dialect: str = "postgres") -> ShownStatement:
    found = shown(sql, dialect)
    assert found is not None
    assert len(found.statements) == 1
    return found.statements[0]


def test_shows_verb_tables_columns_and_functions() -> None:
    statement = one("SELECT c.name, lower(o.note) FROM public.customers c JOIN orders o ON true")

    assert statement.verb == "select"
    assert statement.tables == ("public.customers", "orders")
    assert statement.columns == {"public.customers": ("name",), "orders": ("note",)}
    assert statement.functions == ("lower",)
    assert statement.bounded


def test_shows_every_statement_of_a_text() -> None:
    found = shown("SELECT 1; DELETE FROM t", "sqlite")

    assert found is not None
    assert [s.verb for s in found.statements] == ["select", "delete"]


def test_writes_inside_of_a_read_are_shown() -> None:
    statement = one("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d")

    assert statement.verb == "select"
    assert statement.verbs == ("select", "delete")
    assert statement.tables == ("t",)
    assert one("SELECT 1 INTO x").verbs == ("create",)


@pytest.mark.parametrize(
    ("sql", "bounded"),
    [
        ("DELETE FROM t WHERE id = 1", True),
        ("UPDATE t SET a = 1 WHERE id = 1 AND true", True),
        ("DELETE FROM t WHERE id IN (SELECT 1)", True),
        ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE", True),
        ("DELETE FROM t", False),
        ("UPDATE t SET a = 1", False),
        ("DELETE FROM t WHERE true", False),
        ("DELETE FROM t WHERE 1 = 1", False),
        ("DELETE FROM t WHERE id = id", False),
        ("DELETE FROM t WHERE id = 1 OR 1 = 1", False),
        ("DELETE FROM t WHERE EXISTS (SELECT 1 FROM s WHERE s.id = 1)", False),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", False),
    ],
)
def test_changes_without_a_condition_on_a_column_are_unbounded(sql: str, bounded: bool) -> None:
    assert one(sql).bounded is bounded


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELEC 1",
        "DO $$ x $$",
        "COPY t TO STDOUT",
        "SET x = 1",
        "VACUUM",
        "EXPLAIN ANALYZE DELETE FROM t",
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT 'a",
        "SELECT 1; VACUUM",
    ],
    ids=lambda sql: sql[:20],
)
def test_what_is_not_understood_whole_is_not_shown(sql: str) -> None:
    assert shown(sql, "postgres") is None


def test_no_sql_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        shown("COPY secrets FROM 'password'", "postgres")

    assert "password" not in caplog.text
