from __future__ import annotations

import pymysql
import pytest

from gateway.upstreams.sql.mysql.failures import lost, upstream_error


def test_the_servers_own_words_are_kept() -> None:
    error = upstream_error(pymysql.ProgrammingError(1146, "Table 'a.b' doesn't exist"), "app")
    assert error.reason == "upstream.failed"
    assert error.extra == {"code": 1146, "message": "Table 'a.b' doesn't exist"}


def test_the_state_is_told_where_the_server_told_it() -> None:
    given = pymysql.ProgrammingError(1146, "no", sqlstate="42S02")
    assert upstream_error(given, "app").extra["sqlstate"] == "42S02"


@pytest.mark.parametrize("code", [1205, 1213, 1969])
def test_waiting_too_long_is_a_timeout(code: int) -> None:
    assert upstream_error(pymysql.OperationalError(code, "x"), "app").reason == "upstream.timeout"


@pytest.mark.parametrize(
    "error",
    [
        pymysql.OperationalError(2013, "Lost connection"),
        pymysql.OperationalError(1045, "Access denied for user 'secret'"),
        pymysql.InterfaceError(0, ""),
        ConnectionResetError(),
        RuntimeError("reading from a closed file"),
    ],
)
def test_a_lost_connection_says_nothing_of_the_url(error: BaseException) -> None:
    told = upstream_error(error, "app")
    assert told.reason == "upstream.unreachable"
    assert "secret" not in told.detail


def test_a_statements_failure_is_no_lost_connection() -> None:
    assert not lost(pymysql.IntegrityError(1062, "Duplicate"))
    assert lost(OSError())
