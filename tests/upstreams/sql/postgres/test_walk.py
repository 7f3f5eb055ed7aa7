from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.libpg import parse, pg
from gateway.upstreams.sql.postgres.walk import (
    QUERY_NODES,
    SCHEMA_NODES,
    bare,
    messages,
    name_of,
    restricts,
    texts,
    types_in,
    unlisted,
    unwrap,
)


def where(condition: str) -> bool:
    statement = parse(f"DELETE FROM t WHERE {condition}").stmts[0].stmt.delete_stmt
    return restricts(statement.where_clause)


@pytest.mark.parametrize(
    "condition",
    [
        "id = 1",
        "id = 1 AND true",
        "true AND (1 = 1 AND id > 5)",
        "id = 1 OR name = 'x'",
        "NOT id = 1",
        "id IN (SELECT 1)",
        "id IS NULL",
        "(id, 1) = (1, 1)",
        "lower(name) = 'x'",
        "t.id = $1",
    ],
)
def test_a_condition_on_a_column_restricts(condition: str) -> None:
    assert where(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "true",
        "1 = 1",
        "'a' < 'b'",
        "id = id",
        "t.id = t.id",
        "id = 1 OR true",
        "id = 1 OR id = id",
        "EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        "1 IN (SELECT id FROM u)",
        "$1",
        "NOT false",
    ],
)
def test_a_condition_that_looks_at_no_column_does_not_restrict(condition: str) -> None:
    assert not where(condition)


def test_the_walk_visits_every_message_whatever_the_field() -> None:
    tree = parse("SELECT * FROM ROWS FROM (f(g(1)), h(2)), (VALUES (i(3))) v ORDER BY j(4)")

    names = {texts(m.funcname)[-1] for m in messages(tree) if name_of(m) == "FuncCall"}
    assert names == set("fghij")


def test_the_walk_takes_any_depth() -> None:
    tree = parse("SELECT " + "+".join(["1"] * 1_800))

    assert sum(1 for m in messages(tree) if name_of(m) == "A_Const") == 1_800
    assert bare(tree) == bare(parse("SELECT  " + " + ".join(["1"] * 1_800)))


def test_what_is_not_listed_is_named() -> None:
    assert unlisted(parse("SELECT 1 FROM t").stmts[0].stmt, QUERY_NODES) is None
    assert unlisted(parse("LISTEN a").stmts[0].stmt, SCHEMA_NODES) == "ListenStmt"


def test_every_listed_node_is_one_of_the_grammar() -> None:
    assert set(pg.DESCRIPTOR.message_types_by_name) >= SCHEMA_NODES


def test_equal_meaning_is_told_apart_from_equal_place() -> None:
    one, same, other = (
        parse(sql).stmts[0].stmt for sql in ("SELECT a+1", "SELECT  a + 1", "SELECT a+2")
    )

    assert bare(one) == bare(same)
    assert bare(one) != bare(other)
    assert name_of(unwrap(one)) == "SelectStmt"


def test_types_that_need_no_catalog_are_left_out() -> None:
    tree = parse("SELECT 1::int, 'a'::s.mood, CAST(x AS oddly[]) FROM t")

    assert types_in(messages(tree)) == {"mood", "oddly"}
