from __future__ import annotations

import pytest

from gateway.hosts import origin_of
from gateway.upstreams.http.answers import passed_on, record_of, view_of

ORIGIN = origin_of("http://api.internal:8000/v1")


def passed(*headers: tuple[str, str], status: int = 200) -> list[tuple[str, str]]:
    return passed_on(headers, status, tool="crm", origin=ORIGIN)


def test_what_is_of_one_hop_or_of_the_tools_own_origin_stays_behind() -> None:
    headers = [
        ("connection", "close, x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"), ("set-cookie", "a=b"),
        ("access-control-allow-origin", "*"),
        ("clear-site-data", "*"), ("refresh", "0;url=http://evil"), ("holdfast-effect", "none"),
        ("alt-svc", "h3"), ("www-authenticate", "Basic"),
        ("strict-transport-security", "max-age=1"), ("content-type", "text/plain"),
        ("etag", '"1"'), ("content-encoding", "gzip"), ("x-a", "b"),
    ]  # fmt: skip
    assert passed(*headers) == [
        ("content-type", "text/plain"), ("etag", '"1"'), ("content-encoding", "gzip"), ("x-a", "b"),
    ]  # fmt: skip


def test_connection_cannot_take_the_length_away() -> None:
    assert passed(("connection", "content-length"), ("content-length", "3")) == [
        ("content-length", "3")
    ]
    assert passed(("content-length", "3"), status=204) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("http://api.internal:8000/v1/a?b=c", "/http/crm/a?b=c"),
        ("/v1/a", "/http/crm/a"),
        ("/v2/a", "/v2/a"),
        ("https://elsewhere/v1/a", "https://elsewhere/v1/a"),
        ("//evil.com/v1/", "//evil.com/v1/"),
        ("a", "a"),
    ],
)
def test_an_address_at_the_tool_is_one_behind_the_gateway(said: str, shown: str) -> None:
    assert passed(("location", said)) == [("location", shown)]


@pytest.mark.parametrize(
    "said",
    ["javascript:alert(1)", " JavaScript:alert(1)", "file:///etc/passwd", "data:text/html,a"],
)
def test_a_client_is_sent_to_no_script_and_no_file(said: str) -> None:
    assert passed(("location", said), ("content-location", said), ("x-a", "b")) == [("x-a", "b")]


def test_templates_see_json_only_where_it_is_exact() -> None:
    def body(text: bytes, kind: str = "application/json", **more: str) -> object:
        return view_of(200, [("content-type", kind), *more.items()], text)["body"]

    assert body(b'{"a": 12345678901234567890, "b": 1.5}') == {"a": 12345678901234567890, "b": 1.5}
    assert body(b'{"a": 1.00000000000000000001}') is None
    assert body(b'{"a": 1e400}') is None
    assert body(b'{"a": NaN}') is None
    assert body(b'{"a": 1, "a": 2}') is None
    assert body(b"{") is None
    assert body(b"[" * 100_000) is None
    assert body(b"hi", "text/plain") == "hi"
    assert body(b"\xff", "text/plain") is None
    assert view_of(200, [("content-encoding", "gzip")], b"x")["body"] is None
    assert view_of(200, [("a", "1"), ("a", "2")], None) == {
        "status": 200,
        "headers": {"a": "1, 2"},
        "body": None,
    }


def test_a_record_holds_the_bytes_or_says_that_it_does_not() -> None:
    assert record_of(200, [("a", "b")], b"hi") == {
        "status": 200, "headers": [["a", "b"]], "kept": True, "body": "hi",
    }  # fmt: skip
    assert record_of(200, [], b"\xff")["base64"] == "/w=="
    assert record_of(200, [], None) == {"status": 200, "headers": [], "kept": False}
