"""However a statement asks for it, a covered column is not shown."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.errors import UpstreamError
from gateway.model import Redaction
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from tests.fixtures.postgres_case import Case
from tests.upstreams.sql.postgres.test_upstream import _call, _parsed, _upstream

CANARY = "canary-51c2@example.org"
SCHEMA = f"""
CREATE TABLE customers(id int PRIMARY KEY, email text, plan text CHECK (plan <> 'bad'));
CREATE TABLE other(id int PRIMARY KEY, email text);
CREATE TABLE parted(id int, email text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted DEFAULT;
CREATE VIEW v AS SELECT id, email AS contact, plan FROM customers;
INSERT INTO customers VALUES(1, '{CANARY}', 'pro'), (2, '{CANARY}', 'free');
INSERT INTO other VALUES(1, 'public@example.org');
INSERT INTO parted VALUES(1, '{CANARY}');
"""
REDACTION = Redaction(patterns=("customers.email", "parted.email"))


@pytest.fixture
async def upstream(case: Case) -> AsyncIterator[PostgresUpstream]:
    case.setup(SCHEMA)
    made = _upstream(case)
    await made.open()
    yield made
    await made.close()


async def shown(upstream: PostgresUpstream, sql: str) -> dict[str, object]:
    call = _call(sql)
    action = await _parsed(upstream, call)
    async with upstream.attempt(call, action) as attempt:
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
        "TABLE customers",
        "SELECT email AS plan FROM customers",
        "SELECT upper(email) FROM customers",
        "SELECT max(email) FROM customers",
        "SELECT string_agg(email, ',') FROM customers",
        "SELECT row_to_json(c) FROM customers c",
        "SELECT c FROM customers c",
        "SELECT c::text FROM customers c",
        "SELECT encode(email::bytea, 'hex') FROM customers",
        "SELECT (SELECT email FROM customers LIMIT 1)",
        "SELECT x FROM (SELECT email AS x FROM customers) s",
        "WITH q AS (SELECT email x FROM customers) SELECT x FROM q",
        "SELECT plan FROM customers UNION ALL SELECT email FROM customers",
        "SELECT x FROM (SELECT plan x FROM customers UNION ALL SELECT email FROM customers) s",
        "SELECT contact FROM v",
        "SELECT * FROM v",
        "SELECT CASE WHEN email LIKE 'canary%' THEN email ELSE plan END FROM customers",
        "SELECT j.email FROM customers a JOIN customers j USING (id)",
        "SELECT email FROM parted",
        "UPDATE customers SET plan = 'x' WHERE id = 1 RETURNING email",
        "UPDATE customers SET plan = email WHERE id = 1 RETURNING email || ''",
        "DELETE FROM customers WHERE id = 1 RETURNING *",
        "WITH d AS (DELETE FROM customers WHERE id = 1 RETURNING email) SELECT * FROM d",
        "INSERT INTO customers(id, email) SELECT 9, email FROM customers LIMIT 1 RETURNING email",
    ],
)
async def test_no_way_of_asking_shows_it(upstream: PostgresUpstream, sql: str) -> None:
    result = await shown(upstream, sql)
    assert result["rows"], "the statement shows rows, or it would prove nothing"
    told = repr(result).lower()
    assert CANARY not in told
    assert CANARY.encode().hex() not in told
    assert "[redacted]" in told


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT id, plan FROM customers ORDER BY id", [[1, "pro"], [2, "free"]]),
        ("SELECT count(*) FROM other", [["1"]]),
        ("SELECT email FROM other", [["public@example.org"]]),
        ("SELECT upper(plan) FROM customers WHERE id = 1", [["PRO"]]),
        ("SELECT id, email FROM customers WHERE id = 1", [[1, "[redacted]"]]),
        ("UPDATE customers SET plan = 'x' WHERE id = 1 RETURNING id, plan", [[1, "x"]]),
    ],
)
async def test_what_is_not_covered_is_shown(
    upstream: PostgresUpstream, sql: str, rows: list[list[object]]
) -> None:
    assert (await shown(upstream, sql))["rows"] == rows


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT email::int FROM customers",  # invalid input syntax for type integer: "canary..."
        "SELECT CAST(email AS date) FROM customers",
        # Failing row contains (1, canary..., bad)
        "UPDATE customers SET plan = 'bad' WHERE id = 1",
        "INSERT INTO customers SELECT 1, email, 'x' FROM customers",
    ],
)
async def test_an_error_does_not_quote_it(upstream: PostgresUpstream, sql: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        await shown(upstream, sql)
    assert CANARY not in caught.value.detail + repr(dict(caught.value.extra))
    assert caught.value.extra["sqlstate"]
