"""Every statement on every shape of table: exact, or refused with nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.postgres_server import PostgresServer
from tests.matrix.cases import FOLDER, TRAP, Shape, load
from tests.matrix.document import DOCUMENT, render
from tests.matrix.postgres import Postgres
from tests.matrix.running import shape_outcomes

POSTGRES = load(FOLDER / "postgres.yaml")


@pytest.fixture
async def postgres(
    each_postgres: PostgresServer, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Postgres]:
    version = request.node.callspec.params["each_postgres"]
    engine = Postgres(each_postgres, version, tmp_path)
    await engine.prepare()
    yield engine
    await engine.close()


@pytest.mark.parametrize("shape", POSTGRES.shapes, ids=lambda shape: shape.name)
async def test_postgres(postgres: Postgres, shape: Shape) -> None:
    if postgres.number < shape.since:
        pytest.skip(f"not before version {shape.since // 10000}")
    found = await shape_outcomes(postgres, shape)
    expected = {name: shape.expected(name, postgres.version) for name in POSTGRES.statements}
    assert found == expected


@pytest.mark.parametrize("trap", POSTGRES.traps, ids=lambda trap: trap.name)
async def test_postgres_traps(postgres: Postgres, trap: Shape) -> None:
    if postgres.number < trap.since:
        pytest.skip(f"not before version {trap.since // 10000}")
    assert await shape_outcomes(postgres, trap) == {TRAP: trap.expected(TRAP, postgres.version)}


def test_the_page_says_what_the_tests_hold() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run python -m tests.matrix"
