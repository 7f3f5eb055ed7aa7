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
def opened(case: Case) -> Iterator[Open]:
    """A session of an account that has this grant alone; ``{d}`` is the database."""
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE u (id INT PRIMARY KEY)")
    sessions: list[Session] = []

    def open_with(grant: str) -> Session:
        case.run("CREATE OR REPLACE USER looker@'127.0.0.1' IDENTIFIED BY 'looker'")
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
    case: Case, opened: Open, grant: str, expected: list[str]
) -> None:
    found = hidden(opened(grant), [(case.database, "t"), (case.database, "u")])
    assert [name for _, name in found] == expected


async def test_the_right_of_a_role_counts(case: Case, opened: Open) -> None:
    case.run("CREATE OR REPLACE ROLE watcher")
    case.run(f"GRANT TRIGGER ON {case.database}.* TO watcher")
    session = opened("GRANT watcher")
    assert hidden(session, [(case.database, "t")])
    session.run("SET ROLE watcher")
    assert not hidden(session, [(case.database, "t")])
    case.run("DROP ROLE watcher")


async def test_what_is_hidden_is_what_the_server_does_not_show(case: Case, opened: Open) -> None:
    case.run("CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW INSERT INTO u VALUES (NEW.id)")
    query = (
        "SELECT 1 FROM information_schema.triggers WHERE trigger_name = 'x' "
        "AND action_statement IS NOT NULL"
    )
    for grant in ("SELECT", "INSERT", "SELECT, INSERT, UPDATE, DELETE", "TRIGGER", "ALL"):
        session = opened(f"GRANT {grant} ON {{d}}.t")
        shown = session.texts(query)
        assert bool(shown) is not bool(hidden(session, [(case.database, "t")]))
