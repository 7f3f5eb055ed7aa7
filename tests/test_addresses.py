from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import (
    MOST_PAIRS,
    MOST_SEGMENTS,
    Ambiguous,
    by_name,
    path_from,
    query_from,
    query_of,
    segments_of,
)

REFUSED_PATHS = [
    "", "a", "/pub/../admin", "/pub/%2e%2e/admin", "/pub/%2E./admin", "/pub%2f..%2fadmin",
    "/%252e%252e/admin", "/%2525", "//evil.com/x", "/a//b", "/\\..\\", "/a%5cb", "/%00", "/%zz",
    "/%", "/%f", "/%ff%fe", "/%c0%af", "/admin;x=1", "/admin%3bx=1", "/a#/../b", "/a?b", "/./a",
    "/a/.", "/...", "/ a", "/%20.%20", "/%0d%0aX: y", "/%7f", "/%c2%85", "/<a>", "/{a}", "/a|b",
    "/é", "/a\nb",
]  # fmt: skip
CANONICAL_PATHS = {
    "/": "/",
    "/admin": "/admin",
    "/%61dmin": "/admin",
    "/ADMIN": "/ADMIN",
    "/admin/": "/admin/",
    "/admin.": "/admin.",
    "/a%20": "/a%20",
    "/caf%c3%a9": "/caf%C3%A9",
    "/cafe%CC%81": "/cafe%CC%81",
    "/%EF%BC%8E%EF%BC%8E": "/%EF%BC%8E%EF%BC%8E",
    "/50%25": "/50%25",
    "/a:b@c,d=e+f&g": "/a:b@c,d=e+f&g",
    "/%3Fa%23b": "/%3Fa%23b",
    "/~x/(1)/*!$'": "/~x/(1)/*!$'",
}


@pytest.mark.parametrize("path", REFUSED_PATHS)
def test_a_path_that_can_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(Ambiguous):
        segments_of(path)


@pytest.mark.parametrize(("path", "canonical"), CANONICAL_PATHS.items())
def test_a_path_has_one_canonical_form(path: str, canonical: str) -> None:
    assert path_from(segments_of(path)) == canonical
    assert segments_of(canonical) == segments_of(path)


def test_a_path_has_a_bound() -> None:
    assert len(segments_of("/a" * MOST_SEGMENTS)) == MOST_SEGMENTS
    with pytest.raises(Ambiguous):
        segments_of("/a" * (MOST_SEGMENTS + 1))


@given(st.text(alphabet=st.sampled_from("/ab.%2eEfF05c;\\#?\x00é+ "), max_size=20))
def test_what_passes_means_the_same_when_read_again(text: str) -> None:
    try:
        found = segments_of("/" + text)
    except Ambiguous:
        return
    written = path_from(found)
    assert segments_of(written) == found
    assert path_from(segments_of(written)) == written
    assert not {".", ".."} & set(found)
    assert not any(sign in segment for segment in found for sign in "/\\;\x00")


@pytest.mark.parametrize(
    "query", ["a=1;b=2", "a#b", "a\\b", "a=%00", "a=%zz", "a=%ff", "a= b", "é"]
)
def test_a_query_that_can_be_read_in_two_ways_is_refused(query: str) -> None:
    with pytest.raises(Ambiguous):
        query_of(query)


def test_every_value_of_a_query_is_kept_in_order() -> None:
    pairs = query_of("id=1&x&id=2&a[]=3&y=&&q=a+b%2Bc")
    assert pairs == (
        ("id", "1"), ("x", None), ("id", "2"), ("a[]", "3"), ("y", ""), ("q", "a b+c"),
    )  # fmt: skip
    assert by_name(pairs)["id"] == ["1", "2"]
    assert query_from(pairs) == "id=1&x&id=2&a%5B%5D=3&y=&q=a%20b%2Bc"


def test_a_query_has_a_bound() -> None:
    with pytest.raises(Ambiguous):
        query_of("&".join(["a=1"] * (MOST_PAIRS + 1)))
    assert query_of("") == ()


_TEXTS = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters=list(map(chr, range(32)))),
    max_size=8,
).filter(lambda t: "\x7f" not in t)


@given(st.lists(st.tuples(_TEXTS.filter(bool), st.none() | _TEXTS), max_size=6))
def test_a_written_query_is_read_as_it_was_meant(pairs: list[tuple[str, str | None]]) -> None:
    assert query_of(query_from(pairs)) == tuple(pairs)
