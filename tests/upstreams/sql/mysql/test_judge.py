"""What the server knows of names decides with the text."""

from __future__ import annotations

from contextlib import suppress

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.model import ActionClass, Effect
from gateway.upstreams.sql.mysql.functions import KEYWORDS, NATIVE, SHADOWED
from tests.fixtures.mariadb_case import Case, Refused

SETUP = (
    "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE u (id INT PRIMARY KEY, t INT)",
    "CREATE VIEW w AS SELECT id FROM t WHERE v > 1",
)


@pytest.mark.parametrize(
    ("sql", "cls", "name"),
    [
        ("SELECT id FROM t", ActionClass.READ, "select"),
        ("SHOW TABLES", ActionClass.READ, "show"),
        ("INSERT INTO t VALUES (1, 1)", ActionClass.WRITE, "insert"),
        ("UPDATE t SET v = 1 WHERE id = 1", ActionClass.WRITE, "update"),
        ("UPDATE t SET v = 1", ActionClass.DESTRUCTIVE, "update"),
        ("UPDATE t SET v = 1 WHERE 1 = 1", ActionClass.DESTRUCTIVE, "update"),
        ("DELETE FROM t WHERE id = 1", ActionClass.DESTRUCTIVE, "delete"),
        ("REPLACE INTO t VALUES (1, 1)", ActionClass.DESTRUCTIVE, "delete"),
        ("SELECT 1; DELETE FROM t", ActionClass.DESTRUCTIVE, "delete"),
    ],
)
async def test_classes(case: Case, sql: str, cls: ActionClass, name: str) -> None:
    case.setup(*SETUP)
    action = await case.parse(sql)
    assert (action.cls, action.name) == (cls, name)


async def test_effects_name_schema_and_table(case: Case) -> None:
    case.setup(*SETUP)
    d = case.database
    action = await case.parse("UPDATE t SET v = 1 WHERE id = 1")
    assert action.effects == (
        Effect(verb="update", kind="table", name=f"{d}.t", columns=("v", "id")),
    )
    action = await case.parse("SELECT * FROM w")
    assert [(e.verb, e.kind, e.name) for e in action.effects] == [
        ("select", "view", f"{d}.w"),
        ("select", "table", f"{d}.t"),
    ]
    action = await case.parse("DELETE t FROM t JOIN u ON u.t = t.id")
    assert ("delete", f"{d}.t") in {(e.verb, e.name) for e in action.effects}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM holdfast.receipts",
        "SELECT * FROM holdfast.receipts",
        "UPDATE mysql.user SET user = 'x'",
        "INSERT INTO information_schema.tables VALUES (1)",
    ],
)
async def test_the_gateways_and_the_servers_own_tables(case: Case, sql: str) -> None:
    case.setup(*SETUP)
    with pytest.raises((Refused, UpstreamError)):
        await case.parse(sql)


async def test_a_table_that_is_not_there_is_the_servers_own_error(case: Case) -> None:
    case.setup(*SETUP)
    for sql in ("SELECT * FROM nothing", "DELETE FROM nothing WHERE id = 1"):
        with pytest.raises(UpstreamError) as error:
            await case.parse(sql)
        assert error.value.extra["code"] in (1146, 1142)


async def test_a_routine_that_shares_a_name_is_not_called(case: Case) -> None:
    case.run("SET GLOBAL log_bin_trust_function_creators = 1")
    case.setup(*SETUP, "CREATE FUNCTION t(a INT) RETURNS INT RETURN a")
    with pytest.raises(Refused) as refused:
        await case.parse("INSERT INTO t (id) VALUES (1)")
    assert refused.value.deny.reason == "action.unsupported"


async def test_what_a_stored_function_could_stand_for(case: Case) -> None:
    """Every name that may be called: either the server never takes a stored function for it, or
    the statement is refused while there is one."""
    case.run("SET GLOBAL log_bin_trust_function_creators = 1")
    case.setup("CREATE TABLE hit (n VARCHAR(64))")
    for name in sorted(NATIVE | KEYWORDS | SHADOWED):
        for takes, given in (("", ""), ("a INT", "1")):
            with suppress(pymysql.Error):  # some are no names of routines at all
                case.run(
                    f"CREATE OR REPLACE FUNCTION `{name}`({takes}) RETURNS INT MODIFIES SQL DATA "
                    f"BEGIN INSERT INTO hit VALUES ('{name}'); RETURN 1; END"
                )
            with suppress(pymysql.Error):
                case.run(f"SELECT {name}({given})")
    taken = {str(name) for (name,) in case.run("SELECT DISTINCT n FROM hit")}
    assert taken >= {"point", "distance"}
    for name in sorted(taken):
        for given in ("", "1"):
            with pytest.raises(Refused) as refused:
                await case.parse(f"SELECT {name}({given})")
            assert refused.value.deny.reason in ("action.unsupported", "sql.unparsable")


async def test_a_table_with_the_name_of_no_table(case: Case) -> None:
    case.setup("CREATE TABLE `dual` (id INT PRIMARY KEY)", "CREATE TABLE t (id INT PRIMARY KEY)")
    case.run("INSERT INTO `dual` VALUES (1)")
    case.run("INSERT INTO t VALUES (1)")
    assert (await case.parse("SELECT 1 FROM dual")).effects == ()
    for sql in ("SELECT * FROM `dual`", "DELETE FROM `dual`"):
        named = {effect.name for effect in (await case.parse(sql)).effects}
        assert named == {f"{case.database}.dual"}
    before = case.dump()
    done = await case.call("DELETE `dual` FROM t JOIN `dual` ON `dual`.id = t.id")
    assert case.run("SELECT * FROM `dual`") == []
    await case.revert(done.undo)
    assert case.dump() == before


async def test_an_alias_of_a_delete_is_no_table(case: Case) -> None:
    case.setup(*SETUP, "INSERT INTO t VALUES (1, 1)", "INSERT INTO u VALUES (1, 1)")
    before = case.dump()
    done = await case.call("DELETE a FROM t AS a JOIN u AS b ON b.t = a.id")
    assert done.ran.measured.rows == 1
    await case.revert(done.undo)
    assert case.dump() == before


async def test_an_engine_that_keeps_rows_elsewhere(case: Case) -> None:
    case.setup("CREATE TABLE c (a INT NOT NULL) ENGINE=CSV")
    assert (await case.parse("SELECT * FROM c")).cls is ActionClass.READ
    with pytest.raises(UpstreamError) as error:
        await case.call("INSERT INTO c VALUES (1)")
    assert error.value.reason == "undo.unavailable"
    assert case.run("SELECT COUNT(*) FROM c")[0][0] == 0
