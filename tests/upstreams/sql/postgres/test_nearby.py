from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.libpg import parse
from gateway.upstreams.sql.postgres.nearby import near


@pytest.mark.parametrize(
    ("sql", "condition"),
    [
        ("DELETE FROM t WHERE id = 5", '(x."id" = 5)'),
        ("UPDATE s.t SET v = 1 WHERE t.id = $1", """(x."id" = '5''')"""),
        ("DELETE FROM t WHERE a IN (1, $2) OR b BETWEEN 1 AND 2.5",
         '((x."a" IN (1, NULL)) OR (x."b" BETWEEN 1 AND 2.5))'),
        ("DELETE FROM t WHERE a IS NULL AND NOT b = 'x'",
         """((x."a" IS NULL) AND (NOT (x."b" = 'x')))"""),
        ("DELETE FROM t WHERE a = 1 AND random() < 0.5", '((x."a" = 1))'),
        ('DELETE FROM t WHERE "o""d" <> true', '(x."o""d" <> true)'),
    ],
)  # fmt: skip
def test_a_plain_condition_is_kept(sql: str, condition: str) -> None:
    found = near(parse(sql).stmts[0].stmt)
    assert found is not None
    assert found.table == "t"
    assert found.condition([b"5'", None]) == condition


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "DELETE FROM t WHERE f(id) = 1",
        "DELETE FROM t WHERE id = 1 OR f(id) = 1",
        "DELETE FROM t WHERE NOT (id = 1 AND f(id) = 1)",
        "DELETE FROM t WHERE id = (SELECT 1)",
        "DELETE FROM t WHERE id OPERATOR(public.=) 1",
        "DELETE FROM t WHERE name ~ 'x'",
        "DELETE FROM t WHERE id = '1'::int",
        "DELETE FROM t USING u WHERE t.id = 1",
        "UPDATE t SET v = 1 FROM u WHERE t.id = 1",
        "WITH w AS (SELECT 1) DELETE FROM t WHERE id = 1",
        "INSERT INTO t VALUES (1)",
    ],
)
def test_what_is_not_plain_gives_no_hint(sql: str) -> None:
    assert near(parse(sql).stmts[0].stmt) is None
