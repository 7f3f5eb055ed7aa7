from __future__ import annotations

from typing import Any

import pytest

from gateway.upstreams.http.graphql import NotJudged, operation_of


def fields(query: str, **more: Any) -> tuple[str, tuple[str, ...]]:
    found = operation_of({"query": query, **more})
    return found.kind, found.fields


SEEN = {
    "{ me { id } }": ("query", ("me",)),
    "query Q { a: volumes b: volumes me }": ("query", ("volumes", "me")),
    "mutation { harmless: volumeDelete(id: 1) { id } }": ("mutation", ("volumeDelete",)),
    "mutation { volumeDelete @skip(if: true) }": ("mutation", ("volumeDelete",)),
    "mutation($x: Boolean!) { volumeDelete @include(if: $x) }": ("mutation", ("volumeDelete",)),
    "mutation { ...F } fragment F on M { ...G a } fragment G on M { b: c }": (
        "mutation", ("c", "a"),
    ),
    "mutation { ... on M { a } ... { b } ... @include(if: false) { c } }": (
        "mutation", ("a", "b", "c"),
    ),
    "query { __typename }": ("query", ("__typename",)),
}  # fmt: skip


@pytest.mark.parametrize("query", SEEN)
def test_what_really_runs_is_what_is_seen(query: str) -> None:
    assert fields(query) == SEEN[query]


def test_the_named_operation_is_the_one_that_runs() -> None:
    text = "query A { me } mutation B { volumeDelete }"
    assert fields(text, operationName="B") == ("mutation", ("volumeDelete",))
    assert fields(text, operationName="A") == ("query", ("me",))
    assert operation_of({"query": text, "operationName": "B"}).as_json() == {
        "kind": "mutation",
        "name": "B",
        "fields": ["volumeDelete"],
    }


REFUSED: list[Any] = [
    None, "{ me }", 7, [], [{"query": "{ me }"}], {}, {"query": ""}, {"query": 7}, {"id": "abc"},
    {"query": "{ me }", "doc_id": "1"}, {"queryId": "x"},
    {"query": "{ me }", "extensions": {"persistedQuery": {}}},
    {"query": "{ me"}, {"query": "fragment F on M { a }"}, {"query": "type A { b: C }"},
    {"query": "{ me }", "operationName": "B"}, {"query": "{ me }", "operationName": 1},
    {"query": "query A { a } query B { b }"}, {"query": "query A { a } query A { b }"},
    {"query": "{ a } query B { b }", "operationName": "B"},
    {"query": "subscription { a }"}, {"query": "{ ...F }"},
    {"query": "{ ...F } fragment F on M { ...F }"},
    {"query": "{ ...F } fragment F on M { a } fragment F on M { b }"},
    {"query": "{ " + " ".join(f"a{n}" for n in range(300)) + " }"},
    {"query": "{ " + "a " * 300 + "}"},
    {"query": "{ a" + " { a" * 5000 + " }" * 5001},
    {"query": "{ " + "a " * 20_000 + "}"},
]  # fmt: skip


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_judged_is_refused(body: Any) -> None:
    with pytest.raises(NotJudged):
        operation_of(body)


def test_fragments_that_multiply_are_refused_at_once() -> None:
    spread = " ".join(f"fragment F{n} on M {{ ...F{n + 1} ...F{n + 1} }}" for n in range(30))
    with pytest.raises(NotJudged):
        operation_of({"query": f"{{ ...F0 }} {spread} fragment F30 on M {{ a }}"})
