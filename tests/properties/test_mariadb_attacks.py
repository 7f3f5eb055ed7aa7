"""Statements that try to pass for reads, judged and then run by root outside of any wall, where
nothing but the judgement holds an effect back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.model import ActionClass
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_server import MariadbServer

BODY = "RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO hits VALUES (1); RETURN 1; END"
SETUP = (
    "CREATE TABLE hits (n INT)",
    "CREATE TABLE t (id INT PRIMARY KEY, v INT, w VARCHAR(20))",
    "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')",
    f"CREATE FUNCTION bump() {BODY}",
    f"CREATE FUNCTION `count`(a INT) {BODY}",
    f"CREATE FUNCTION point(a INT) {BODY}",
    f"CREATE FUNCTION t(a INT) {BODY}",
    "CREATE PROCEDURE p() INSERT INTO hits VALUES (1)",
    "CREATE VIEW calls AS SELECT bump() AS a",
    "CREATE VIEW outer_calls AS SELECT a FROM calls",
)
MARIADBS = (
    "CREATE VIEW words AS SELECT point(1) AS a",
    "CREATE SEQUENCE s",
    "CREATE AGGREGATE FUNCTION total(a INT) RETURNS INT MODIFIES SQL DATA BEGIN "
    "DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN 1; INSERT INTO hits VALUES (1); "
    "LOOP FETCH GROUP NEXT ROW; END LOOP; END",
    "CREATE VIEW draws AS SELECT NEXT VALUE FOR s AS a",
)
# What is native on one server only.
MYSQLS = (
    *(f"CREATE FUNCTION {name}(a INT) {BODY}" for name in ("nvl", "md5", "area", "json_query")),
    "CREATE VIEW draws AS SELECT nvl(1) AS a",
    "CREATE VIEW words AS SELECT md5(1) AS a",
)
CALLS = (
    "bump()", "bump ()", "bump/**/()", "`bump`()", "{d}.bump()", "`{d}`.`bump`()", "BUMP(\n)",
    "{d}.count(1)", "{d}.`count`(1)", "point(1)", "t(1)", "total(1)", "NEXTVAL(s)",
    "NEXT VALUE FOR s", "SETVAL(s, 900)", "{d}.s.nextval", "(SELECT a FROM calls)",
    "(SELECT MAX(a) FROM outer_calls)", "(SELECT a FROM draws)", "(SELECT a FROM words)",
    "(SELECT 1 FROM t WHERE bump())", "'a' = bump()", "'\\'' = bump()", "'\\\\'=bump()",
    "N'a' = bump()", "_binary'\\' , bump(), ' '", "_utf8mb4'a'=bump()", "x'41' = bump()",
    "b'1' = bump()", "1.e0+bump()", "1.bump()", '"a\\" , bump(), "', '"a""b" = bump()',
    "/*!bump()*/", "/*!50000 bump()*/", "/*M!bump()*/", "1 -- \n + bump()", "1 # '\n + bump()",
    "1 --\t'\n + bump()", "1 /* ' */ + bump() /* ' */", "{{fn bump()}}", "@a := bump()",
    "LAST_INSERT_ID(bump())", "-bump()", "NOT bump()", "bump() IS NULL", "INTERVAL(1, bump())",
    "nvl(1)", "MD5(1)", "area(1)", "json_query(1)", "/*!80000 bump()*/", "/*+ x */ bump()",
    "1 AS $$ , bump() AS $$", "1 AS $a$, bump() AS $a$", "bump() MEMBER OF ('[1]')", "bump()->'$'",
)  # fmt: skip
PLACES = (
    "SELECT {}", "SELECT 1, {} AS a FROM t", "SELECT 1 FROM t WHERE {} > 0",
    "SELECT 1 FROM t GROUP BY {}", "SELECT 1 FROM t HAVING {}", "SELECT 1 FROM t ORDER BY {}",
    "SELECT 1 FROM t a JOIN t b ON {}", "SELECT CASE WHEN {} THEN 1 ELSE 2 END",
    "SELECT 1 IN (2, {})", "SELECT (SELECT {})", "SELECT MAX(v) OVER (ORDER BY {}) FROM t",
    "WITH bump AS (SELECT {} AS a) SELECT a FROM bump", "SELECT a FROM (SELECT {} AS a) q",
    "SELECT 1 UNION SELECT {}", "SELECT NOW() + INTERVAL {} DAY", "SELECT GROUP_CONCAT({}) FROM t",
    "EXPLAIN SELECT * FROM (SELECT {} AS a) q", "VALUES ({})", "SHOW TABLES WHERE {}",
    "SHOW COLUMNS FROM t WHERE {}", "SELECT CAST({} AS CHAR)", "SELECT w LIKE {} FROM t",
    "SELECT COALESCE(NULL, {})", "SELECT 1 BETWEEN {} AND 2", "SELECT EXISTS (SELECT {})",
)  # fmt: skip
WHOLE = (
    "CALL p()", "DO bump()", "EXECUTE IMMEDIATE 'CALL p()'", "ANALYZE SELECT bump()",
    "ANALYZE FORMAT=JSON SELECT bump()", "SET @a = bump()", "TABLE calls", "TABLE draws",
    "SET STATEMENT max_statement_time = 1 FOR SELECT bump()", "SELECT * FROM calls",
    "SELECT * FROM t PROCEDURE ANALYSE()", "SELECT bump() INTO @a", "DESCRIBE calls",
    "SELECT 1 INTO OUTFILE '/tmp/holdfast-attack'", "BEGIN NOT ATOMIC CALL p(); END",
    "SELECT 1; CALL p()", "SELECT 1;;SELECT bump()", "SELECT 'a;';SELECT bump()",
    "WITH q AS (SELECT 1) DELETE FROM t", "(DELETE FROM t)", "DELETE FROM t RETURNING id",
    "SELECT * FROM (DELETE FROM t RETURNING id) q", "SHOW CREATE VIEW calls", "OPTIMIZE TABLE t",
    "EXPLAIN ANALYZE SELECT bump()", "EXPLAIN ANALYZE FORMAT=TREE SELECT a FROM calls",
    "DESCRIBE ANALYZE SELECT bump()", "VALUES ROW(bump())", "TABLE calls ORDER BY a LIMIT 1",
    "SELECT * FROM t, LATERAL (SELECT bump() AS a) q", "HANDLER t OPEN", "DO nvl(1)",
    "SELECT a FROM JSON_TABLE(bump(), '$' COLUMNS (a INT PATH '$')) q",
    "SELECT bump() INTO DUMPFILE '/tmp/holdfast-attack'", "EXPLAIN FORMAT=JSON INTO @a SELECT 1",
    "EXPLAIN EXTENDED SELECT a FROM outer_calls", "DESC SELECT a FROM (SELECT a FROM draws) q",
)  # fmt: skip


@pytest.fixture(scope="module")
def case_database(each_mysql: MariadbServer) -> Iterator[str]:
    name = each_mysql.create_database()
    yield name
    each_mysql.drop_database(name)


@pytest.fixture
async def case(each_mysql: MariadbServer, case_database: str) -> AsyncIterator[Case]:
    case = Case(each_mysql, case_database, user="root")
    case.run("SET GLOBAL log_bin_trust_function_creators = 1")
    case.setup(*SETUP, *(MYSQLS if each_mysql.kind == "mysql" else MARIADBS))
    yield case
    await case.close()


def _state(case: Case) -> object:
    return (
        case.run("SELECT COUNT(*) FROM hits"),
        case.run("SELECT * FROM t"),
        case.server.kind == "mysql" or case.run("SELECT * FROM s"),
        case.run("SELECT @@session.last_insert_id"),
    )


async def _is_read(case: Case, sql: str) -> bool:
    try:
        action = await case.parse(sql)
    except (Refused, UpstreamError):
        return False
    return action.cls is ActionClass.READ


@pytest.mark.parametrize("place", [*PLACES, "{}"])
async def test_what_passes_for_a_read_has_no_effect(case: Case, place: str) -> None:
    called = [call.format(d=case.database) for call in CALLS]
    texts = [place.replace("{}", call) for call in called] if place != "{}" else list(WHOLE)
    before = _state(case)
    for sql in texts:
        if await _is_read(case, sql):
            with suppress(pymysql.Error):  # what fails has no effect either; that is looked at
                case.run(sql)
            assert _state(case) == before, sql


async def test_the_attacks_would_have_an_effect(case: Case) -> None:
    """Most of them: a table of attacks that the server itself refuses would prove nothing."""
    done = 0
    for call in CALLS:
        before = _state(case)
        with suppress(pymysql.Error):
            case.run(f"SELECT {call.format(d=case.database)}")
        done += _state(case) != before
    assert done > len(CALLS) / 2
    assert await _is_read(case, "SELECT ABS(1), COUNT(v) FROM t WHERE id IN (SELECT id FROM t)")
