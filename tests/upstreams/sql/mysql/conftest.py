from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from gateway.upstreams.sql.mysql import images, unwind
from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.images import Summary
from gateway.upstreams.sql.mysql.keeping import Keeper, Kept
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.sweep import Sweep
from gateway.upstreams.sql.mysql.triggers import Way
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.mysql_server import MysqlServer


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


@pytest.fixture(scope="module")
def each_database(each_mysql: MariadbServer) -> Iterator[str]:
    name = each_mysql.create_database()
    yield name
    each_mysql.drop_database(name)


@pytest.fixture
async def each_case(each_mysql: MariadbServer, each_database: str) -> AsyncIterator[Case]:
    """On MariaDB and on MySQL."""
    case = Case(each_mysql, each_database)
    yield case
    await case.close()


@pytest.fixture(scope="module")
def mysql_database(mysql_server: MysqlServer) -> Iterator[str]:
    name = mysql_server.create_database()
    yield name
    mysql_server.drop_database(name)


@pytest.fixture
async def mysql(mysql_server: MysqlServer, mysql_database: str) -> AsyncIterator[Case]:
    case = Case(mysql_server, mysql_database)
    yield case
    await case.close()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What went part by part, in order, where a part is of two rows."""
    told: list[str] = []
    swept, taken_back = Keeper.swept, unwind.bulk

    def one(keeper: Keeper, sweep: Sweep, packet: int) -> Summary | None:
        found = swept(keeper, sweep, packet)
        told.append("swept" if found is not None else "not swept")
        return found

    def other(session: Session, kept: Kept, ways: Mapping[Name, Way]) -> int | None:
        count = taken_back(session, kept, ways)
        told.append("bulk" if count is not None else "not in bulk")
        return count

    monkeypatch.setattr(images, "PART", 2)
    monkeypatch.setattr(Keeper, "swept", one)
    monkeypatch.setattr(unwind, "bulk", other)
    return told


@pytest.fixture
def small_packets(mariadb_server: MariadbServer) -> Iterator[None]:
    """A server that takes statements of up to 1 MiB from sessions that are opened now."""
    with mariadb_server.connect() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.max_allowed_packet")
        [(before,)] = cursor.fetchall()
        cursor.execute("SET GLOBAL max_allowed_packet = 1048576")
        yield
        cursor.execute(f"SET GLOBAL max_allowed_packet = {before}")
