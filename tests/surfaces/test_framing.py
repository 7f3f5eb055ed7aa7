from __future__ import annotations

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.surfaces.framing import Fault, Framing
from tests.fixtures.http.raw_requests import INGRESS, chunked, get, post

WELL = [row for row in INGRESS if not row.closed and row.sent]
BROKEN = [
    row for row in INGRESS if row.closed and not row.waits and row.status[0] in (400, 405, 501)
]


def fed(data: bytes, cuts: tuple[int, ...] = ()) -> tuple[bytes, Fault | None]:
    framing = Framing()
    out = b""
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        plain, fault = framing.feed(data[start:end])
        out += plain
        if fault is not None:
            return out, fault
    return out, None


class ByHttptools:
    def __init__(self, data: bytes) -> None:
        self.found: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]] = []
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.body = b"", [], b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append((self.parser.get_method(), self.url, self.headers, self.body))


def by_h11(data: bytes) -> list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found.append((request.method, request.target, list(request.headers), body))
            return found
        else:
            raise AssertionError(event)


@pytest.mark.parametrize("row", WELL, ids=str)
def test_two_parsers_find_the_same_in_what_passes(row: object) -> None:
    plain, fault = fed(row.sent)  # type: ignore[attr-defined]
    assert fault is None
    assert ByHttptools(plain).found == by_h11(plain)


@pytest.mark.parametrize("row", BROKEN, ids=str)
def test_what_is_broken_is_refused_and_nothing_passes(row: object) -> None:
    plain, fault = fed(row.sent)  # type: ignore[attr-defined]
    assert fault is not None
    assert fault.status in row.status  # type: ignore[attr-defined]
    assert b"smuggled" not in plain
    again, _ = Framing().feed(b"")
    assert again == b""


@pytest.mark.parametrize("row", [*WELL, *BROKEN], ids=str)
def test_single_bytes_are_read_like_the_whole(row: object) -> None:
    sent: bytes = row.sent  # type: ignore[attr-defined]
    whole, fault = fed(sent)
    cuts = tuple(range(1, len(sent), 1 if len(sent) < 5_000 else 1_000))
    drip, also = fed(sent, cuts)
    assert (fault is None) == (also is None)
    if fault is None and b"chunked" not in whole:
        assert drip == whole


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_a_chunked_body_comes_through_however_it_is_cut(
    pieces: list[bytes], data: st.DataObject
) -> None:
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nX-T: 1\r\n\r\n"
    sent = chunked(body) + get("/http/crm/next")
    cuts = tuple(sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=8))))
    plain, fault = fed(sent, cuts)
    assert fault is None
    first, second = ByHttptools(plain).found
    assert first[3] == b"".join(pieces)
    assert b";ext" not in plain.partition(b"\r\n\r\n")[2]
    assert b"x-t" not in plain.lower()
    assert second[1] == b"/http/crm/next"


def test_after_a_fault_nothing_more_is_read() -> None:
    framing = Framing()
    _, fault = framing.feed(b"BROKEN\r\n\r\n")
    assert fault is not None
    assert framing.feed(get("/http/crm/a")) == (b"", None)
    assert framing.broken


def test_after_the_last_request_nothing_more_is_read() -> None:
    framing = Framing()
    plain, fault = framing.feed(get("/a", b"Connection: close\r\n") + get("/b"))
    assert fault is None
    assert len(ByHttptools(plain).found) == 1


def test_it_knows_where_it_stands() -> None:
    framing = Framing()
    framing.feed(b"GET")
    assert framing.within_head
    assert not framing.within_body
    framing = Framing()
    framing.feed(post(b"Content-Length: 4\r\n", body=b"ab"))
    assert framing.within_body
    framing.feed(b"cd")
    assert not framing.within_body
    assert framing.heads == 1


def test_identity_headers_stay_whatever_connection_names() -> None:
    named = b"Connection: authorization, host, content-length, holdfast-session, x-a\r\n"
    plain, fault = fed(get("/a", named, b"Holdfast-Session: s\r\nX-A: 1\r\n"))
    assert fault is None
    assert b"authorization: " in plain
    assert b"host: " in plain
    assert b"holdfast-session: s" in plain
    assert b"x-a" not in plain
