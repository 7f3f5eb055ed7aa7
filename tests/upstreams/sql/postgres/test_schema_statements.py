from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.postgres.libpg import parse
from gateway.upstreams.sql.postgres.schema_statements import named
from gateway.upstreams.sql.postgres.walk import unwrap


def found(sql: str) -> list[tuple[str, str, str | None, str, tuple[str, ...]]]:
    answer = named(unwrap(parse(sql).stmts[0].stmt))
    assert answer is not None
    assert not isinstance(answer, Deny)
    return [(n.verb, n.kind, n.schema, n.name, n.columns) for n in answer[1]]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("CREATE TABLE s.t (a int, b int)", [("create", "table", "s", "t", ("a", "b"))]),
        ("DROP TABLE a, s.b", [("drop", "table", None, "a", ()), ("drop", "table", "s", "b", ())]),
        ("DROP SCHEMA s", [("drop", "schema", None, "s", ())]),
        (
            "TRUNCATE a, s.b",
            [("truncate", "table", n, t, ()) for n, t in ((None, "a"), ("s", "b"))],
        ),
        ("ALTER TABLE t DROP COLUMN c", [("alter", "table", None, "t", ("c",))]),
        ("ALTER TABLE t ADD COLUMN c int", [("alter", "table", None, "t", ("c",))]),
        ("ALTER TABLE t RENAME c TO d", [("alter", "table", None, "t", ("c",))]),
        (
            "ALTER TABLE s.t RENAME TO u",
            [("alter", "table", "s", "t", ()), ("create", "table", "s", "u", ())],
        ),
        (
            "ALTER VIEW v SET SCHEMA s",
            [("alter", "view", None, "v", ()), ("create", "view", "s", "v", ())],
        ),
        ("CREATE INDEX ON t (a, lower(b))", [("create", "index", None, "t", ("a", "*"))]),
    ],
)
def test_schema_statements_name_what_they_change(sql: str, names: list[object]) -> None:
    assert found(sql) == names


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE t DISABLE TRIGGER ALL",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t OWNER TO r",
        "ALTER TABLE t SET TABLESPACE s",
        "ALTER TABLE t SET UNLOGGED",
        "ALTER TABLE t ADD COLUMN a int, DISABLE RULE r",
        "DROP STATISTICS f",
        "DROP EXTENSION e",
        "DROP FOREIGN TABLE f",
        "DROP INDEX CONCURRENTLY i",
        "ALTER ROLE r RENAME TO s",
        "CREATE SCHEMA s CREATE TABLE t (a int)",
        "CREATE SCHEMA AUTHORIZATION r",
    ],
)
def test_other_schema_statements_are_refused(sql: str) -> None:
    answer = named(unwrap(parse(sql).stmts[0].stmt))

    assert isinstance(answer, Deny)
    assert answer.reason == "sql.unsupported"


def test_a_query_is_no_schema_statement() -> None:
    assert named(unwrap(parse("SELECT 1").stmts[0].stmt)) is None
