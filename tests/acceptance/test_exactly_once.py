"""A served gateway in front of a real tool that counts and loses replies: agents repeat, processes
are killed, and every effect happens once, is known, and comes back.

``HOLDFAST_KEYS`` keys (25 by default), ``HOLDFAST_KILLS`` kills (2 by default).
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures import tool_double
from tests.fixtures.http_shelf import Ledger
from tests.fixtures.options import size
from tests.fixtures.serving import ADMIN, AGENT, ROOT, environment

KEYS = size("keys", 25)
KILLS = size("kills", 2)
DUPLICATES = 8

_CONFIG = """
store: {{url: "sqlite:///{home}/store.db"}}
snapshots: {{path: "{home}/snapshots"}}
policy: {{watch: false, deadline_ms: 10000, path: "{root}/policies"}}
limits: {{lease_s: 6, statement_timeout_s: 5, lock_timeout_s: 1, max_repeats: null}}
identity:
  admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"
  agents:
    - {{name: demo, token: "${{HOLDFAST_AGENT_TOKEN}}", roles: [developer]}}
tools:
  crm:
    base_url: {url}
    gets_are_safe: true
    timeout_s: 2
    routes:
      - match: POST /p/items
        idempotency_key: Idempotency-Key
        retry: {{attempts: 4, base_s: 0.01}}
        undo: DELETE /p/items/{{$response.body.id}}
        verify: GET /p/items/{{$response.body.id}}
      - match: PUT /p/items/{{id}}
        before: GET /p/items/{{id}}
        undo: {{call: "PUT /p/items/{{id}}", body: "$before.body"}}
        verify: GET /p/items/{{id}}
"""


@contextmanager
def gateway(home: Path, tool: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that may be killed."""
    config = home / "config.yaml"
    config.write_text(_CONFIG.format(home=home, url=tool, root=ROOT))
    with (home / "serve.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", "0"],
            cwd=ROOT,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            found = None
            for line in process.stdout:
                found = re.search(r"listens on (http://\S+)", line)
                if found:
                    break
            assert found, (home / "serve.log").read_text()
            yield found[1], process
        finally:
            process.terminate()
            process.wait(timeout=30)
            process.stdout.close()


@pytest.fixture(scope="module")
def tool() -> Iterator[str]:
    with tool_double.running() as url:
        yield url


def headers(**more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {AGENT}", "Holdfast-Session": "s1", **more}


async def insistent(agent: httpx.AsyncClient, number: int) -> httpx.Response:
    """An agent that asks under its key until it is told."""
    while True:
        answer = await agent.post(
            "/http/crm/p/items",
            json=f"made {number}",
            headers=headers(**{"Idempotency-Key": f"k{number}"}),
        )
        if answer.status_code == 200:
            return answer
        assert answer.json()["effect"] == "unknown", answer.text
        assert answer.json()["reason"] in ("idempotency.in_progress", "outcome.unknown")
        await asyncio.sleep(0.1)


@pytest.mark.timeout(1800)
async def test_duplicates_over_http_have_one_effect_and_the_same_bytes(
    tmp_path: Path, tool: str
) -> None:
    ledger = Ledger(tool, "p")
    ledger.fill({})
    _, before = ledger.look()
    ledger.faults(3, lost=0.2, half=0.05, reset=0.05, twice=0.05)
    limits = httpx.Limits(max_connections=64)
    with gateway(tmp_path, tool) as (url, _):
        async with httpx.AsyncClient(
            base_url=url, timeout=60, trust_env=False, limits=limits
        ) as agent:
            room = asyncio.Semaphore(6)

            async def one_key(number: int) -> list[httpx.Response]:
                async with room:
                    asked = (insistent(agent, number) for _ in range(DUPLICATES))
                    return list(await asyncio.gather(*asked))

            told = await asyncio.gather(*(one_key(number) for number in range(KEYS)))
    ledger.faults()

    _, effects = ledger.look()
    counted = Counter(effect[2] for effect in effects[len(before) :])
    assert counted == {f"made {number}": 1 for number in range(KEYS)}
    for answers in told:
        assert len({answer.content for answer in answers}) == 1
        assert len({answer.headers["holdfast-call"] for answer in answers}) == 1
        assert {answer.headers["holdfast-effect"] for answer in answers} == {"applied"}


class Agents:
    """Several agents at once; what each was told of its call, by the item it changed."""

    def __init__(self, url: str, items: list[str], told: dict[str, tuple[str, str]]) -> None:
        self._url, self._items, self._told = url, items, told
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(4)]

    def _work(self, worker: int) -> None:
        with httpx.Client(base_url=self._url, timeout=20, trust_env=False) as client:
            for item in self._items[worker::4]:
                try:
                    answer = client.put(f"/http/crm/p/items/{item}", json="new", headers=headers())
                except httpx.TransportError:
                    return  # the gateway was killed
                effect = answer.headers.get("holdfast-effect") or answer.json()["effect"]
                self._told[item] = (answer.headers["holdfast-call"], effect)

    def __enter__(self) -> Agents:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()


@pytest.mark.timeout(1800)
def test_killed_gateways_leave_every_call_known_and_the_session_comes_back(
    tmp_path: Path, tool: str
) -> None:
    rounds = KILLS + 1
    items = {f"r{n}-{i}": "old" for n in range(rounds) for i in range(40)}
    ledger = Ledger(tool, "p")
    ledger.fill(items)
    _, earlier = ledger.look()
    ledger.faults(5, lost=0.1, half=0.05, reset=0.1)
    told: dict[str, tuple[str, str]] = {}
    for number in range(rounds):
        with gateway(tmp_path, tool) as (url, process):
            mine = [item for item in items if item.startswith(f"r{number}-")]
            with Agents(url, mine, told):
                if number < KILLS:
                    time.sleep(random.Random(number).uniform(0.2, 0.8))
                    process.send_signal(signal.SIGKILL)
                    process.wait()
            if number == KILLS:
                ledger.faults()
                _settled(url, ledger, earlier, told)
                assert _taken_back(url) == ("reverted", True)
                assert ledger.look()[0] == items


def _settled(url: str, ledger: Ledger, earlier: list[Any], told: dict[str, Any]) -> None:
    """Nothing is open; what is unknown is resolved by what the tool shows; then all is true."""
    _, effects = ledger.look()
    happened = Counter(effect[1] for effect in effects[len(earlier) :])
    assert max(happened.values()) == 1, "an effect happened twice"
    with _admin(url) as admin:
        records = _calls(admin)
        assert {r["state"] for r in records} <= {"succeeded", "failed", "unknown"}
        assert any(r["state"] == "unknown" for r in records), "the trouble was too little"
        for record in records:
            item = record["request"]["path"].rpartition("/")[2]
            if record["state"] == "unknown":
                effect = "applied" if happened[item] else "none"
                body = {"effect": effect, "note": "the tool's own log"}
                admin.post(f"/admin/calls/{record['call']}/resolve", json=body).raise_for_status()
            else:
                assert record["effect"] == ("applied" if happened[item] else "none"), record
        known = {r["call"]: r for r in _calls(admin)}
    for call, effect in told.values():
        assert effect in ("unknown", known[call]["effect"]), "an agent was told otherwise"
    assert sum(happened.values()) == sum(r["effect"] == "applied" for r in known.values())


def _taken_back(url: str) -> tuple[str, bool]:
    """What became of the revert of the session, and whether the audit log is whole."""
    with _admin(url) as admin:
        # What nobody saw the end of is taken back only by force.
        body = {"session": "s1", "on_conflict": "force", "reason": "test"}
        answer = admin.post("/admin/reverts", json=body)
        return answer.json()["state"], admin.get("/admin/audit/verify").json()["ok"]


def _admin(url: str) -> httpx.Client:
    auth = {"Authorization": f"Bearer {ADMIN}"}
    return httpx.Client(base_url=url, headers=auth, timeout=60, trust_env=False)


def _calls(admin: httpx.Client) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        query = {"limit": 500, "tool": "crm", **({"cursor": cursor} if cursor else {})}
        page = admin.get("/admin/calls", params=query).json()
        found += [call for call in page["calls"] if call["effect"] != "none" or call["permitted"]]
        cursor = page["cursor"]
        if cursor is None:
            return found
