"""However a statement asks for it, a covered column is not shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.model import Redaction
from tests.upstreams.sql.sqlite.driving import Driver, call_of, driving

CANARY = "canary-51c2@example.org"
SCHEMA = f"""
CREATE TABLE customers(id INTEGER PRIMARY KEY, email TEXT, plan TEXT);
CREATE TABLE other(id INTEGER PRIMARY KEY, email TEXT);
CREATE VIEW v AS SELECT id, email AS contact, plan FROM customers;
CREATE VIEW u AS SELECT plan AS x FROM customers UNION ALL SELECT email FROM customers;
INSERT INTO customers VALUES(1, '{CANARY}', 'pro'), (2, '{CANARY}', 'free');
INSERT INTO other VALUES(1, 'public@example.org');
"""
REDACTION = Redaction(patterns=("customers.email",))


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    async with driving(tmp_path / "shop.db", SCHEMA) as made:
        yield made


async def shown(driver: Driver, sql: str) -> dict[str, object]:
    action = await driver.judged(sql)
    async with driver.upstream.attempt(call_of(driver.number, sql, None), action) as attempt:
        attempt.redact(REDACTION, exposed=REDACTION.reached_by(action))
        if action.cls == "read":
            outcome = await attempt.read()
            assert outcome.result is not None, outcome
            return dict(outcome.result)
        return dict((await attempt.run()).result)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT email FROM customers",
        "SELECT * FROM customers",
        "SELECT email AS plan FROM customers",
        "SELECT upper(email) FROM customers",
        "SELECT email || '' FROM customers",
        "SELECT max(email) FROM customers",
        "SELECT group_concat(email) FROM customers",
        "SELECT json_object('x', email) FROM customers",
        "SELECT hex(email) FROM customers",
        "SELECT (SELECT email FROM customers LIMIT 1)",
        "SELECT x FROM (SELECT email AS x FROM customers)",
        "WITH q AS (SELECT email x FROM customers) SELECT x FROM q",
        "SELECT plan FROM customers UNION ALL SELECT email FROM customers",
        "SELECT x FROM (SELECT plan x FROM customers UNION ALL SELECT email FROM customers)",
        "SELECT (SELECT plan FROM customers WHERE 0 UNION SELECT email FROM customers LIMIT 1)",
        "SELECT contact FROM v",
        "SELECT * FROM v",
        "SELECT x FROM u",
        "SELECT CASE WHEN 1 THEN email END FROM customers",
        "SELECT a.email FROM customers a JOIN customers b ON a.id = b.id",
        "SELECT CASE WHEN email LIKE 'canary%' THEN email ELSE plan END FROM customers",
        "UPDATE customers SET plan = 'x' WHERE id = 1 RETURNING email",
        "UPDATE customers SET plan = email WHERE id = 1 RETURNING email || ''",
        "DELETE FROM customers WHERE id = 1 RETURNING *",
        "DELETE FROM customers WHERE id = 1 RETURNING lower(email) AS id",
        "INSERT INTO customers(id, email) SELECT 9, email FROM customers LIMIT 1 RETURNING email",
    ],
)
async def test_no_way_of_asking_shows_it(driver: Driver, sql: str) -> None:
    result = await shown(driver, sql)
    assert result["rows"], "the statement shows rows, or it would prove nothing"
    told = repr(result).lower()
    assert CANARY not in told
    assert CANARY.encode().hex() not in told
    assert "[redacted]" in told


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT id, plan FROM customers", [[1, "pro"], [2, "free"]]),
        ("SELECT count(*) FROM customers", [[2]]),
        ("SELECT email FROM other", [["public@example.org"]]),
        ("SELECT upper(plan) FROM customers WHERE id = 1", [["PRO"]]),
        ("SELECT id, email FROM customers WHERE id = 1", [[1, "[redacted]"]]),
        ("UPDATE customers SET plan = 'x' WHERE id = 1 RETURNING id, plan", [[1, "x"]]),
        ("SELECT o.email FROM other o JOIN customers c USING (id)", [["public@example.org"]]),
    ],
)
async def test_what_is_not_covered_is_shown(
    driver: Driver, sql: str, rows: list[list[object]]
) -> None:
    assert (await shown(driver, sql))["rows"] == rows


async def test_each_of_several_statements_is_looked_at(driver: Driver) -> None:
    result = await shown(driver, "SELECT plan FROM customers; SELECT email FROM customers")
    [plans, emails] = result["results"]  # type: ignore[misc]
    assert emails["rows"] == [["[redacted]"], ["[redacted]"]]
    assert plans["rows"] == [["pro"], ["free"]]
