from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer


@pytest.fixture(scope="module")
def case_database(mariadb_server: MariadbServer) -> Iterator[str]:
    name = mariadb_server.create_database()
    yield name
    mariadb_server.drop_database(name)


@pytest.fixture
async def case(mariadb_server: MariadbServer, case_database: str) -> AsyncIterator[Case]:
    case = Case(mariadb_server, case_database)
    yield case
    await case.close()
