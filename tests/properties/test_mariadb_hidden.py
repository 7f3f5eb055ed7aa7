"""Accounts that are shown little of the catalog: what they cannot see is captured all the same, or
the call is refused before anything is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pymysql
import pytest

from gateway.errors import UpstreamError
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_server import MariadbServer

SETUP = (
    "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) "
    "ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE a (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
    "CREATE TRIGGER at AFTER UPDATE ON a FOR EACH ROW INSERT INTO log (v) VALUES (NEW.v)",
    "CREATE TRIGGER ad AFTER DELETE ON a FOR EACH ROW INSERT INTO log (v) VALUES (OLD.v)",
    "INSERT INTO p VALUES (1, 1), (2, 2)",
    "INSERT INTO c VALUES (1, 1), (2, 2)",
    "INSERT INTO a VALUES (1, 1), (2, 2)",
)
WRITES = (
    "DELETE FROM p WHERE id = 1",
    "UPDATE p SET id = 9 WHERE id = 1",
    "UPDATE a SET v = 2 WHERE id = 1",
    "DELETE FROM a WHERE id = 1",
    "DELETE FROM a",
    "DELETE p, a FROM p JOIN a ON a.id = p.id",
)
ROWS = "SELECT, INSERT, UPDATE, DELETE"
# Rights of agents' account and of the gateway's own, which is the same where it has none.
ACCOUNTS = {
    "rows": (f"{ROWS} ON {{d}}.*", None),
    "written tables only": (f"{ROWS} ON {{d}}.p;{ROWS} ON {{d}}.a", None),
    "own account sees the written tables only": (
        f"{ROWS} ON {{d}}.*",
        f"{ROWS}, TRIGGER ON {{d}}.p;{ROWS}, TRIGGER ON {{d}}.a",
    ),
    "one account without TRIGGER": (f"{ROWS} ON {{d}}.*", f"{ROWS} ON {{d}}.*"),
    "own account sees another table": (f"{ROWS} ON {{d}}.*", "ALL ON {d}.log"),
}
_HOSTS = ("localhost", "'127.0.0.1'")


@pytest.fixture(scope="module")
def case_database(each_mysql: MariadbServer) -> Iterator[str]:
    name = each_mysql.create_database()
    yield name
    each_mysql.drop_database(name)


@pytest.fixture(params=sorted(ACCOUNTS))
async def case(
    request: pytest.FixtureRequest, each_mysql: MariadbServer, case_database: str
) -> AsyncIterator[Case]:
    agents, own = ACCOUNTS[request.param]
    case = Case(each_mysql, case_database, user="low", own="root" if own is None else "lower")
    case.setup(*SETUP)
    for user, rights in (("low", agents), ("lower", own or "")):
        for host in _HOSTS:
            case.account(f"{user}@{host}", user)
            case.run(f"GRANT ALL ON holdfast.* TO {user}@{host}")
            case.run(f"GRANT PROCESS ON *.* TO {user}@{host}")
            for right in filter(None, rights.split(";")):
                case.run(f"GRANT {right.replace('{d}', case_database)} TO {user}@{host}")
    yield case
    await case.close()
    for user in ("low", "lower"):
        for host in _HOSTS:
            with suppress(pymysql.Error):
                case.run(f"DROP USER {user}@{host}")


@pytest.mark.parametrize("sql", WRITES)
async def test_what_an_account_is_not_shown(case: Case, sql: str) -> None:
    before = case.dump()
    try:
        done = await case.call(sql)
    except (Refused, UpstreamError) as refused:
        reason = refused.deny.reason if isinstance(refused, Refused) else refused.reason
        assert reason == "undo.unavailable"
    else:
        left = case.dump()
        named = {str(table["name"]) for table in done.undo.manifest["tables"]}
        assert named == {name for name in before if before[name] != left[name]}
        reverted = await case.revert(done.undo)
        assert reverted.states == ["reverted"]
    assert case.dump() == before


async def test_a_plain_write_goes_on_with_the_rights_that_are_documented(
    each_mysql: MariadbServer, case_database: str
) -> None:
    case = Case(each_mysql, case_database, user="plain")
    case.setup(*SETUP)
    for host in _HOSTS:
        case.account(f"plain@{host}", "plain")
        case.run(f"GRANT {ROWS} ON {case_database}.* TO plain@{host}")
        case.run(f"GRANT INSERT ON holdfast.receipts TO plain@{host}")
    before = case.dump()
    try:
        done = await case.call("DELETE FROM a WHERE id = 1")
        assert case.run("SELECT v FROM log") == [(1,)]
        await case.revert(done.undo)
        assert case.dump() == before
    finally:
        await case.close()
