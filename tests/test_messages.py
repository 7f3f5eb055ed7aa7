from __future__ import annotations

import pytest

from gateway.messages import field_of, is_json, may_be_sent, overrides_method

NEVER = [
    "authorization", "cookie", "host", "connection", "transfer-encoding", "content-length",
    "x-forwarded-for", "x-forwarded-host", "forwarded", "x-original-url", "x-rewrite-url",
    "x-http-method-override", "x-method-override", "holdfast-session", "proxy-authorization",
    "idempotency-key", "upgrade", "via",
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_what_speaks_for_others_never_goes_on(name: str) -> None:
    assert not may_be_sent(name)


@pytest.mark.parametrize("name", ["accept", "if-match", "range", "x-agent-note", "traceparent"])
def test_what_is_the_agents_own_goes_on(name: str) -> None:
    assert may_be_sent(name)


def test_json_is_known_by_its_name() -> None:
    assert is_json("application/json")
    assert is_json("application/problem+json")
    assert not is_json("text/json")
    assert not is_json("application/x-ndjson")
    assert not is_json(None)


@pytest.mark.parametrize(
    ("name", "field"),
    [("id", "id"), ("ID", "id"), (" id", "id"), ("id[]", "id"), ("id[a", "id"), ("a.b", "a_b"),
     ("a b", "a_b"), ("", ""), ("[", "_")],
)  # fmt: skip
def test_which_field_a_name_may_end_up_as(name: str, field: str) -> None:
    assert field_of(name) == field


@pytest.mark.parametrize(
    "name", ["_method", "_METHOD", " _method", ".method", " .method", "[method", "_method[]"]
)
def test_names_that_may_be_taken_for_the_method(name: str) -> None:
    assert overrides_method(name)


@pytest.mark.parametrize("name", ["method", "a_method", "_methods", "x[_method]", "__method"])
def test_names_that_are_not_taken_for_the_method(name: str) -> None:
    assert not overrides_method(name)
