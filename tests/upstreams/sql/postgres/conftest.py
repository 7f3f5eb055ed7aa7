from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_ddl import SchemaCase
from tests.fixtures.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def target(postgres_server: PostgresServer) -> PostgresServer:
    """The server that cases run on; a module that has to hold on both versions overrides it."""
    return postgres_server


@pytest.fixture(scope="module")
def case_database(target: PostgresServer) -> Iterator[str]:
    name = target.create_database()
    yield name
    target.drop_database(name)


@pytest.fixture
async def case(target: PostgresServer, case_database: str) -> AsyncIterator[Case]:
    case = Case(target, case_database)
    case.clear()
    yield case
    await case.close()


@pytest.fixture
async def case_prepared(
    postgres_server: PostgresServer, tmp_path: Path
) -> AsyncIterator[SchemaCase]:
    """A database of the agents' own, prepared for schema changes."""
    case = SchemaCase(postgres_server, tmp_path)
    yield case
    await case.close()
