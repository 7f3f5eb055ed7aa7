"""A gateway that is killed while a call waits for its client's answer tells what became of it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.mcp.house import POLICY, current, messages
from tests.fixtures.serving import AGENT, ROOT, Served, _listening, environment

Json = dict[str, Any]
ASKS = {"elicitation": {"form": {}}}


@contextmanager
def process(home: Path) -> Iterator[Served]:
    """A gateway that is killed at the end, whatever it does."""
    environ = environment(home)
    log = (home / "serve.log").open("w")
    running = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--config", str(home / "c.yaml"), "--port", "0"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        url = _listening(running, home / "serve.log")
        yield Served(url=url, home=home, process=running, environ=environ)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait(timeout=30)
        assert running.stdout is not None
        running.stdout.close()
        log.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gateway.rego").write_text(POLICY)
    server = {
        "command": [sys.executable, "-m", "tests.fixtures.mcp.everything"],
        "cwd": str(ROOT),
        "protocol": "previous",
        "tools": {"test_elicitation_sep1034_defaults": {"class": "read"}},
    }
    agents = [{"name": "a", "token": "${HOLDFAST_AGENT_TOKEN}", "roles": ["developer"]}]
    document = {
        "store": {"url": f"sqlite:///{tmp_path}/store.db"},
        "snapshots": {"path": str(tmp_path / "snapshots")},
        "policy": {"path": str(tmp_path / "policies"), "deadline_ms": 5000},
        "identity": {"admin_token": "${HOLDFAST_ADMIN_TOKEN}", "agents": agents},
        "mcp_servers": {"it": server, "that": server},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(document))
    return tmp_path


def client(it: Served) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {AGENT}"}
    return httpx.AsyncClient(base_url=it.url, headers=headers, timeout=60, trust_env=False)


async def asked(agent: httpx.AsyncClient, server: str, params: Json) -> Json:
    while True:
        answer = await current(agent, f"/mcp/{server}", "tools/call", params, capabilities=ASKS)
        if "upstream.unreachable" not in answer.text:
            message = messages(answer)[-1]
            assert "result" in message, message
            result: Json = message["result"]
            return result
        await asyncio.sleep(0.5)  # the server is still starting


def answered(params: Json, question: Json) -> Json:
    """The same request again, with the answer that it was waiting for."""
    assert question["resultType"] == "input_required", question
    [name] = question["inputRequests"]
    given = {name: {"action": "accept", "content": {"name": "Ada"}}}
    return {**params, "inputResponses": given, "requestState": question["requestState"]}


async def test_who_comes_back_after_a_kill_is_told_the_truth(home: Path) -> None:
    changing = {"name": "test_elicitation", "arguments": {"message": "Who?"}}
    reading: Json = {"name": "test_elicitation_sep1034_defaults", "arguments": {}}
    with process(home) as first:
        async with client(first) as agent:
            again = [
                (server, answered(params, await asked(agent, server, params)))
                for server, params in (("it", changing), ("that", reading))
            ]
    with process(home) as second:
        async with client(second) as agent:
            changed, read = [await asked(agent, *one) for one in again]
            repeated = await asked(agent, *again[0])
            calls = [found["structuredContent"]["call"] for found in (changed, read)]
            records = [(await agent.get(f"/calls/{call}")).json() for call in calls]
    problem = changed["structuredContent"]
    assert (changed["isError"], problem["reason"]) == (True, "outcome.unknown")
    assert problem["effect"] == "unknown"
    assert "Do not repeat it" in changed["content"][0]["text"]
    assert repeated["structuredContent"] == problem, "the truth, however often"
    assert read["structuredContent"]["effect"] == "none"
    assert [(r["state"], r["effect"]) for r in records] == [
        ("unknown", "unknown"),
        ("failed", "none"),
    ]
