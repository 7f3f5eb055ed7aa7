from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fixtures.postgres_ddl import SHOP, SchemaCase, prepared_database
from tests.fixtures.postgres_server import PostgresServer


@pytest.fixture
async def case(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[SchemaCase]:
    case = SchemaCase(postgres_server, tmp_path)
    yield case
    await case.close()


@pytest.fixture(scope="module")
def shop_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The shop with every feature, once for all tests of a module: each leaves it as it was."""
    name = prepared_database(postgres_server, setup=SHOP)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
async def shop(
    postgres_server: PostgresServer, shop_database: str, tmp_path: Path
) -> AsyncIterator[SchemaCase]:
    case = SchemaCase(postgres_server, tmp_path, database=shop_database)
    yield case
    await case.close()
