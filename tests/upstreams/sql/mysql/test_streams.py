from __future__ import annotations

import pymysql
import pytest

from gateway.upstreams.sql.mysql.session import Door, Timeouts
from gateway.upstreams.sql.mysql.streams import Stream
from tests.fixtures.mariadb_server import MariadbServer

LENGTHS = (0, 1, 250, 251, 252, 65_535, 65_536, 1_000_000)


@pytest.fixture
def door(mariadb_server: MariadbServer) -> Door:
    return Door("app", mariadb_server.url("mysql"), Timeouts(statement=20, lock=1, idle=30))


def test_values_of_every_length(door: Door) -> None:
    session = door.connect()
    wanted = ", ".join(f"REPEAT('x', {n})" for n in LENGTHS)
    ((null, *cells),) = session.rows(f"SELECT NULL, {wanted}")
    assert null is None
    assert [len(cell or b"") for cell in cells] == list(LENGTHS)
    session.close()


def test_a_value_longer_than_a_packet(door: Door, mariadb_server: MariadbServer) -> None:
    with mariadb_server.connect() as root, root.cursor() as cursor:
        cursor.execute("SET GLOBAL max_allowed_packet = 67108864")
        session = door.connect()
        cursor.execute("SET GLOBAL max_allowed_packet = DEFAULT")
    size = 0xFFFFFF + 10
    assert [len(c or b"") for c in session.rows(f"SELECT REPEAT('x', {size}), 'y'")[0]] == [size, 1]
    assert session.rows("SELECT 1") == [(b"1",)]
    session.close()


def test_rows_in_parts_and_the_session_afterwards(door: Door) -> None:
    session = door.connect()
    stream = Stream(session.connection, "SELECT seq FROM seq_1_to_25")
    parts = []
    while part := stream.take(10):
        parts.append(len(part))
    assert parts == [10, 10, 5]
    assert session.rows("SELECT 1") == [(b"1",)]
    session.close()


def test_an_error_in_the_middle_of_a_result(door: Door) -> None:
    session = door.connect()
    with pytest.raises(pymysql.Error) as error:
        session.rows(
            "SELECT seq, IF(seq = 20000, (SELECT seq FROM seq_1_to_2), seq) FROM seq_1_to_30000"
        )
    assert error.value.args[0] == 1242
    assert session.rows("SELECT 1") == [(b"1",)]
    session.close()


def test_what_is_left_unread_goes_with_the_session(door: Door) -> None:
    session = door.connect()
    stream = session.streamed("SELECT seq FROM seq_1_to_100000")
    stream.take(10)
    stream.abandon()
    assert not session.open
