from __future__ import annotations

from typing import Any

from gateway.hosts import origin_of
from gateway.upstreams.http.wire import body_of, head_of

ORIGIN = origin_of("https://api.example.com/v1")


def request(**changed: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "method": "GET",
        "path": "/a%20b",
        "query": [["x", "1"], ["y", None]],
        "headers": {"accept": "text/html"},
        "type": None,
        "body": None,
    }
    return {**base, **changed}


def test_the_head_is_what_was_judged_and_what_is_injected() -> None:
    head = head_of(ORIGIN, request(), {"Authorization": "Bearer secret"}, length=None)
    assert head.split(b"\r\n") == [
        b"GET /v1/a%20b?x=1&y HTTP/1.1",
        b"host: api.example.com",
        b"user-agent: holdfast",
        b"accept-encoding: identity",
        b"accept: text/html",
        b"authorization: Bearer secret",
        b"",
        b"",
    ]


def test_nobody_sets_what_only_the_gateway_sets() -> None:
    sneaky = {
        "authorization": "x", "host": "evil", "content-length": "7", "transfer-encoding": "chunked",
        "x-tool": "agent", "x-a": "b\r\nx-b: c",
    }  # fmt: skip
    head = head_of(ORIGIN, request(headers=sneaky), {"X-Tool": "ours"}, length=None)
    assert b"evil" not in head
    assert b"agent" not in head.replace(b"user-agent", b"")
    assert b"x-b" not in head
    assert b"chunked" not in head
    assert b"x-tool: ours" in head


def test_the_key_stands_where_the_route_says() -> None:
    asked = request(headers={"x-request-key": "agent"})
    head = head_of(ORIGIN, asked, {}, length=None, key_header="x-request-key", key="k1")
    assert b"x-request-key: k1" in head
    assert b"x-request-key" not in head_of(
        ORIGIN, asked, {}, length=None, key_header="x-request-key"
    )


def test_a_body_has_its_length_and_its_type() -> None:
    asked = request(method="POST", type="application/json", body={"n": 1})
    head = head_of(ORIGIN, asked, {}, length=7)
    assert b"content-length: 7" in head
    assert b"content-type: application/json" in head
    assert b"content-length: 0" in head_of(ORIGIN, request(method="POST"), {}, length=None)
    assert b"content-length" not in head_of(ORIGIN, request(), {}, length=None)


def test_json_and_forms_are_written_again_from_what_was_judged() -> None:
    asked = request(type="application/json", body={"b": "é", "a": [1, 2.5, None, 2**62]})
    assert body_of(asked) == '{"b":"é","a":[1,2.5,null,4611686018427387904]}'.encode()
    assert body_of(request(type="application/json", body=None)) == b"null"
    form = "application/x-www-form-urlencoded"
    assert body_of(request(type=form, body=[["a", "1"], ["a", "b c"]])) == b"a=1&a=b%20c"
    assert body_of(request(type=form, body={"a": "1"})) == b"a=1"
    assert body_of(request(type="image/png", body={"sha256": "x"})) is None
    assert body_of(request()) is None
