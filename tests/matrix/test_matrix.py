"""Every statement on every shape of table: exact, or refused with nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.mysql_server import MysqlServer
from tests.fixtures.options import size
from tests.fixtures.postgres_server import PostgresServer
from tests.matrix.cases import FOLDER, TRAP, Matrix, Shape, load
from tests.matrix.document import DOCUMENT, render
from tests.matrix.mariadb import Mariadb
from tests.matrix.postgres import Postgres
from tests.matrix.running import shape_outcomes

POSTGRES = load(FOLDER / "postgres.yaml")
# Every how manieth cell of MariaDB and MySQL is run, and of each version of PostgreSQL: there the
# two take turns, so that no cell is left out. ``HOLDFAST_MATRIX_STEP=1`` runs everything.
STEP = size("matrix_step", 12)
TURNS = min(2, STEP)
MARIADB = load(FOLDER / "mariadb.yaml")
MYSQL = load(FOLDER / "mysql.yaml")


def some_cells(matrix: Matrix, shape: Shape, *, every: int, turn: int = 0) -> Shape:
    """``shape`` with every so manieth of its statements, others than its neighbours have."""
    first = matrix.shapes.index(shape) + turn
    some = tuple(s for i, s in enumerate(shape.statements) if (first + i) % every == 0)
    return replace(shape, statements=some)


def expected(shape: Shape, version: str) -> dict[str, str]:
    return {one.name: shape.expected(one.name, version) for one in shape.statements}


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
    every, turn = 1 if shape.since else TURNS, int(postgres.version == "newest")
    some = some_cells(POSTGRES, shape, every=every, turn=turn)
    assert await shape_outcomes(postgres, some) == expected(some, postgres.version)


@pytest.mark.parametrize("trap", POSTGRES.traps, ids=lambda trap: trap.name)
async def test_postgres_traps(postgres: Postgres, trap: Shape) -> None:
    if postgres.number < trap.since:
        pytest.skip(f"not before version {trap.since // 10000}")
    assert await shape_outcomes(postgres, trap) == {TRAP: trap.expected(TRAP, postgres.version)}


@pytest.fixture
async def mariadb(mariadb_server: MariadbServer) -> AsyncIterator[Mariadb]:
    engine = Mariadb(mariadb_server)
    yield engine
    await engine.close()


@pytest.fixture
async def mysql(mysql_server: MysqlServer) -> AsyncIterator[Mariadb]:
    engine = Mariadb(mysql_server)
    yield engine
    await engine.close()


@pytest.mark.parametrize("shape", MARIADB.shapes, ids=lambda shape: shape.name)
async def test_mariadb(mariadb: Mariadb, shape: Shape) -> None:
    some = some_cells(MARIADB, shape, every=STEP)
    assert await shape_outcomes(mariadb, some) == expected(some, mariadb.version)


@pytest.mark.parametrize("trap", MARIADB.traps, ids=lambda trap: trap.name)
async def test_mariadb_traps(mariadb: Mariadb, trap: Shape) -> None:
    assert await shape_outcomes(mariadb, trap) == {TRAP: trap.expected(TRAP, mariadb.version)}


@pytest.mark.parametrize("shape", MYSQL.shapes, ids=lambda shape: shape.name)
async def test_mysql(mysql: Mariadb, shape: Shape) -> None:
    some = some_cells(MYSQL, shape, every=STEP)
    assert await shape_outcomes(mysql, some) == expected(some, mysql.version)


@pytest.mark.parametrize("trap", MYSQL.traps, ids=lambda trap: trap.name)
async def test_mysql_traps(mysql: Mariadb, trap: Shape) -> None:
    assert await shape_outcomes(mysql, trap) == {TRAP: trap.expected(TRAP, mysql.version)}


def test_the_page_says_what_the_tests_hold() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run python -m tests.matrix"
