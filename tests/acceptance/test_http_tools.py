"""Real clients and a real tool on both sides of a running gateway: what goes through, goes through
as it is, bounded in memory, once, and can be taken back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.canary import Canary, Seen, canary, say
from tests.fixtures.http.egress import answer
from tests.fixtures.options import size
from tests.fixtures.serving import AGENT, ROOT, Served
from tests.fixtures.tooled import TOOL_TOKEN, tooled

MEGABYTES = size("megabytes", 24)
MB = 1_000_000
TOOL = """
    gets_are_safe: true
    max_request_bytes: 1000000000
    routes:
      - {match: "POST /files", class: read}
      - {match: "POST /read", class: read}
      - match: PUT /things/{id}
        before: GET /things/{id}
        undo: {call: "PUT /things/{id}", body: "$before.body"}
        verify: GET /things/{id}
      - match: POST /things
        undo: DELETE /things/{$response.body.id}
        verify: GET /things/{$response.body.id}
  gone:
    base_url: http://127.0.0.1:1
    gets_are_safe: true
"""


@pytest.fixture(scope="module")
def bird() -> Iterator[Canary]:
    with canary() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(bird: Canary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with tooled(tmp_path_factory.mktemp("tools"), bird.url, TOOL, idle_s=5.0) as found:
        yield found


@pytest.fixture
def agent(gateway: Served) -> Iterator[httpx.Client]:
    with gateway.agent() as client:
        yield client


def resident_kb(gateway: Served) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status")
    if not status.exists():
        pytest.skip("the memory of a process is read from /proc")
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


# --- streams --------------------------------------------------------------------------------


def test_a_large_download_needs_no_memory(
    gateway: Served, bird: Canary, agent: httpx.Client
) -> None:
    piece = os.urandom(MB)
    expected = hashlib.sha256(piece * MEGABYTES).hexdigest()

    def send(client: socket.socket, _: Seen) -> bool:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MB * MEGABYTES))
        for _ in range(MEGABYTES):
            client.sendall(piece)
        return True

    bird.scripts["/large"] = send
    agent.get("/http/crm/a")
    before = resident_kb(gateway)
    most = before
    digest = hashlib.sha256()
    with agent.stream("GET", "/http/crm/large") as response:
        assert response.headers["content-length"] == str(MB * MEGABYTES)
        for chunk in response.iter_raw(MB):
            digest.update(chunk)
            most = max(most, resident_kb(gateway))
    assert digest.hexdigest() == expected
    assert most - before < 12_000, f"{most - before} kB more while {MEGABYTES} MB went through"


def test_a_large_upload_needs_no_memory(gateway: Served, bird: Canary, agent: httpx.Client) -> None:
    piece = os.urandom(MB)
    agent.get("/http/crm/a")
    before = resident_kb(gateway)
    most = before

    def pieces() -> Iterator[bytes]:
        nonlocal most
        for _ in range(MEGABYTES):
            yield piece
            most = max(most, resident_kb(gateway))

    response = agent.post(
        "/http/crm/files", content=pieces(), headers={"Content-Type": "application/octet-stream"}
    )
    assert response.status_code == 200, response.text
    most = max(most, resident_kb(gateway))
    seen = bird.seen[-1]
    assert hashlib.sha256(seen.body).digest() == hashlib.sha256(piece * MEGABYTES).digest()
    assert seen.header("content-length") == str(MB * MEGABYTES)
    assert seen.header("transfer-encoding") is None
    assert most - before < 12_000, f"{most - before} kB more while {MEGABYTES} MB went through"
    shown = agent.get(f"/calls/{response.headers['holdfast-call']}").json()
    assert shown["request"]["body"]["size"] == MB * MEGABYTES


def test_events_pass_one_by_one(bird: Canary, agent: httpx.Client) -> None:
    def send(client: socket.socket, _: Seen) -> bool:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            client.sendall(b"data: %d\n\n" % number)
            time.sleep(0.3)
        return False

    bird.scripts["/events"] = send
    arrived: list[tuple[float, bytes]] = []
    start = time.monotonic()
    with agent.stream("GET", "/http/crm/events") as response:
        for chunk in response.iter_raw():
            arrived.append((time.monotonic() - start, chunk))
    assert b"".join(chunk for _, chunk in arrived) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert len(arrived) == 3
    assert arrived[0][0] < 0.25 < arrived[1][0]


def test_compressed_bytes_stay_as_they_are(bird: Canary, agent: httpx.Client) -> None:
    packed = gzip.compress(b"x" * 50_000)
    bird.scripts["/packed"] = say(answer(packed, "Content-Encoding: gzip"))
    with agent.stream("GET", "/http/crm/packed", headers={"Accept-Encoding": "gzip"}) as response:
        assert b"".join(response.iter_raw()) == packed
    assert response.headers["content-encoding"] == "gzip"
    assert bird.seen[-1].header("accept-encoding") == "gzip"


def test_a_bomb_stays_packed(gateway: Served, bird: Canary, agent: httpx.Client) -> None:
    """59: a small body that unpacks to 50 MB is passed on small."""
    packed = gzip.compress(b"\0" * 50_000_000)
    bird.scripts["/bomb"] = say(
        answer(packed, "Content-Encoding: gzip", "Content-Type: text/plain")
    )
    before = resident_kb(gateway)
    with agent.stream("GET", "/http/crm/bomb") as response:
        assert len(b"".join(response.iter_raw())) == len(packed)
    assert resident_kb(gateway) - before < 12_000


def test_an_answer_that_breaks_off_breaks_off_for_the_agent(
    bird: Canary, agent: httpx.Client
) -> None:
    bird.scripts["/cut"] = say(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 600_000, close=True
    )
    with pytest.raises(httpx.RemoteProtocolError), agent.stream("GET", "/http/crm/cut") as response:
        assert response.read()


# --- what comes back ------------------------------------------------------------------------


def test_an_agent_gets_status_headers_and_body(bird: Canary, agent: httpx.Client) -> None:
    bird.scripts["/teapot"] = say(answer(b"short", "X-Shape: stout", status="418 I'm a teapot"))
    response = agent.get("/http/crm/teapot")
    assert (response.status_code, response.text) == (418, "short")
    assert response.headers["x-shape"] == "stout"
    assert response.headers["holdfast-effect"] == "none"
    assert response.headers["holdfast-call"]
    assert response.headers["holdfast-undo"].startswith("none")
    seen = bird.seen[-1]
    assert seen.header("x-tool-token") == TOOL_TOKEN
    assert AGENT.encode() not in seen.head


def test_a_tool_that_is_away_is_said_and_stops_nobody_else(agent: httpx.Client) -> None:
    response = agent.get("/http/gone/a")
    assert (response.status_code, response.json()["reason"]) == (502, "upstream.unreachable")
    assert agent.get("/readyz").status_code == 200
    assert agent.get("/http/crm/a").status_code == 200


# --- once, and back -------------------------------------------------------------------------


def things(bird: Canary) -> dict[str, Any]:
    """A tool that keeps things by id under /things."""
    kept: dict[str, Any] = {"7": {"id": 7, "name": "a", "price": 1.25}}

    def one(client: socket.socket, seen: Seen) -> bool:
        method, path, _ = seen.line.decode().split(" ")
        id = path.rpartition("/")[2]
        if method == "PUT":
            kept[id] = json.loads(seen.body)
        if method == "DELETE":
            kept.pop(id, None)
        found = kept.get(id)
        status = "200 OK" if found is not None else "404 Not Found"
        client.sendall(answer(json.dumps(found).encode(), "Content-Type: application/json",
                              status=status))  # fmt: skip
        return True

    def make(client: socket.socket, seen: Seen) -> bool:
        id = str(len(kept) + 7)
        kept[id] = {**json.loads(seen.body), "id": int(id)}
        bird.scripts[f"/things/{id}"] = one
        client.sendall(answer(json.dumps(kept[id]).encode(), "Content-Type: application/json",
                              status="201 Created"))  # fmt: skip
        return True

    bird.scripts["/things/7"] = one
    bird.scripts["/things"] = make
    return kept


def test_a_change_happens_once_and_is_taken_back(
    gateway: Served, bird: Canary, agent: httpx.Client
) -> None:
    kept = things(bird)
    before = dict(kept["7"])
    headers = {"Idempotency-Key": "change-7"}
    body = {"id": 7, "name": "b", "price": 2}
    first = agent.put("/http/crm/things/7", json=body, headers=headers)
    assert (first.status_code, first.headers["holdfast-effect"]) == (200, "applied"), first.text
    assert first.headers["holdfast-undo"].startswith("compensable; available=?1")
    sent = len([s for s in bird.seen if s.line.startswith(b"PUT")])
    again = agent.put("/http/crm/things/7", json=body, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["holdfast-call"] == first.headers["holdfast-call"]
    assert len([s for s in bird.seen if s.line.startswith(b"PUT")]) == sent
    other = agent.put("/http/crm/things/7", json={"id": 8}, headers=headers)
    assert (other.status_code, other.json()["reason"]) == (422, "idempotency.mismatch")
    with gateway.admin() as admin:
        done = admin.post("/admin/reverts", json={"call": first.headers["holdfast-call"]}).json()
    assert done["state"] == "reverted", done
    assert kept["7"] == before


def test_what_was_made_is_removed_again(gateway: Served, bird: Canary, agent: httpx.Client) -> None:
    kept = things(bird)
    made = agent.post("/http/crm/things", json={"name": "new"})
    assert made.status_code == 201
    id = str(made.json()["id"])
    assert id in kept
    with gateway.admin() as admin:
        done = admin.post("/admin/reverts", json={"call": made.headers["holdfast-call"]}).json()
    assert done["state"] == "reverted", done
    assert id not in kept


def test_what_has_no_way_back_is_not_sent(bird: Canary, agent: httpx.Client) -> None:
    before = len(bird.seen)
    response = agent.post("/http/crm/mails", json={"to": "a"})
    assert (response.status_code, response.json()["reason"]) == (403, "undo.unavailable")
    response = agent.delete("/http/crm/things/none/at/all")
    assert response.json()["reason"] == "undo.unavailable"
    bird.scripts["/things/404"] = say(answer(b"", status="404 Not Found"))
    missing = agent.put("/http/crm/things/404", json={"id": 404})
    assert missing.json()["reason"] == "undo.unavailable"
    assert b"POST" not in b"".join(s.line for s in bird.seen[before:])
    assert b"PUT" not in b"".join(s.line for s in bird.seen[before:])


def test_a_freeze_of_the_tool_stops_writes_and_lets_reads_be(
    gateway: Served, bird: Canary, agent: httpx.Client
) -> None:
    kept = things(bird)
    with gateway.admin() as admin:
        order = {"scope": {"tools": ["crm"]}, "reason": "release"}
        freeze = admin.post("/admin/freezes", json=order).json()
        stopped = agent.put("/http/crm/things/7", json={"id": 7, "name": "c"})
        assert (stopped.status_code, stopped.json()["reason"]) == (423, "frozen")
        assert agent.get("/http/crm/things/7").json() == kept["7"]
        admin.delete(f"/admin/freezes/{freeze['id']}")


# --- clients --------------------------------------------------------------------------------


def test_curl_reads_writes_and_uploads(gateway: Served, bird: Canary, tmp_path: Path) -> None:
    if shutil.which("curl") is None and "CI" not in os.environ:
        pytest.skip("curl is not installed")

    def curl(*arguments: str) -> str:
        done = subprocess.run(
            ["curl", "-sS", "--fail", "-H", f"Authorization: Bearer {AGENT}", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env={"PATH": os.environ["PATH"]},
        )
        return done.stdout

    at = f"{gateway.url}/http/crm"
    assert json.loads(curl(f"{at}/a?x=1")) == {"ok": True}
    file = tmp_path / "f.bin"
    file.write_bytes(os.urandom(3 * MB))
    assert json.loads(curl("-F", f"file=@{file}", "-F", "a=1", f"{at}/files")) == {"ok": True}
    assert file.read_bytes() in bird.seen[-1].body
    curl("-T", str(file), "-X", "POST", "-H", "Content-Type: image/png", f"{at}/files")
    assert bird.seen[-1].body == file.read_bytes()
    curl("-d", "a=1&b=2", f"{at}/read")
    assert bird.seen[-1].body == b"a=1&b=2"
    head = curl("-I", f"{at}/a")
    assert "content-length: 11" in head.lower()


def test_the_demo_tool_behind_the_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    crm = subprocess.Popen(
        [sys.executable, "-m", "gateway.demo.crm", "--port", str(port), "--data",
         str(tmp_path / "crm.db")],
        stdin=subprocess.PIPE,
        cwd=ROOT,
    )  # fmt: skip
    tool = """
    gets_are_safe: true
    routes:
      - {match: "DELETE /customers/{id}", class: destructive, before: "GET /customers/{id}",
         undo: {call: "PUT /customers/{id}", body: "$before.body"}, verify: "GET /customers/{id}"}
"""
    try:
        with tooled(tmp_path, f"http://127.0.0.1:{port}", tool) as served, served.agent() as client:
            deadline = time.monotonic() + 20
            while client.get("/http/crm/customers/7").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            before = client.get("/http/crm/customers/7")
            gone = client.delete("/http/crm/customers/7")
            assert (gone.status_code, gone.headers["holdfast-effect"]) == (204, "applied")
            assert client.get("/http/crm/customers/7").status_code == 404
            with served.admin() as admin:
                done = admin.post("/admin/reverts", json={"session": "s1"}).json()
            assert done["state"] == "reverted", done
            assert client.get("/http/crm/customers/7").content == before.content
    finally:
        assert crm.stdin is not None
        crm.stdin.close()
        crm.wait(timeout=10)
