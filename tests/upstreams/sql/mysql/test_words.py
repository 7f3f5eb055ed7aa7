from __future__ import annotations

from gateway.model import Deny
from gateway.upstreams.sql.mysql import lexing
from gateway.upstreams.sql.mysql.words import Words


def words(sql: str) -> Words:
    texts = lexing.read(sql, ())
    assert not isinstance(texts, Deny)
    return Words(texts[0].tokens)


def test_a_statement_taken_apart() -> None:
    read = words("DROP TABLE d.`a b` CASCADE")
    assert not read.take("drop", "view")
    assert read.take("drop", "table")
    assert read.start == 11
    assert read.name() == ("d", "a b")
    assert read.end == 18
    assert [token.text for token in read.rest()] == ["CASCADE"]
    assert read.ended


def test_a_quoted_word_is_no_keyword() -> None:
    assert not words("`drop` TABLE t").take("drop")
    assert words("SELECT 1").at_query
    assert not words("`select` 1").at_query
    assert words("a b").column() == "a"
    assert words("'a' b").column() is None
