from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Deny
from gateway.upstreams.sql.postgres.grammar import _written, read
from gateway.upstreams.sql.postgres.libpg import pg
from gateway.upstreams.sql.postgres.written import Change, Grammar, Written
from gateway.upstreams.sql.worker import SMALL_TEXT


def grammar(sql: str) -> Grammar:
    found = read(sql, 1 << 20)
    assert isinstance(found, Grammar), found
    return found


def one(sql: str) -> Written:
    (statement,) = grammar(sql).statements
    return statement


def refused(sql: str) -> Deny:
    found = read(sql, 1 << 20)
    assert isinstance(found, Deny), found
    return found


def test_a_text_is_split_at_the_grammars_own_places() -> None:
    found = grammar("SELECT ';ä' ; /* ; */ DELETE FROM t WHERE a = ';' ;; SELECT 2")

    assert [s.sql for s in found.statements] == [
        "SELECT ';ä'",
        "DELETE FROM t WHERE a = ';'",
        "SELECT 2",
    ]


def test_parameters_are_counted_over_the_text() -> None:
    found = grammar("SELECT $1; UPDATE t SET a = $2 WHERE b = $2")

    assert found.parameters == 2
    assert [s.param_types for s in found.statements] == [(0,), (25, 0)]


@pytest.mark.parametrize("sql", ["SELECT $2", "SELECT $1, $3", "SELECT $0"])
def test_parameters_without_a_number_in_between_are_malformed(sql: str) -> None:
    assert refused(sql).reason in ("malformed", "sql.unparsable")


def test_writes_are_found_at_any_depth() -> None:
    found = one(
        "WITH a AS (WITH b AS (DELETE FROM t RETURNING *) SELECT * FROM b), "
        "c AS (UPDATE t SET x = 1 WHERE y = 2 RETURNING *) SELECT 1"
    )

    assert set(found.changes) == {
        Change(verb="delete", bounded=False),
        Change(verb="update", bounded=True),
    }


@pytest.mark.parametrize(
    ("options", "analyzes"),
    [
        ("", False),
        ("ANALYZE", True),
        ("VERBOSE", False),
        ("(ANALYZE)", True),
        ("(ANALYZE OFF)", False),
        ("(ANALYZE 0)", False),
        ("(ANALYZE 'TRUE')", True),
        ("(ANALYZE OFF, ANALYZE ON)", True),
        ("(ANALYZE, ANALYZE FALSE)", False),
        ("(VERBOSE, ANALYZE, COSTS OFF)", True),
    ],
)
def test_the_last_analyze_of_explain_counts(options: str, analyzes: bool) -> None:
    found = one(f"EXPLAIN {options} DELETE FROM t")

    assert found.explains is not analyzes
    assert found.verb == ("delete" if analyzes else "explain")
    assert found.asks == "DELETE FROM t"
    assert bool(found.changes) is analyzes


@pytest.mark.parametrize(
    ("sql", "query"),
    [
        ("CREATE TABLE x AS SELECT 1 AS a", "SELECT 1 AS a"),
        ("SELECT a INTO x FROM t", "SELECT a FROM t"),
        ("SELECT 1 INTO x UNION SELECT 2", "SELECT 1 UNION SELECT 2"),
        ("CREATE VIEW x AS SELECT f(1)", "SELECT f(1)"),
    ],
)
def test_the_query_that_a_relation_is_made_of_is_asked_about(sql: str, query: str) -> None:
    found = one(sql)

    assert found.verb == "create"
    assert found.schema_change
    assert found.asks == query


def test_every_statement_of_the_grammar_that_is_not_listed_is_refused() -> None:
    accepted = {
        "SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt ExplainStmt VariableShowStmt",
        "CreateStmt CreateTableAsStmt ViewStmt IndexStmt CreateSeqStmt AlterSeqStmt",
        "CreateSchemaStmt AlterTableStmt RenameStmt AlterObjectSchemaStmt DropStmt TruncateStmt",
        "AlterDefaultPrivilegesStmt CreateEnumStmt CompositeTypeStmt CreateDomainStmt",
        "CreatePolicyStmt AlterPolicyStmt CreateStatsStmt DoStmt CallStmt",
        "PrepareStmt ExecuteStmt DeallocateStmt DeclareCursorStmt FetchStmt ClosePortalStmt",
    }
    known = {name for line in accepted for name in line.split()}
    statements = {n for n in pg.DESCRIPTOR.message_types_by_name if n.endswith("Stmt")}

    assert known < statements
    assert len(statements - known) > 80
    for name in statements - known - {"RawStmt", "SetOperationStmt", "ReturnStmt", "PLAssignStmt"}:
        node = pg.Node()
        field = next(f for f in node.DESCRIPTOR.fields if f.message_type.name == name)
        getattr(node, field.name).SetInParent()
        answer = _written("", node, set())
        assert isinstance(answer, Deny), name
        assert answer.reason == "sql.unsupported"


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE a RENAME TO b; DROP TABLE b",
        "ALTER TABLE a RENAME TO b; SELECT * FROM c",
        "DROP TABLE a; CREATE TABLE a (i int)",
        "CREATE VIEW v AS SELECT 1; SELECT * FROM v",
        "CREATE TABLE a (i int); INSERT INTO a VALUES (1)",
    ],
)
def test_nothing_comes_after_a_schema_change_that_it_could_alter(sql: str) -> None:
    assert refused(sql).reason == "sql.unsupported"


def test_schema_changes_of_different_things_go_together() -> None:
    found = grammar("CREATE TABLE a (i int); CREATE INDEX ON a (i); ALTER TABLE b ADD c int")

    assert [s.verb for s in found.statements] == ["create", "create", "alter"]
    assert [s.verb for s in grammar("DELETE FROM a; DROP TABLE a").statements] == ["delete", "drop"]


def test_deep_and_long_texts_are_read_or_refused() -> None:
    assert one("SELECT " + "+".join(["1"] * 1_900)).verb == "select"
    assert refused("SELECT " + "(SELECT " * 250 + "1" + ")" * 250).reason == "too_large"
    assert len(grammar("SELECT 1;" * 1_000).statements) == 1_000
    assert refused("SELECT 1;" * 1_001).reason == "sql.unsupported"


def test_functions_and_types_that_the_text_spells_are_told() -> None:
    found = one("SELECT public.f(1), g('x')::mood, 1::int FROM h() WHERE a = b.c::\"Q\"[]")

    assert found.functions == {"f", "g", "h"}
    assert found.types == {"mood", "Q"}


WORDS = [
    "SELECT",
    "INSERT",
    "INTO",
    "UPDATE",
    "DELETE",
    "FROM",
    "WHERE",
    "SET",
    "VALUES",
    "WITH",
    "AS",
    "AND",
    "OR",
    "NOT",
    "(",
    ")",
    ",",
    ";",
    "*",
    "=",
    "1",
    "'x'",
    "$1",
    "$2",
    "t",
    "a",
    "b.c",
    "nextval('s')",
    "f(1)",
    "EXPLAIN",
    "ANALYZE",
    "CREATE",
    "TABLE",
    "DROP",
    "FOR",
    "UPDATE",
    "RETURNING",
    "LIMIT",
    "/*",
    "*/",
    "--",
    '"',
    "$$",
    "E'\\\\'",
    "::",
    "int",
    "UNION",
    "MERGE",
    "USING",
    "ON",
    "WHEN",
    "MATCHED",
    "THEN",
]


@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_every_text_is_read_or_refused(sql: str) -> None:
    found = read(sql, 1 << 20)

    assert isinstance(found, Grammar | Deny)
    if isinstance(found, Grammar):
        assert found.statements
        for statement in found.statements:
            again = read(statement.sql, 1 << 20)
            # A statement on its own means what it meant in its text.
            if isinstance(again, Grammar):
                assert [s.verb for s in again.statements] == [statement.verb]
                assert again.statements[0].changes == statement.changes
            else:
                assert again.reason == "malformed", "its parameters may start later"


@pytest.mark.parametrize("part", ["1+", "NOT ", "- ", "1||", "a::int::", "(SELECT ", "a AND NOT "])
@pytest.mark.parametrize("start", ["SELECT ", "EXPLAIN SELECT ", "DELETE FROM t WHERE "])
def test_texts_that_are_parsed_in_place_are_safe_however_deep(start: str, part: str) -> None:
    sql = (start + part * SMALL_TEXT)[:SMALL_TEXT]
    for text in (sql, sql.rstrip("+-|: ") + " a"):
        assert isinstance(read(text, 1 << 20), Grammar | Deny)
