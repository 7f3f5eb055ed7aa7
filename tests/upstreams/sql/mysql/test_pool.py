from __future__ import annotations

import asyncio
import time

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.pool import Pool
from gateway.upstreams.sql.mysql.session import Timeouts
from tests.fixtures.mariadb_server import MariadbServer

TIMEOUTS = Timeouts(statement=20, lock=1, idle=30)


def pool(server: MariadbServer, size: int = 2) -> Pool:
    return Pool("app", server.url("mysql"), size=size, timeouts=TIMEOUTS)


async def test_a_session_is_used_again_and_clean(mariadb_server: MariadbServer) -> None:
    sessions = pool(mariadb_server)
    async with sessions.session() as lent:
        first = lent.session.id
        await lent.do(lambda session: session.run("SET foreign_key_checks = 0"))
    async with sessions.session() as lent:
        assert lent.session.id == first
        await lent.do(sessions.verify)
    await sessions.close()


async def test_the_servers_errors_are_ours(mariadb_server: MariadbServer) -> None:
    sessions = pool(mariadb_server)
    async with sessions.session() as lent:
        with pytest.raises(UpstreamError) as error:
            await lent.do(lambda session: session.rows("SELECT * FROM nothing_of_this_name"))
    assert error.value.extra["code"] == 1146
    await sessions.close()


async def test_nobody_waits_for_ever(mariadb_server: MariadbServer) -> None:
    sessions = pool(mariadb_server, size=1)
    async with sessions.session():
        with pytest.raises(UpstreamError) as error:
            async with sessions.session(wait_s=0.05):
                raise AssertionError("there was only one")
    assert error.value.reason == "upstream.timeout"
    await sessions.close()


async def test_work_that_was_given_up_ends_with_its_session(mariadb_server: MariadbServer) -> None:
    sessions = pool(mariadb_server)

    async def work() -> None:
        async with sessions.session() as lent:
            await lent.do(lambda session: session.rows("SELECT SLEEP(15)"))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.3)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 5
    async with sessions.session() as lent:
        assert await lent.do(lambda session: session.rows("SELECT 1")) == [(b"1",)]
    await sessions.close()


async def test_a_session_that_the_server_ended_is_replaced(mariadb_server: MariadbServer) -> None:
    sessions = pool(mariadb_server)
    async with sessions.session() as lent:
        id = lent.session.id
        with mariadb_server.connect() as root, root.cursor() as cursor:
            cursor.execute(f"KILL {id}")
        with pytest.raises(UpstreamError) as error:
            await lent.do(lambda session: session.rows("SELECT 1"))
        assert error.value.reason == "upstream.unreachable"
    async with sessions.session() as lent:
        assert lent.session.id != id
    await sessions.close()
