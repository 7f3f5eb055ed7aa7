from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.counters import Handled, handled, rows_modified
from tests.fixtures.mariadb_case import Case
from tests.upstreams.sql.mysql.test_catalog import session_of


async def test_counts_of_a_session_and_of_its_transaction(case: Case) -> None:
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT REFERENCES p (id) ON DELETE CASCADE)",
        "INSERT INTO p VALUES (1), (2)",
        "INSERT INTO c VALUES (1, 1), (2, 1), (3, 2)",
    )
    session = session_of(case)
    session.run("START TRANSACTION")
    before = handled(session)
    session.run("DELETE FROM p WHERE id = 1")
    session.run("INSERT INTO p VALUES (9)")
    session.run("UPDATE p SET id = 8 WHERE id = 9")
    # What the foreign key did is known to the storage engine alone.
    assert handled(session).since(before) == Handled(1, 1, 1)
    assert (rows_modified(session) or 0) >= 5
    session.run("ROLLBACK")
    session.close()


async def test_the_count_is_never_a_stale_one(case: Case) -> None:
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)")
    session, other = session_of(case), session_of(case)
    other.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    session.run("START TRANSACTION")
    for number in range(1, 6):
        rows_modified(other)  # somebody else's question has just renewed the server's copy
        session.run(f"INSERT INTO t VALUES ({number})")
        assert rows_modified(session) == number
    session.close()
    other.close()


async def test_without_the_right_there_is_no_count(case: Case) -> None:
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)")
    url = case.server.url(case.database, "agent", "agent")
    from gateway.upstreams.sql.mysql.session import Door, Timeouts

    session = Door("app", url, Timeouts(statement=9, lock=1, idle=30)).connect()
    session.run("START TRANSACTION")
    session.run("INSERT INTO t VALUES (1)")
    assert rows_modified(session) is None
    session.close()


async def test_without_a_count_nothing_is_taken_for_unchanged(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(case)
    monkeypatch.setattr(session, "texts", lambda _: [("HANDLER_WRITE", "1")])
    with pytest.raises(UpstreamError) as refused:
        handled(session)
    assert refused.value.reason == "undo.unavailable"
    session.close()
