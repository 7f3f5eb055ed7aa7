"""However a statement asks for it, a covered column is not shown."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.interfaces import Redacting
from gateway.model import ActionClass, Redaction
from tests.fixtures.mariadb_case import Case

CANARY = "canary-51c2@example.org"
SETUP = (
    "CREATE TABLE customers (id INT PRIMARY KEY, email VARCHAR(40) UNIQUE, plan VARCHAR(9))",
    "CREATE TABLE other (id INT PRIMARY KEY, email VARCHAR(40))",
    "CREATE VIEW v AS SELECT id, email AS contact, plan FROM customers",
    "CREATE VIEW w AS SELECT id AS email, email AS id FROM customers",
    "CREATE VIEW u AS SELECT plan AS x FROM customers UNION ALL SELECT email FROM customers",
    "CREATE ALGORITHM=TEMPTABLE VIEW tt AS SELECT email AS id FROM customers",
    f"INSERT INTO customers VALUES (1, '{CANARY}', 'pro'), (2, '2{CANARY}', 'free')",
    "INSERT INTO other VALUES (1, 'public@example.org')",
)
REDACTION = Redaction(patterns=("customers.email",))
_REQUESTS = [
    "SELECT email FROM customers",
    "SELECT * FROM customers",
    "SELECT email AS plan FROM customers ORDER BY plan",
    "SELECT email AS id FROM customers GROUP BY email",
    "SELECT DISTINCT email AS id FROM customers ORDER BY id",
    "SELECT UPPER(email) FROM customers",
    "SELECT CONCAT(email, '') FROM customers",
    "SELECT MAX(email) FROM customers",
    "SELECT GROUP_CONCAT(email) FROM customers",
    "SELECT HEX(email) FROM customers",
    "SELECT (SELECT email FROM customers LIMIT 1)",
    "SELECT x FROM (SELECT email AS x FROM customers) d",
    "SELECT id FROM (SELECT email AS id FROM customers) customers",
    "SELECT id FROM (SELECT email AS id FROM customers LIMIT 1) customers",
    "SELECT id FROM (SELECT MAX(email) AS id FROM customers) d",
    "WITH other AS (SELECT email AS id FROM customers) SELECT id FROM other",
    "SELECT plan FROM customers UNION ALL SELECT email FROM customers",
    "SELECT contact FROM v",
    "SELECT * FROM v",
    "SELECT id FROM w",
    "SELECT x FROM u",
    "SELECT id FROM tt",
    "SELECT CASE WHEN 1 THEN email END FROM customers",
    "SELECT a.email FROM customers a JOIN customers b ON a.id = b.id",
    "SELECT id FROM (SELECT email AS id, plan FROM customers) AS d ORDER BY plan",
    "SELECT d.id FROM customers AS c JOIN (SELECT email AS id FROM customers) AS d ON 1 = 1",
    "WITH RECURSIVE r (id) AS (SELECT email FROM customers UNION SELECT id FROM r) "
    "SELECT id FROM r",
    "SELECT FIRST_VALUE(email) OVER (ORDER BY id) AS plan FROM customers",
    "SELECT IFNULL(email, plan) AS plan FROM customers",
    "SELECT MIN(email) AS plan FROM customers GROUP BY plan",
    "SELECT customers.email COLLATE utf8mb4_bin AS id FROM customers",
    "SELECT email, ROW_NUMBER() OVER (ORDER BY id) FROM customers",
    "DELETE FROM customers WHERE id = 1 RETURNING *",
    "DELETE FROM customers WHERE id = 1 RETURNING LOWER(email) AS id",
    "INSERT INTO customers (id, email) SELECT 9, CONCAT(email, '9') FROM customers LIMIT 1 "
    "RETURNING email",
]


async def shown(case: Case, sql: str) -> dict[str, object]:
    action = await case.parse(sql)
    async with case.source.attempt(case.request(sql), action) as attempt:
        assert isinstance(attempt, Redacting)
        attempt.redact(REDACTION, exposed=REDACTION.reached_by(action))
        if action.cls is ActionClass.READ:
            outcome = await attempt.read()
            assert outcome.result is not None, outcome
            return dict(outcome.result)
        return dict((await attempt.run()).result)


def known(case: Case, sql: str) -> bool:
    return case.server.kind != "mysql" or "RETURNING" not in sql


async def test_no_way_of_asking_shows_it(each_case: Case) -> None:
    case = each_case
    case.setup(*SETUP)
    for sql in (sql for sql in _REQUESTS if known(case, sql)):
        result = await shown(case, sql)
        assert result["rows"], "the statement shows rows, or it would prove nothing"
        told = repr(result).lower()
        assert CANARY not in told, sql
        assert CANARY.encode().hex() not in told, sql
        assert "[redacted]" in told, sql


async def test_what_is_not_covered_is_shown(each_case: Case) -> None:
    case = each_case
    case.setup(*SETUP)
    for sql, rows in (
        ("SELECT id, plan FROM customers ORDER BY id", [[1, "pro"], [2, "free"]]),
        ("SELECT email FROM other", [["public@example.org"]]),
        ("SELECT UPPER(plan) FROM customers WHERE id = 1", [["PRO"]]),
        ("SELECT id, email FROM customers WHERE id = 1", [[1, "[redacted]"]]),
        ("DELETE FROM customers WHERE id = 1 RETURNING id, plan", [[1, "pro"]]),
    ):
        assert not known(case, sql) or (await shown(case, sql))["rows"] == rows, sql


async def test_an_error_does_not_quote_it(each_case: Case) -> None:
    case = each_case
    case.setup(*SETUP)
    sql = "INSERT INTO customers (id, email) SELECT 9, email FROM customers"
    with pytest.raises(UpstreamError) as error:
        await shown(case, sql)
    assert CANARY not in error.value.detail
    assert "withheld" in error.value.detail
