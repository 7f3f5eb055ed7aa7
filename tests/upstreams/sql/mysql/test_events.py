from __future__ import annotations

import pymysql
import pytest

from gateway.upstreams.sql.mysql import catalog, events, rows
from gateway.upstreams.sql.mysql.session import Session
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_shapes import types

SILENT = (
    "CREATE TABLE log (id INT)",
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(300))",
    "CREATE TABLE c (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES t (id) ON DELETE CASCADE)",
    "INSERT INTO t VALUES (1, REPEAT('é', 300)), (2, NULL)",
    "INSERT INTO c VALUES (1)",
    "CREATE TRIGGER i BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'x'",
    "CREATE TRIGGER d AFTER DELETE ON t FOR EACH ROW INSERT INTO log VALUES (OLD.id)",
)


def there(session: Session, case: Case, name: str) -> tuple[catalog.Table, list[rows.Row]]:
    at = (case.database, name)
    table = catalog.tables(session, [at])[at]
    return table, session.rows(f"SELECT {rows.selected(rows.stored(table))} FROM {table.quoted}")


async def test_rows_go_and_come_without_a_trigger_and_without_a_cascade(each_case: Case) -> None:
    case = each_case
    case.setup(*SILENT)
    before = case.dump()

    def work(session: Session) -> None:
        assert events.allowed(session)
        session.run(rows.EXACT)
        table, found = there(session, case, "t")
        to = events.layout(session, table)
        assert to is not None
        assert events.allowed(session)
        session.run("START TRANSACTION")
        events.apply(session, to, found, delete=True)
        assert there(session, case, "t")[1] == []
        assert len(there(session, case, "c")[1]) == 1
        events.apply(session, to, found, delete=False)
        assert session.in_transaction
        session.run("COMMIT")

    async with case.source._peers.session() as lent:
        await lent.do(work)
    assert case.dump() == before


async def test_every_type_or_none(each_case: Case) -> None:
    case, mysql = each_case, each_case.server.kind == "mysql"
    case.setup(
        *types(case.server.kind),
        "ALTER TABLE y DROP COLUMN uu, DROP COLUMN i6" + (", DROP COLUMN j" if mysql else ""),
        "CREATE TABLE u (i JSON)" if mysql else "CREATE TABLE u (i UUID)",
    )

    def work(session: Session) -> None:
        session.run(rows.EXACT)
        table, found = there(session, case, "y")
        to = events.layout(session, table)
        assert to is not None
        assert events.allowed(session)
        session.run("START TRANSACTION")
        events.apply(session, to, found, delete=True)
        events.apply(session, to, found, delete=False)
        assert sorted(there(session, case, "y")[1], key=repr) == sorted(found, key=repr)
        session.run("ROLLBACK")
        assert events.layout(session, there(session, case, "u")[0]) is None

    async with case.source._peers.session() as lent:
        await lent.do(work)


async def test_what_the_server_computes_is_not_written_this_way(each_case: Case) -> None:
    case = each_case
    case.setup(
        "CREATE TABLE g (id INT, v INT AS (id + 1) STORED)",
        "CREATE TABLE h (id INT, v INT, KEY (id, (v + 1)))"
        if case.server.kind == "mysql"
        else "CREATE TABLE h (id INT, v TEXT, UNIQUE (v) USING HASH)",
    )

    def work(session: Session) -> None:
        for name in ("g", "h"):
            assert events.layout(session, there(session, case, name)[0]) is None

    async with case.source._peers.session() as lent:
        await lent.do(work)


async def test_an_account_without_the_right(each_case: Case) -> None:
    case = each_case
    async with case.source._agents.session() as lent:
        assert not await lent.do(events.allowed)


async def test_a_value_that_is_taken_is_the_servers_error(each_case: Case) -> None:
    case = each_case
    case.setup(*SILENT)

    def work(session: Session) -> None:
        session.run(rows.EXACT)
        table, found = there(session, case, "t")
        to = events.layout(session, table)
        assert to is not None
        assert events.allowed(session)
        session.run("START TRANSACTION")
        with pytest.raises(pymysql.Error) as error:
            events.apply(session, to, found, delete=False)
        assert error.value.args[0] == 1062

    async with case.source._peers.session() as lent:
        await lent.do(work)
