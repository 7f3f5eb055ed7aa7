from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pymysql
import pytest

from gateway.upstreams.sql.mysql.rights import hidden
from gateway.upstreams.sql.mysql.session import Door, Session, Timeouts
from tests.fixtures.mariadb_case import Case

Open = Callable[[str], Session]


@pytest.fixture
def opened(each_case: Case) -> Iterator[Open]:
    """A session of an account that has this grant alone; ``{d}`` is the database."""
    case = each_case
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE u (id INT PRIMARY KEY)")
    sessions: list[Session] = []

    def open_with(grant: str) -> Session:
        case.account("looker@'127.0.0.1'", "looker")
        case.run(grant.replace("{d}", case.database) + " TO looker@'127.0.0.1'")
        url = case.server.url("", "looker", "looker")
        door = Door("app", url, Timeouts(statement=5, lock=2, idle=30))
        sessions.append(door.connect())
        return sessions[-1]

    yield open_with
    for session in sessions:
        session.close()
    with suppress(pymysql.Error):
        case.run("DROP USER looker@'127.0.0.1'")


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ("GRANT ALL ON *.*", []),
        ("GRANT TRIGGER ON *.*", []),
        ("GRANT ALL ON {d}.*", []),
        ("GRANT SELECT, TRIGGER ON `t%`.*", []),
        ("GRANT ALL ON {d}.t", ["u"]),
        ("GRANT SELECT, TRIGGER ON {d}.u", ["t"]),
        ("GRANT SELECT, INSERT, UPDATE, DELETE ON {d}.*", ["t", "u"]),
        ("GRANT TRIGGER ON other.*", ["t", "u"]),
        (r"GRANT TRIGGER ON `\_%`.*", ["t", "u"]),
        ("GRANT USAGE ON *.*", ["t", "u"]),
    ],
)
async def test_where_triggers_are_not_shown(
    each_case: Case, opened: Open, grant: str, expected: list[str]
) -> None:
    at = each_case.database
    found = hidden(opened(grant), [(at, "t"), (at, "u")])
    assert [name for _, name in found] == expected


async def test_the_right_of_a_role_counts(each_case: Case, opened: Open) -> None:
    case = each_case
    case.run("DROP ROLE IF EXISTS watcher")
    case.run("CREATE ROLE watcher")
    case.run(f"GRANT TRIGGER ON {case.database}.* TO watcher")
    session = opened("GRANT watcher")
    assert hidden(session, [(case.database, "t")])
    session.run("SET ROLE watcher")
    assert not hidden(session, [(case.database, "t")])
    case.run("DROP ROLE watcher")


async def test_what_is_hidden_is_what_the_server_does_not_show(
    each_case: Case, opened: Open
) -> None:
    case = each_case
    case.run("CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW INSERT INTO u VALUES (NEW.id)")
    query = (
        "SELECT 1 FROM information_schema.triggers WHERE trigger_name = 'x' "
        "AND action_statement IS NOT NULL"
    )
    for grant in ("SELECT", "INSERT", "SELECT, INSERT, UPDATE, DELETE", "TRIGGER", "ALL"):
        session = opened(f"GRANT {grant} ON {{d}}.t")
        shown = session.texts(query)
        assert bool(shown) is not bool(hidden(session, [(case.database, "t")]))
