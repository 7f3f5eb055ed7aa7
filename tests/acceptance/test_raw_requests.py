"""The corpus of raw requests and hostile answers through a real socket, one row a test; and what
the table cannot say: floods, and what was counted."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fixtures.canary import Canary, Script, Seen, canary
from tests.fixtures.http.egress import EGRESS, SERVERS, TOOLS, ZONE
from tests.fixtures.http.raw_requests import INGRESS, TOOL, Row, get
from tests.fixtures.serving import ROOT, Served, environment, served
from tests.fixtures.tooled import TOOL_TOKEN, tooled, write_config

EVERY = [*INGRESS, *EGRESS]

PATIENCE_S = 6.0
COUNTED = ("holdfast_refused_requests_total{", "holdfast_calls_total{")


@pytest.fixture(scope="module")
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


class Trap:
    """A listener that nobody may call: proxies of the environment, places that answers name."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.at = f"127.0.0.1:{self._listener.getsockname()[1]}".encode()

    def sprung(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return False
        client.close()
        return True

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    found = Trap()
    yield found
    found.close()


@pytest.fixture(scope="module")
def gateway(bird: Canary, trap: Trap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With every variable that names a proxy, and a zone of its own for the names of its tools."""
    home = tmp_path_factory.mktemp("raw")
    for row in EVERY:
        if row.talks and row.says is not None:  # servers are asked as soon as the gateway starts
            bird.scripts[row.at] = sprung(row.says, trap)
    more = (TOOLS + SERVERS).replace("PORT", str(bird.port))
    config = write_config(home, bird.url, TOOL, more=more)
    proxy = f"http://{trap.at.decode()}"
    proxies = {name: proxy for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy")}
    with served(
        home,
        config,
        program=("tests.fixtures.zoned",),
        TOOL_TOKEN=TOOL_TOKEN,
        HOLDFAST_TEST_ZONE=json.dumps(ZONE),
        NO_PROXY="",
        **proxies,
    ) as found:
        yield found
    # The strict reader counts what it refuses, and says so in the end.
    counted = [line for line in (home / "serve.log").read_text().splitlines() if "in_all" in line]
    assert len(counted) == 1


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
def test_a_raw_request_gets_the_answer_it_has_to(
    row: Row, gateway: Served, bird: Canary, trap: Trap, tmp_path: Path
) -> None:
    if row.spellings:
        refuses_to_start(row.spellings, tmp_path)
        return
    if row.says is not None and not row.talks:
        bird.scripts[row.at] = sprung(row.says, trap)
    before, counted = len(bird.seen), refusals(gateway)
    with connected(gateway) as client:
        client.sendall(row.sent)
        answers = Answers(client)
        status, headers, body = answers.next()
        assert status in row.status, body
        assert [answers.next()[0] for _ in row.then] == list(row.then)
        seen = [s for s in bird.seen[before:] if is_mcp(s) is row.talks]
        if row.closed or row.then:
            assert row.then or headers.get("connection") == "close"
            assert answers.ended(), "the connection goes on"
        elif b"Connection: close" not in row.sent:
            client.sendall(get("/http/crm/after"))
            assert answers.next()[0] == 200
            assert b"GET /after HTTP/1.1" in [s.line for s in bird.seen[before + len(seen) :]]
    assert not trap.sprung(), "somebody else was called"
    assert not set(row.keeps) & set(headers)
    shown = json.dumps(headers).encode() + body
    assert not [part for part in row.hides if part.replace(b"TRAP", trap.at) in shown]
    assert row.body is None or body == row.body
    assert row.shows in body
    if row.talks:
        calls = [s for s in seen if b"tools/call" in s.body and row.at.encode() in s.line]
        assert len(calls) == (b"acted" in body)
        return
    if row.seen is None:
        assert not seen, "the tool was called"
        document = json.loads(body)
        assert document["effect"] == "none"
        assert headers["content-type"] == "application/problem+json"
        assert refusals(gateway) - counted == 1 + sum(s >= 400 for s in row.then)
        return
    assert [s.line for s in seen] == [row.seen, *row.and_seen] * row.tries
    whole = (seen[0].head + seen[0].body).lower()
    assert not [part for part in row.absent if part.lower() in whole]
    assert seen[0].header("x-tool-token") == TOOL_TOKEN
    assert b"Bearer" not in seen[0].head


def refusals(gateway: Served) -> int:
    """How many requests were refused so far, as calls or before they were any."""
    with gateway.admin() as admin:
        lines = admin.get("/metrics").text.splitlines()
    counts = [line.rpartition(" ") for line in lines if line.startswith(COUNTED)]
    return sum(int(float(count)) for name, _, count in counts if 'reason=""' not in name)


def is_mcp(seen: Seen) -> bool:
    return b"jsonrpc" in seen.body or b"text/event-stream" in seen.head


def sprung(script: Script, trap: Trap) -> Script:
    """``script`` with the trap's address where it says TRAP."""

    class Setting:
        def __init__(self, client: socket.socket) -> None:
            self._client = client

        def sendall(self, data: bytes) -> None:
            if b"TRAP" in data:
                data = _replaced(data, trap.at)
            self._client.sendall(data)

    return lambda client, seen: script(Setting(client), seen)  # type: ignore[arg-type]


def _replaced(data: bytes, at: bytes) -> bytes:
    head, _, body = data.partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    body = body.replace(b"TRAP", at)
    head = head.replace(length, b"Content-Length: %d" % len(body)).replace(b"TRAP", at)
    return head + b"\r\n\r\n" + body


def refuses_to_start(spellings: Sequence[str], home: Path) -> None:
    """Each of them, as an HTTP tool and as an MCP server, with its line."""
    tools = "".join(f"  t{n}: {{base_url: '{url}'}}\n" for n, url in enumerate(spellings))
    servers = "".join(f"  s{n}: {{url: '{url}/mcp'}}\n" for n, url in enumerate(spellings))
    config = write_config(home, "http://127.0.0.1:1", more=f"{tools}mcp_servers:\n{servers}")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", "0"],
        env=environment(home, TOOL_TOKEN=TOOL_TOKEN),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    told = done.stderr.splitlines()
    lines = config.read_text().splitlines()
    wrong = [n for n, line in enumerate(lines, 1) if re.match(r"  [ts][0-9]: ", line)]
    assert len(wrong) == 2 * len(spellings)
    for number in wrong:
        assert [line for line in told if f"{config.name}:{number}" in line], (number, told)


def test_the_table_has_every_attack_from_1_to_61() -> None:
    assert sorted({row.id for row in EVERY}) == list(range(1, 62))


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
