from __future__ import annotations

import pytest

from gateway.addresses import Ambiguous
from gateway.upstreams.http.patterns import clash, pattern_of


@pytest.mark.parametrize(
    "match",
    [
        "delete /a", "FROB /a", "CONNECT /a", "/a", "GET a", "GET", "GET  /a", "GET /a/{id",
        "GET /{}", "GET /{a}{b}", "GET /x{a}", "GET /{1a}", "GET /{a}/{a}", "GET /../a",
        "GET /a//b", "GET /a?b=c", "GET /%2f", "GET /{a:int}",
    ],
)  # fmt: skip
def test_a_pattern_that_is_none_is_refused(match: str) -> None:
    with pytest.raises(Ambiguous):
        pattern_of(match)


def test_a_variable_stands_for_one_segment_that_is_not_empty() -> None:
    pattern = pattern_of("GET /customers/{id}/notes")
    assert pattern.match(["customers", "7", "notes"]) == {"id": "7"}
    assert pattern.match(["customers", "a b/..", "notes"]) == {"id": "a b/.."}
    assert pattern.match(["customers", "", "notes"]) is None
    assert pattern.match(["customers", "7"]) is None
    assert pattern.match(["Customers", "7", "notes"]) is None
    assert pattern.variables == {"id"}


def test_literals_are_compared_decoded() -> None:
    assert pattern_of("GET /caf%C3%A9").match(["café"]) == {}


@pytest.mark.parametrize(
    ("first", "second", "part"),
    [
        ("GET /a/{x}", "GET /a/{y}", "the same requests"),
        ("GET /a/{x}", "GET /{y}/b", "neither is a special case"),
        ("GET /a/{x}", "GET /a/me", None),
        ("GET /a/{x}", "POST /a/{x}", None),
        ("GET /a/{x}", "GET /a/{x}/b", None),
        ("GET /a/b", "GET /a/c", None),
    ],
)
def test_routes_that_meet_must_be_told_apart(first: str, second: str, part: str | None) -> None:
    why = clash(pattern_of(first), pattern_of(second))
    assert why is None if part is None else part in str(why)
    assert (clash(pattern_of(second), pattern_of(first)) is None) == (why is None)
