"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

from collections.abc import Iterator

# Here, before any test has run: pytest imports it at the very end otherwise, where rewriting it
# can meet a fault of Python 3.11 before 3.11.8 (gh-106905).
import hypothesis
import pytest

from tests.fixtures import mariadb_server as mariadb
from tests.fixtures import mysql_server as mysql
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.mysql_server import MysqlServer
from tests.fixtures.options import campaign, size
from tests.fixtures.postgres_server import PostgresServer, unavailable

# How long an example takes says more of the machine than of what is tested.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if campaign():
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL of our own, started for this run: the version that the machine has, or the
    newest with ``HOLDFAST_NEWEST=1``."""
    newest = bool(size("newest", 0))
    why = unavailable(newest)
    if why is not None:
        pytest.skip(why)
    with PostgresServer.started(newest=newest) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_newest() -> Iterator[PostgresServer]:
    """The newest PostgreSQL that is supported."""
    why = unavailable(newest=True)
    if why is not None:
        pytest.skip(why)
    with PostgresServer.started(newest=True) as server:
        yield server


@pytest.fixture(scope="session", params=["packaged", "newest"])
def each_postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """Both versions, one after the other."""
    name = "postgres_server" if request.param == "packaged" else "postgres_newest"
    server: PostgresServer = request.getfixturevalue(name)
    return server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A real MariaDB of our own, started for this run; MySQL with ``HOLDFAST_MYSQL=1``, for which
    not every test is meant."""
    if size("mysql", 0):
        with MysqlServer.started() as other:
            yield other
        return
    why = mariadb.unavailable()
    if why is not None:
        pytest.skip(why)
    with MariadbServer.started() as server:
        yield server


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MysqlServer]:
    """A real MySQL of our own, where it can be had."""
    why = mysql.unavailable()
    if why is not None:
        pytest.skip(why)
    with MysqlServer.started() as server:
        yield server


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def each_mysql(request: pytest.FixtureRequest) -> MariadbServer:
    """Both servers of this protocol, one after the other."""
    server: MariadbServer = request.getfixturevalue(f"{request.param}_server")
    return server
