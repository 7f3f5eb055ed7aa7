from __future__ import annotations

from tests.suites import splitting
from tests.suites.test_suites import SAMPLES


def test_what_steers_the_test_program_is_left_out() -> None:
    found = list(splitting.mysqltest((SAMPLES / "mariadb.test").read_text()))
    assert found[0] == "create table t1 (a int primary key, b int, key k(b))"
    assert found[-1] == "drop table t1"
    assert "truncate table d" in found
    assert not [s for s in found if s.startswith(("--", "#", "if", "let", "delimiter", "}"))]


def test_strings_comments_and_data_end_no_statement() -> None:
    found = list(splitting.psql((SAMPLES / "postgres.sql").read_text()))
    assert "INSERT INTO parted VALUES (1, 'it''s; one'), (2, 'two')" in found
    assert "CREATE TABLE pg_attrdef (LIKE parted INCLUDING ALL)" in found
    assert found[found.index("COPY opts FROM stdin") + 1].startswith("INSERT INTO opts")
    copy = found[found.index("COPY opts FROM stdin")]
    assert isinstance(copy, splitting.WithRows)
    assert copy.stdin.endswith("\n")
    body = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $x$ SELECT 1; $x$"
    assert list(splitting.psql(f"{body};\nSELECT 1;")) == [body, "SELECT 1"]


def test_statements_stand_in_braces() -> None:
    found = [s for s in splitting.tcl((SAMPLES / "sqlite.test").read_text()) if s]
    assert found[0] == "CREATE TABLE t1(a INTEGER PRIMARY KEY, b TEXT UNIQUE)"
    assert found[2].endswith("END")
    assert "DELETE FROM t1 WHERE a = 1" in found
    assert found[-1] == "DROP TABLE t1"
