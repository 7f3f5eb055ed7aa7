from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql.closure import Closure, closure
from gateway.upstreams.sql.mysql.session import Session
from tests.fixtures.mariadb_case import Case
from tests.upstreams.sql.mysql.test_catalog import session_of


@pytest.fixture
def session(case: Case) -> Iterator[Session]:
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) "
        "ON DELETE CASCADE)",
        "CREATE TABLE g (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) "
        "ON DELETE SET NULL)",
        "CREATE TABLE r (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
        "CREATE TABLE log (id INT PRIMARY KEY)",
        "CREATE TABLE deep (id INT PRIMARY KEY)",
        "CREATE TRIGGER a AFTER UPDATE ON p FOR EACH ROW INSERT INTO log VALUES (1)",
        "CREATE TRIGGER b AFTER INSERT ON log FOR EACH ROW UPDATE deep SET id = 1",
        "CREATE TRIGGER d AFTER DELETE ON c FOR EACH ROW DELETE FROM deep",
        "CREATE VIEW v AS SELECT * FROM p",
    )
    session = session_of(case)
    yield session
    session.close()


def reach(case: Case, session: Session, table: str, *verbs: str) -> set[str]:
    found = closure(session, {(case.database, table): verbs})
    assert isinstance(found, Closure), found.detail
    return {name for _, name in found.tables}


@pytest.mark.parametrize(
    ("table", "verb", "expected"),
    [
        ("p", "insert", {"p"}),
        ("p", "delete", {"p", "c", "g"}),  # foreign keys fire no triggers
        ("p", "update", {"p", "log", "deep"}),
        ("c", "delete", {"c", "g", "deep"}),
        ("v", "delete", {"p", "c", "g"}),
        ("log", "insert", {"log", "deep"}),
    ],
)
async def test_what_a_statement_can_reach(
    case: Case, session: Session, table: str, verb: str, expected: set[str]
) -> None:
    assert reach(case, session, table, verb) == expected


@pytest.mark.parametrize(
    "body", ["CALL x()", "SET @a = 1", "INSERT INTO m VALUES (1)", "SET NEW.id = f(1)"]
)
async def test_what_cannot_be_followed_is_refused(case: Case, session: Session, body: str) -> None:
    case.run("SET GLOBAL log_bin_trust_function_creators = 1")
    case.run("CREATE TABLE m (id INT) ENGINE=MyISAM")
    case.run("CREATE FUNCTION f(a INT) RETURNS INT RETURN a")
    case.run("CREATE PROCEDURE x() SELECT 1 INTO @b")
    case.run(f"CREATE TRIGGER e BEFORE INSERT ON deep FOR EACH ROW {body}")
    found = closure(session, {(case.database, "deep"): ("insert",)})
    assert isinstance(found, Deny)
    assert found.reason == "undo.unavailable"


async def test_a_trigger_that_is_read_under_another_sql_mode(case: Case, session: Session) -> None:
    case.run("SET sql_mode = 'ANSI_QUOTES'")
    case.run('CREATE TRIGGER q AFTER INSERT ON p FOR EACH ROW INSERT INTO "log" VALUES (9)')
    case.run("SET sql_mode = DEFAULT")
    found = closure(session, {(case.database, "p"): ("insert",)})
    assert isinstance(found, Deny)
    assert "ANSI_QUOTES" in found.detail
