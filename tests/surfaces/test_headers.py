from __future__ import annotations

import pytest
from starlette.requests import Request

from gateway.errors import Malformed
from gateway.surfaces import headers


def a_request(*values: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in values]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    return Request(scope)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("respond-async", True),
        ("Respond-Async; wait=5", True),
        ("wait=5, respond-async", True),
        ("return=minimal", False),
        ("respond-asynchronously", False),
        ("", False),
    ],
)
def test_prefer_is_read_as_a_list(value: str, wanted: bool) -> None:
    assert headers.wants_async(a_request(("Prefer", value))) is wanted
    assert headers.wants_async(a_request(("Prefer", "x"), ("Prefer", value))) is wanted


@pytest.mark.parametrize(
    ("value", "revision"), [('"r1"', "r1"), ("r1", "r1"), ("*", None), (' "sha:9a" ', "sha:9a")]
)
def test_if_match_is_one_revision(value: str, revision: str | None) -> None:
    assert headers.if_match(a_request(("If-Match", value))) == revision


@pytest.mark.parametrize("value", ["", '"a", "b"', 'W/"a"', "a b", '""'])
def test_if_match_of_another_form_is_malformed(value: str) -> None:
    with pytest.raises(Malformed):
        headers.if_match(a_request(("If-Match", value)))


@pytest.mark.parametrize("key", ["x", "a b", "x" * 255, "3f0c-~!"])
def test_an_idempotency_key_is_taken_as_it_is(key: str) -> None:
    assert headers.idempotency_key(a_request(("Idempotency-Key", key))) == key


@pytest.mark.parametrize("key", ["", " ", " x", "x ", "x" * 256, "é", "a\x7f"])
def test_an_idempotency_key_of_another_form_is_malformed(key: str) -> None:
    with pytest.raises(Malformed):
        headers.idempotency_key(a_request(("Idempotency-Key", key)))


def test_headers_that_are_absent_say_nothing() -> None:
    request = a_request()
    assert headers.idempotency_key(request) is None
    assert headers.reason(request) is None
    assert headers.if_match(request) is None
    assert headers.wants_async(request) is False
