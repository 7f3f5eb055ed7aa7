from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer


async def test_an_account_with_few_rights_has_nothing_to_warn_about(case: Case) -> None:
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)")
    findings = await case.source.check()
    assert [f for f in findings if f.level != "info"] == []


async def test_what_the_server_and_the_accounts_allow_is_told(
    mariadb_server: MariadbServer, case_database: str
) -> None:
    case = Case(mariadb_server, case_database, user="root")
    case.run("SET GLOBAL log_bin_trust_function_creators = 1")
    case.setup(
        "CREATE TABLE m (id INT) ENGINE=MyISAM",
        "CREATE FUNCTION f() RETURNS INT SQL SECURITY DEFINER RETURN 1",
    )
    case.run("SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',ANSI_QUOTES')")
    case.run("SET GLOBAL binlog_row_image = MINIMAL")
    try:
        told = " ".join(f.message for f in await case.source.check())
    finally:
        case.run("SET GLOBAL sql_mode = DEFAULT")
        case.run("SET GLOBAL binlog_row_image = FULL")
    for word in ("SUPER", "FILE", "EXECUTE", "ANSI_QUOTES", "MINIMAL", "MyISAM", "owner's rights"):
        assert word in told, word
    await case.close()


async def test_without_process_what_foreign_keys_do_may_be_hidden(
    mariadb_server: MariadbServer, case_database: str
) -> None:
    case = Case(mariadb_server, case_database)
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    case.source._peers = case.source._agents
    told = [f.message for f in await case.source.check() if f.level == "warning"]
    assert any("PROCESS" in message for message in told)
    await case.call("INSERT INTO t VALUES (2)")
    with pytest.raises(UpstreamError) as error:
        await case.call("DELETE FROM t WHERE id = 1")
    assert error.value.reason == "undo.unavailable"
    assert "PROCESS" in error.value.detail
    for host in ("localhost", "'127.0.0.1'"):
        case.run(f"GRANT SELECT ON *.* TO agent@{host}")  # nothing is hidden from it
    await case.source.close()
    try:
        await case.call("DELETE FROM t WHERE id = 1")
    finally:
        for host in ("localhost", "'127.0.0.1'"):
            case.run(f"REVOKE SELECT ON *.* FROM agent@{host}")
    await case.close()


async def test_triggers_that_are_not_shown_are_told(
    mariadb_server: MariadbServer, case_database: str
) -> None:
    case = Case(mariadb_server, case_database, own="blind")
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)")
    for host in ("localhost", "'127.0.0.1'"):
        case.run(f"CREATE OR REPLACE USER blind@{host} IDENTIFIED BY 'blind'")
        case.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {case_database}.* TO blind@{host}")
        case.run(f"GRANT ALL ON holdfast.* TO blind@{host}")
    warned = [f.message for f in await case.source.check() if f.level == "warning"]
    assert any("GRANT TRIGGER" in message for message in warned)
    await case.close()
