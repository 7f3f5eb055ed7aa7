from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.libpg import Unparsable, deparse, parse
from gateway.upstreams.sql.postgres.walk import bare


def test_statements_are_split_by_the_grammar() -> None:
    assert len(parse("SELECT ';'; SELECT $$;$$;").stmts) == 2


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT 'a", "SELECT " + "(" * 20_000])
def test_what_the_grammar_does_not_take_says_why(sql: str) -> None:
    with pytest.raises(Unparsable, match=r"syntax|unterminated|memory"):
        parse(sql)


def test_a_statement_comes_back_as_text_of_the_same_meaning() -> None:
    node = parse('select E\'a\\\'b\', "X".y from t "X" where y <> all ($1)').stmts[0].stmt

    assert bare(parse(deparse(node)).stmts[0].stmt) == bare(node)
