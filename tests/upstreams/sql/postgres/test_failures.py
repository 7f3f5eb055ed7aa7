from __future__ import annotations

import psycopg
import pytest

from gateway.upstreams.sql.postgres.failures import lost, upstream_error
from tests.fixtures.postgres_case import Case


@pytest.mark.parametrize(
    ("sqlstate", "reason", "is_lost"),
    [
        ("23505", "upstream.failed", False),
        ("42501", "upstream.failed", False),
        ("57014", "upstream.timeout", False),
        ("55P03", "upstream.timeout", False),
        ("25P03", "upstream.timeout", False),
        ("57P01", "upstream.unreachable", True),
        ("57P03", "upstream.unreachable", True),
        ("08006", "upstream.unreachable", True),
    ],
)
def test_errors_are_sorted_by_sqlstate(
    case: Case, sqlstate: str, reason: str, is_lost: bool
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(psycopg.Error) as raised:
        case.admin.execute(raising)
    assert lost(raised.value) is is_lost
    assert upstream_error(raised.value, "app").reason == reason


def test_an_error_without_an_answer_is_a_lost_connection() -> None:
    error = psycopg.OperationalError("connection to 10.0.0.1 failed: password hunter2")
    told = upstream_error(error, "app")
    assert told.reason == "upstream.unreachable"
    assert "hunter2" not in told.detail + str(told.extra)


def test_the_servers_words_come_along(case: Case) -> None:
    with pytest.raises(psycopg.Error) as raised:
        case.admin.execute("SELECT nosuch FROM pg_class")
    told = upstream_error(raised.value, "app")
    assert told.extra["sqlstate"] == "42703"
    assert told.extra["position"] == 8
    assert "nosuch" in told.extra["message"]
