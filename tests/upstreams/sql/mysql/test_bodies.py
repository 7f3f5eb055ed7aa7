from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql.bodies import elsewhere, trigger_tables, view_tables

KNOWN = frozenset({"log", "total"})


def test_a_view_names_its_tables_and_more() -> None:
    found = view_tables("select `d`.`t`.`a` AS `a` from (`d`.`t` join `e`.`u`) where count(`a`)")
    assert not isinstance(found, Deny)
    assert found >= {("d", "t"), ("e", "u")}


@pytest.mark.parametrize(
    "text",
    ["select `d`.`bump`() AS `a`", "select sleep(1) AS `a`", "select nextval(`d`.`s`)", "a 'b"],
)
def test_a_view_over_unknown_code_is_refused(text: str) -> None:
    assert isinstance(view_tables(text), Deny)


def test_a_trigger_names_the_tables_of_its_schema() -> None:
    body = (
        "BEGIN IF (NEW.a > 1) THEN INSERT INTO LOG (a) VALUES (1); END IF; "
        "UPDATE x.y SET a = 1; END"
    )
    found = trigger_tables(body, "d", KNOWN, frozenset())
    assert not isinstance(found, Deny)
    assert found >= {("d", "log"), ("x", "y")}


@pytest.mark.parametrize(
    "body",
    [
        "CALL p()",
        "SET NEW.a = bump(1)",
        "SET NEW.a = other.bump(1)",
        "SET @a = 1",
        "SET GLOBAL max_connections = 1",
        "SET NEW.a = @@version",
        "SELECT SLEEP(1) INTO x",
        "BEGIN /*! DELETE FROM t */ END",
        "SELECT 1 INTO OUTFILE 'x'",
    ],
)
def test_a_trigger_with_unknown_code_is_refused(body: str) -> None:
    assert isinstance(trigger_tables(body, "d", KNOWN, frozenset()), Deny)


def test_a_routine_with_the_name_of_a_table_is_no_table_in_a_call() -> None:
    assert isinstance(trigger_tables("SET NEW.a = log(1)", "d", KNOWN, {"other"}), frozenset)
    assert isinstance(trigger_tables("SET NEW.a = total(1)", "d", KNOWN, {"total"}), Deny)


@pytest.mark.parametrize("word", ["against", "point", "partition"])
def test_a_word_of_the_grammar_may_be_a_routine(word: str) -> None:
    body = f"SET NEW.a = {word}(1)"
    assert isinstance(trigger_tables(body, "d", KNOWN, frozenset()), frozenset)
    assert isinstance(trigger_tables(body, "d", KNOWN, {word}), Deny)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("INSERT INTO other.log VALUES (NEW.a, OLD.b)", {("other", "log")}),
        ("UPDATE log AS l SET l.a = log.b", set()),
        ("UPDATE log, other.t AS q SET other.t.a = q.b, q.c = 1", {("other", "t")}),
        ("DELETE FROM `other`.`t` WHERE `t`.a = 1", {("other", "t"), ("t", "a")}),
    ],
)
def test_what_a_body_names_of_other_schemas(body: str, expected: set[tuple[str, str]]) -> None:
    assert elsewhere(body, KNOWN) == expected
