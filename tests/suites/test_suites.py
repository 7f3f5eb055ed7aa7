"""Test files of the databases themselves through the gateway. Whole suites by flag, each a folder:
``HOLDFAST_MARIADB_SUITE`` (``mysql-test``), ``HOLDFAST_POSTGRES_SUITE`` (``src/test/regress/sql``)
and ``HOLDFAST_SQLITE_SUITE`` (``test``); ``HOLDFAST_FILES`` of them, drawn by the number
``HOLDFAST_DRAW``, so that all workers draw the same. Without, a few statements that an undo once
did not bring back.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.options import size
from tests.fixtures.postgres_server import PostgresServer
from tests.suites import splitting
from tests.suites.running import Suite, Target
from tests.suites.targets import MariadbTarget, PostgresTarget, SqliteTarget
from tests.upstreams.sql.sqlite.driving import driving

SAMPLES = Path(__file__).parent / "samples"
FILES = size("files", 50)


def files(name: str, sample: str) -> list[Path]:
    folder = os.environ.get(f"HOLDFAST_{name}_SUITE")
    if folder is None:
        return [SAMPLES / sample]
    found = sorted(Path(folder).rglob(f"*{Path(sample).suffix}"))
    return random.Random(size("draw", 1)).sample(found, min(FILES, len(found)))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


async def through(
    target: Target, path: Path, split: Callable[[str], Iterator[str]]
) -> Counter[str]:
    suite = Suite(target)
    await suite.run(split(text(path)))
    print(path.name, dict(suite.seen))
    assert suite.wrong == [], path
    return suite.seen


@pytest.mark.timeout(0)
@pytest.mark.parametrize("path", files("MARIADB", "mariadb.test"), ids=lambda path: path.name)
async def test_mariadb(mariadb_server: MariadbServer, path: Path) -> None:
    target = MariadbTarget(mariadb_server)
    try:
        seen = await through(target, path, splitting.mysqltest)
    finally:
        await target.case.close()
        mariadb_server.drop_database("test")
    assert path.parent != SAMPLES or seen["exact"] > 20


@pytest.mark.timeout(0)
@pytest.mark.parametrize("path", files("POSTGRES", "postgres.sql"), ids=lambda path: path.name)
async def test_postgres(postgres_server: PostgresServer, path: Path, tmp_path: Path) -> None:
    target = PostgresTarget(postgres_server, tmp_path)
    await target.engine.prepare()
    try:
        seen = await through(target, path, splitting.psql)
    finally:
        await target.engine.close()
    assert path.parent != SAMPLES or seen["exact"] > 20


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("images", "split"),
    [
        pytest.param(SqlLimits().row_images, splitting.tcl, id="rows"),
        pytest.param(0, splitting.tcl, id="pages"),
        pytest.param(SqlLimits().row_images, splitting.tcl_blocks, id="blocks"),
    ],
)
@pytest.mark.parametrize("path", files("SQLITE", "sqlite.test"), ids=lambda path: path.name)
async def test_sqlite(
    path: Path, tmp_path: Path, images: int, split: Callable[[str], Iterator[str]]
) -> None:
    limits = SqlLimits(lock_timeout_s=1.0, row_images=images)
    async with driving(tmp_path / "a.db", "PRAGMA user_version = 1", limits=limits) as driver:
        seen = await through(SqliteTarget(driver), path, split)
    least = 10 if split is splitting.tcl else 3
    assert path.parent != SAMPLES or seen["exact"] > least
