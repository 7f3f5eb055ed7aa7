"""The corpus of raw requests through a real socket, one row a test; and what the table cannot say:
pipelining, and floods."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fixtures.canary import Canary, canary
from tests.fixtures.http.raw_requests import EVERY, TOOL, Row, get
from tests.fixtures.serving import Served
from tests.fixtures.tooled import TOOL_TOKEN, tooled

PATIENCE_S = 6.0


@pytest.fixture(scope="module")
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(bird: Canary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with tooled(tmp_path_factory.mktemp("raw"), bird.url, TOOL) as found:
        yield found


def connected(gateway: Served) -> socket.socket:
    at = urlsplit(gateway.url)
    return socket.create_connection((at.hostname, at.port), timeout=PATIENCE_S)


class Answers:
    """What comes back on one connection, answer by answer."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.held = b""

    def _more(self) -> bool:
        piece = self.client.recv(65536)
        self.held += piece
        return bool(piece)

    def next(self) -> tuple[int, dict[str, str], bytes]:
        while True:
            while b"\r\n\r\n" not in self.held:
                assert self._more(), f"the connection ended: {self.held!r}"
            head, _, self.held = self.held.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            if status != 100:
                break
        headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        while len(self.held) < length:
            assert self._more(), "the body was cut off"
        body, self.held = self.held[:length], self.held[length:]
        return status, headers, body

    def ended(self) -> bool:
        try:
            return not self._more() and not self.held
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("row", EVERY, ids=str)
def test_a_raw_request_gets_the_answer_it_has_to(row: Row, gateway: Served, bird: Canary) -> None:
    before = len(bird.seen)
    with connected(gateway) as client:
        client.sendall(row.sent)
        answers = Answers(client)
        status, headers, body = answers.next()
        assert status in row.status, body
        if row.closed:
            assert headers.get("connection") == "close"
            assert answers.ended(), "the connection goes on"
        elif b"Connection: close" not in row.sent:
            client.sendall(get("/http/crm/after"))
            assert answers.next()[0] == 200
            assert bird.seen.pop().line == b"GET /after HTTP/1.1"
    if row.seen is None:
        assert len(bird.seen) == before, "the tool was called"
        document = json.loads(body)
        assert document["effect"] == "none"
        assert headers["content-type"] == "application/problem+json"
        return
    [seen] = bird.seen[before:]
    assert seen.line == row.seen
    whole = (seen.head + seen.body).lower()
    assert not [part for part in row.absent if part.lower() in whole]
    assert seen.header("x-tool-token") == TOOL_TOKEN
    assert b"Bearer" not in seen.head


def test_pipelined_requests_are_calls_of_their_own(gateway: Served, bird: Canary) -> None:
    """27: the second one's credentials are its own, and a broken one spoils nobody's answer."""
    first = get("/http/crm/first")
    stranger = b"GET /http/crm/second HTTP/1.1\r\nHost: gateway\r\n\r\n"
    before = len(bird.seen)
    with connected(gateway) as client:
        client.sendall(first + stranger + get("/http/crm/third") + b"BROKEN\r\n\r\n")
        answers = Answers(client)
        assert [answers.next()[0] for _ in range(4)] == [200, 401, 200, 400]
        assert answers.ended()
    assert [seen.line for seen in bird.seen[before:]] == [
        b"GET /first HTTP/1.1",
        b"GET /third HTTP/1.1",
    ]


def test_a_request_in_single_bytes_is_read_like_any_other(gateway: Served, bird: Canary) -> None:
    with connected(gateway) as client:
        for byte in get("/http/crm/drip"):
            client.sendall(bytes([byte]))
        assert Answers(client).next()[0] == 200
    assert bird.seen[-1].line == b"GET /drip HTTP/1.1"


def test_health_and_admin_answer_while_agents_fill_every_connection(
    bird: Canary, tmp_path: Path
) -> None:
    with tooled(tmp_path, bird.url, connections=8, header_s=5.0) as gateway:
        held = [connected(gateway) for _ in range(8)]
        try:
            with connected(gateway) as client:
                client.sendall(get("/http/crm/a"))
                status, _, body = Answers(client).next()
                assert (status, json.loads(body)["reason"]) == (503, "overloaded")
            with gateway.admin() as admin:
                assert admin.get("/healthz").status_code == 200
                assert admin.get("/admin/freezes").status_code == 200
        finally:
            for client in held:
                client.close()
