from __future__ import annotations

from collections.abc import Iterator

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.session import (
    Door,
    Session,
    Timeouts,
    TooMuch,
    address,
    elsewhere,
)
from tests.fixtures.mariadb_server import MariadbServer

TIMEOUTS = Timeouts(statement=10, lock=1, idle=30)


@pytest.fixture
def door(mariadb_server: MariadbServer) -> Door:
    return Door("app", mariadb_server.url("mysql"), TIMEOUTS)


@pytest.fixture
def session(door: Door) -> Iterator[Session]:
    session = door.connect()
    yield session
    session.close()


def test_one_statement_per_packet(session: Session) -> None:
    with pytest.raises(pymysql.ProgrammingError):
        session.statement("SELECT 1; SELECT 2", max_rows=9, max_bytes=999)


def test_the_server_cannot_ask_for_a_file(session: Session) -> None:
    session.run("CREATE TEMPORARY TABLE holdfast_local (a TEXT)")
    with pytest.raises((pymysql.Error, RuntimeError)):
        session.run("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE holdfast_local")


@pytest.mark.parametrize(
    "setting",
    [
        "sql_mode = 'ANSI_QUOTES'",
        "sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "NAMES latin1",
        "NAMES utf8mb4 COLLATE utf8mb4_bin, character_set_client = 'gbk'",
        "autocommit = 0",
        "foreign_key_checks = 0",
        "unique_checks = 0",
        "time_zone = '+01:00'",
        "tx_isolation = 'READ-UNCOMMITTED'",
        "sql_select_limit = 1",
        "character_set_results = NULL",
    ],
)
def test_a_session_that_was_changed_is_noticed_and_renewed(
    door: Door, session: Session, setting: str
) -> None:
    door.verify(session)
    session.run(f"SET {setting}")
    with pytest.raises(UpstreamError, match="does not keep"):
        door.verify(session)
    assert door.renew(session)
    door.verify(session)


def test_nothing_outlives_a_renewal(door: Door, session: Session) -> None:
    session.run("START TRANSACTION")
    session.run("SET @a = 1")
    session.rows("SELECT GET_LOCK('holdfast_test', 0)")
    assert session.in_transaction
    assert door.renew(session)
    assert not session.in_transaction
    assert session.rows("SELECT @a, IS_USED_LOCK('holdfast_test')") == [(None, None)]


def test_the_servers_lexical_modes_are_left_out(mariadb_server: MariadbServer, door: Door) -> None:
    with mariadb_server.connect() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.sql_mode")
        (old,) = cursor.fetchone()
        cursor.execute("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_ZERO_DATE'")
        try:
            session = door.connect()
            assert session.texts('SELECT @@sql_mode, "text"') == [("NO_ZERO_DATE", "text")]
            session.close()
        finally:
            cursor.execute(f"SET GLOBAL sql_mode = '{old}'")


def test_results_over_their_bounds_drop_the_session(session: Session) -> None:
    with pytest.raises(TooMuch):
        session.statement("SELECT * FROM help_relation", max_rows=10, max_bytes=9999)
    assert not session.open


def test_a_statement_that_takes_too_long_is_ended(mariadb_server: MariadbServer) -> None:
    door = Door("app", mariadb_server.url("mysql"), Timeouts(statement=0.2, lock=1, idle=9))
    session = door.connect()
    with pytest.raises(pymysql.Error) as error:
        session.rows(
            "SELECT COUNT(*) FROM seq_1_to_99999 a JOIN seq_1_to_99999 b ON a.seq <> b.seq"
        )
    assert error.value.args[0] == 1969
    session.close()


def test_an_unreachable_server_names_nothing() -> None:
    door = Door("app", "mysql://someone:secret@127.0.0.1:1/x", TIMEOUTS)
    with pytest.raises(UpstreamError) as error:
        door.connect()
    assert error.value.reason == "upstream.unreachable"
    assert "secret" not in str(error.value)


def test_the_address_of_a_url() -> None:
    at = address("mysql://a%40b:p%2Fq@db:3307/shop?socket=/run/x&ca=/etc/ca.pem")
    assert (at.user, at.password, at.host, at.port, at.database, at.socket, at.tls) == (
        "a@b", "p/q", "db", 3307, "shop", "/run/x", "/etc/ca.pem",
    )  # fmt: skip
    assert "p/q" not in repr(at)
    assert elsewhere("mysql://own@db/x", "mysql://agent@db/shop") == "mysql://own@db/shop"
