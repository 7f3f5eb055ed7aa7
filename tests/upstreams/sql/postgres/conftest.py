from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def case_database(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
async def case(postgres_server: PostgresServer, case_database: str) -> AsyncIterator[Case]:
    case = Case(postgres_server, case_database)
    case.clear()
    yield case
    await case.close()
