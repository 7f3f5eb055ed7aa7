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
TURNS = size("matrix_step", 2)
MARIADB = load(FOLDER / "mariadb.yaml")
MYSQL = load(FOLDER / "mysql.yaml")


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
    turn = POSTGRES.shapes.index(shape) + (postgres.version == "newest")
    turns = 1 if shape.since else TURNS
    some = tuple(s for i, s in enumerate(shape.statements) if (turn + i) % turns == 0)
    found = await shape_outcomes(postgres, replace(shape, statements=some))
    assert found == {one.name: shape.expected(one.name, postgres.version) for one in some}


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


async def some_cells(engine: Mariadb, matrix: Matrix, shape: Shape) -> None:
    number = matrix.shapes.index(shape)
    some = tuple(s for i, s in enumerate(shape.statements) if (number + i) % STEP == 0)
    found = await shape_outcomes(engine, replace(shape, statements=some))
    assert found == {one.name: shape.expected(one.name, engine.version) for one in some}


@pytest.mark.parametrize("shape", MARIADB.shapes, ids=lambda shape: shape.name)
async def test_mariadb(mariadb: Mariadb, shape: Shape) -> None:
    await some_cells(mariadb, MARIADB, shape)


@pytest.mark.parametrize("trap", MARIADB.traps, ids=lambda trap: trap.name)
async def test_mariadb_traps(mariadb: Mariadb, trap: Shape) -> None:
    assert await shape_outcomes(mariadb, trap) == {TRAP: trap.expected(TRAP, mariadb.version)}


@pytest.mark.parametrize("shape", MYSQL.shapes, ids=lambda shape: shape.name)
async def test_mysql(mysql: Mariadb, shape: Shape) -> None:
    await some_cells(mysql, MYSQL, shape)


@pytest.mark.parametrize("trap", MYSQL.traps, ids=lambda trap: trap.name)
async def test_mysql_traps(mysql: Mariadb, trap: Shape) -> None:
    assert await shape_outcomes(mysql, trap) == {TRAP: trap.expected(TRAP, mysql.version)}


def test_the_page_says_what_the_tests_hold() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run python -m tests.matrix"
