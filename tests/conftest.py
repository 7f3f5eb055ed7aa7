"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures.postgres_server import PostgresServer, unavailable


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL of our own, started for this run."""
    why = unavailable()
    if why is not None:
        pytest.skip(why)
    with PostgresServer.started() as server:
        yield server
