"""What policy judged is what the tool receives: read back from the bytes by other parsers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.audit import digest_of
from gateway.errors import Malformed
from gateway.hosts import origin_of
from gateway.model import Action, Call, Subject, Surface
from gateway.surfaces.contents import Content
from gateway.surfaces.http import _passed, _query, _target, http_digest, request_of
from gateway.surfaces.strict_json import parse
from gateway.upstreams.http.declared import DeclaredRoute, DeclaredTool
from gateway.upstreams.http.routes import compile_routes
from gateway.upstreams.http.upstream import HttpUpstream
from gateway.upstreams.http.wire import body_of, head_of
from tests.fixtures.fakes import START, FakeClock
from tests.fixtures.options import size

CASES = size("cases", 200)
ROUTES = (DeclaredRoute(match="GET /{a}/{b}"), DeclaredRoute(match="POST /x"))
TABLE, _ = compile_routes(ROUTES)
TOOL = DeclaredTool(
    name="crm", origin=origin_of("http://tool/base"), environment="e", gets_are_safe=True
)
UPSTREAM = HttpUpstream(TOOL, TABLE, clock=FakeClock(), lease_s=120)

_PIECES = st.sampled_from(
    ["a", "B", "/", "//", ".", "..", "%2e", "%2F", "%25", "%41", "%c3%a9", "%ff", ";", "\\", "x=1",
     "&", "=", "+", "%2B", "%00", "#", "?", "[", "]", "{", "~", "é"]
)  # fmt: skip
_TARGETS = st.lists(_PIECES, max_size=8).map("".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@dataclass
class Gate:
    upstreams: dict[str, str]


class Heard:
    """A request as httptools reads it."""

    def __init__(self, data: bytes) -> None:
        self.url, self.headers, self.body = b"", {}, b""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        assert name not in self.headers
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body


async def judged(method: str, path: str, query: str, content: Content) -> tuple[Action, Call]:
    scope: Any = {
        "type": "http",
        "method": method,
        "raw_path": b"/http/crm/" + path.encode("latin-1"),
        "headers": [],
    }
    tool, canonical = _target(Gate({"crm": "http"}), Request(scope))  # type: ignore[arg-type]
    headers = _passed([(b"x-a", b"1"), (b"cookie", b"c"), (b"x-forwarded-for", b"d")], later=False)
    request = request_of(method, canonical, _query(query), headers, content)
    call = Call(
        id="call_1",
        subject=Subject(id="a", session="s"),
        surface=Surface.HTTP,
        tool=tool,
        request=request,
        digest=http_digest(tool, request),
        received_at=START,
    )
    action = await UPSTREAM.parse(call)
    assert isinstance(action, Action), action
    return action, call


def sent(call: Call) -> Heard:
    body = body_of(call.request)
    length = None if body is None else len(body)
    return Heard(head_of(TOOL.origin, call.request, {}, length=length) + (body or b""))


@settings(max_examples=CASES, deadline=None)
@given(_TARGETS, _TARGETS)
async def test_path_and_query_are_read_back_as_they_were_judged(path: str, query: str) -> None:
    try:
        action, call = await judged("GET", path, query, Content())
    except Malformed:
        return
    heard = sent(call)
    url = httptools.parse_url(heard.url)
    assert action.http is not None
    assert url.path.decode() == "/base" + action.http["path"]
    assert heard.parser.get_method() == b"GET"
    assert not {".", ".."} & set(unquote(url.path.decode()).split("/"))
    read = parse_qsl((url.query or b"").decode(), keep_blank_values=True)
    listed = [
        (name, value or "") for name, values in action.http["query"].items() for value in values
    ]
    nothing = ("", "")  # `=` alone, which one reader keeps and another does not
    assert sorted(p for p in read if p != nothing) == sorted(p for p in listed if p != nothing)
    assert "cookie" not in heard.headers
    assert "x-forwarded-for" not in heard.headers


@settings(max_examples=CASES, deadline=None)
@given(_JSON)
async def test_a_json_body_is_read_back_as_it_was_judged(value: Any) -> None:
    try:
        body = parse(json.dumps(value).encode())
    except Malformed:
        return
    action, call = await judged("POST", "x", "", Content(kind="application/json", body=body))
    heard = sent(call)
    received = json.loads(heard.body)
    assert action.http is not None
    assert digest_of(Surface.HTTP, "crm", {"b": received}) == digest_of(
        Surface.HTTP, "crm", {"b": action.http["body"]}
    )
    assert heard.headers["content-length"] == str(len(heard.body))
