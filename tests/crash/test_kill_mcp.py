"""A served gateway is killed (SIGKILL) at every step of the walk and of the walk back over MCP
servers, over stdio and over streamable HTTP, keyed, probe-able and opaque, while what it sends is
lost, delayed, doubled and cut off. Agents and people speak to it through its socket; the servers'
own ledgers tell what happened: nothing is lost, nothing happens twice, no settled state lies.

``HOLDFAST_SEEDS`` / 2 seeds per step (1 by default).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from gateway.app.parts import assemble
from gateway.app.serving import application
from gateway.config import parse
from tests.crash.killing import Killer, ended, start
from tests.crash.test_kill_remote import BACK, WALK
from tests.fixtures.mcp.house import ADMIN, POLICY, TOKENS, meta, request
from tests.fixtures.mcp.ledgered import Place
from tests.fixtures.options import size

Json = dict[str, Any]
SEEDS = max(1, size("seeds", 2) // 2)
# Every step with HOLDFAST_SEEDS; every second one by default, as each starts a gateway.
EVERY = 1 if size("seeds", 0) else 2
FENCE_S = 1  # longer than a server delays a call
ITEMS = {f"i{number}": f"old{number}" for number in range(6)}
TROUBLE = {"lost": 0.12, "half": 0.08, "reset": 0.08, "late": 0.08, "error": 0.05, "mute": 0.03}
READ = {"tool": "get_item", "arguments": {"id": "$arguments.id"}, "error_means_absent": True}
PUT_BACK = {"tool": "put_item", "arguments": {"id": "$arguments.id", "body": "$before.body"}}
MADE = {"id": "$response.id"}
SERVERS = ("B-pipe", "C-web", "D-pipe", "B-web", "C-pipe", "D-web")


def declared(tool_class: str) -> Json:
    """How the tools of a server are declared in this class."""
    keyed = {"key": "key", "retry": {"attempts": 3, "base_s": 0.01}} if tool_class == "B" else {}
    put = {"class": "write", "before": READ, "undo": PUT_BACK, "undo_safe": True, "verify": READ}
    tools = {
        "get_item": {"class": "read"},
        "put_item": {**put, **keyed},
        "delete_item": {**put, "class": "destructive", **keyed},
        "make_item": {
            "class": "write",
            "undo": {"tool": "delete_item", "arguments": MADE},
            "verify": {"tool": "get_item", "arguments": MADE, "error_means_absent": True},
            **keyed,
        },
    }
    if tool_class == "C":
        probe = {**READ, "fence": f"{FENCE_S}s"}
        tools["put_item"]["probe"] = {**probe, "happened": "response.body == arguments.body"}
        tools["delete_item"]["probe"] = {**probe, "happened": "response.text == 'nothing'"}
    return tools


class Errand:
    """One call on a server of its own. Every item is touched by one errand only."""

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self.server = SERVERS[(number + seed) % len(SERVERS)]
        verbs = ["put_item", "delete_item"] + (["make_item"] if self.server[0] != "C" else [])
        self.verb = random.Random(f"{seed} {number}").choice(verbs)

    @property
    def arguments(self) -> dict[str, str]:
        made = {"body": f"made{self.number}"}
        put = {"id": f"i{self.number}", "body": f"new{self.number}"}
        return {"make_item": made, "put_item": put}.get(self.verb, {"id": f"i{self.number}"})

    def happened(self, effects: list[Any]) -> int:
        body, id = self.arguments.get("body"), self.arguments.get("id")
        return sum(
            1
            for tool, at, what, _ in effects
            if tool == self.verb and what == body and (id is None or at == id)
        )

    def undone(self, effects: list[Any]) -> int:
        """How often its undo happened."""
        if self.verb != "make_item":
            id, old = f"i{self.number}", f"old{self.number}"
            return sum(
                1 for tool, at, what, _ in effects if (tool, at, what) == ("put_item", id, old)
            )
        made = {at for tool, at, what, _ in effects if what == self.arguments["body"]}
        return sum(1 for tool, at, _, _ in effects if tool == "delete_item" and at in made)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The folder of the servers over HTTP, and their port."""
    folder = tmp_path_factory.mktemp("web")
    command = [sys.executable, "-m", "tests.fixtures.mcp.ledgered", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield folder, int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


class Case:
    """One gateway that is killed, and its lives after that, at the same address."""

    def __init__(self, folder: Path, web: tuple[Path, int], step: str, seed: int) -> None:
        self.folder = folder / str(seed)
        self.folder.mkdir()
        (self.folder / "policies").mkdir()
        (self.folder / "policies" / "gateway.rego").write_text(POLICY)
        self.step, self.seed = step, seed
        self.errands = [Errand(number, seed) for number in range(6)]
        self.places: dict[str, Place] = {}
        servers = {name: self._server(name, web) for name in SERVERS}
        self.document = {
            "store": {"url": f"sqlite:///{self.folder}/store.db"},
            "snapshots": {"path": str(self.folder / "snapshots")},
            "policy": {"path": str(self.folder / "policies"), "watch": False, "deadline_ms": 9000},
            "identity": {
                "admin_token": "${ADMIN}",
                "agents": [{"name": "a7", "token": "${A7}", "roles": ["developer"]}],
            },
            "mcp_servers": servers,
        }
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.told: list[Json] = []
        self.settling = self.folder / "settling"

    def _server(self, name: str, web: tuple[Path, int]) -> Json:
        root, port = web
        piped = name.endswith("pipe")
        place = (
            self.folder / name if piped else root / f"{self.folder.parent.name}-{self.seed}-{name}"
        )
        place.mkdir()
        self.places[name] = Place(place)
        with self.places[name].open() as state:
            state["items"] = dict(ITEMS)
        how: Json = {"url": f"http://127.0.0.1:{port}/{place.name}"}
        if piped:
            root_folder = str(Path(__file__).parents[2])
            command = [sys.executable, "-m", "tests.fixtures.mcp.ledgered", str(place)]
            how = {"command": command, "cwd": root_folder}
        return {**how, "protocol": "previous", "timeout_s": 1.5, "tools": declared(name[0])}

    def faults(self, **rates: float) -> None:
        for name, place in self.places.items():
            with place.open() as state:
                state["seed"] = self.seed
                state["rates"] = {**rates, **({"twice": 0.1} if rates and name[0] == "B" else {})}

    def effects(self, server: str) -> list[Any]:
        with self.places[server].open() as state:
            found: list[Any] = state["effects"]
            return found

    # --- lives

    def start(self, killer: Killer, *, settle: bool = False) -> int:
        async def life(killer: Killer) -> None:
            parts = assemble(
                parse(json.dumps(self.document), {"ADMIN": ADMIN, "A7": TOKENS["a7"]}), probe=killer
            )
            config = uvicorn.Config(application(parts), log_level="critical", lifespan="on")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[self.listener]))
            while settle and not serving.done():
                # Recovery's own passes, without waiting for leases; not while anything is running.
                await asyncio.sleep(0.2)
                if server.started and await asyncio.to_thread(self.settling.exists):
                    await parts.recovery.settle(everything=True)
            await serving

        return start(life, killer, self.folder / "log")

    def agent(self) -> httpx.Client:
        return self._client(TOKENS["a7"])

    def admin(self) -> httpx.Client:
        return self._client(ADMIN)

    def _client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}", "Holdfast-Session": "crash"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)


def forth(case: Case, agent: httpx.Client) -> None:
    """Every errand once, until the gateway is gone."""
    for errand in case.errands:
        params = {"_meta": meta(), "name": errand.verb, "arguments": errand.arguments}
        answer = agent.post(
            f"/mcp/{errand.server}",
            json=request("tools/call", params),
            headers={
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "tools/call",
                "Mcp-Name": errand.verb,
                "Idempotency-Key": f"e{errand.number}",
            },
        )
        assert answer.status_code == 200, answer.text
        result = answer.json().get("result") or answer.json()["error"]["data"]
        told = (result.get("_meta") or {}).get("holdfast/call") or result
        case.told.append({"number": errand.number, "call": told["call"], "effect": told["effect"]})


def _ready(case: Case, admin: httpx.Client) -> list[Json]:
    """The calls once everything that settles by itself has."""
    case.settling.touch()
    try:
        return _settling(admin)
    finally:
        case.settling.unlink()
        time.sleep(0.3)


def _settling(admin: httpx.Client) -> list[Json]:
    deadline = time.monotonic() + 30
    while True:
        calls: list[Json] = admin.get("/admin/calls", params={"limit": 200}).json()["calls"]
        waits = [
            (c["call"], c["state"], c["tool"])
            for c in calls
            if c["state"] in ("intent", "executing", "reverting")
            or (c["state"] == "unknown" and c["tool"][0] == "C")
        ]
        if not waits:
            return calls
        assert time.monotonic() < deadline, waits
        time.sleep(0.1)


def settled(case: Case, *, back: bool = False) -> list[Json]:
    """A person looks at what is still unknown when everything had its time, and takes the session
    back if it is to be."""
    child = case.start(Killer("never", 1), settle=True)
    with case.admin() as admin:
        for _ in range(3 if back else 1):
            for call in _ready(case, admin):
                if call["state"] == "unknown":
                    _looked(case, admin, call)
            if back:
                order = {"session": "crash"}
                done = admin.post("/admin/reverts", json=order)
                done.raise_for_status()
                print(done.json())  # shown where the test fails
        calls = _ready(case, admin)
    os.kill(child, signal.SIGKILL)
    ended(child, case.folder / "log")
    return calls


def _looked(case: Case, admin: httpx.Client, call: Json) -> None:
    errand = next(e for e in case.errands if e.server == call["tool"])
    effects = case.effects(errand.server)
    reverts = bool(call["reverts"])
    assert reverts or call["tool"][0] == "D", "only an opaque tool needs a person"
    assert call["outcome"]["refusal"]["evidence"], "a person is given what was seen"
    happened = errand.undone(effects) if reverts else errand.happened(effects)
    order = {"effect": "applied" if happened else "none", "note": "looked"}
    admin.post(f"/admin/calls/{call['call']}/resolve", json=order).raise_for_status()


@pytest.mark.parametrize("step", WALK[::EVERY])
def test_a_kill_in_the_walk_over_mcp_servers(
    step: str, tmp_path: Path, web: tuple[Path, int]
) -> None:
    killed = 0
    for seed in range(SEEDS):
        case = Case(tmp_path, web, step, seed + 100 * WALK.index(step))
        case.faults(**TROUBLE)
        log = case.folder / "log"
        child = case.start(Killer(step, random.Random(case.seed).randint(1, 4)))
        try:
            with case.agent() as agent:
                forth(case, agent)
        except httpx.TransportError:
            killed += 1
        else:
            os.kill(child, signal.SIGKILL)
        assert ended(child, log).killed
        case.faults()
        time.sleep(FENCE_S)
        check(case, settled(case))
        case.listener.close()
    assert killed >= SEEDS * 0.5, "the step is hardly ever reached"


def check(case: Case, calls: list[Json]) -> None:
    assert {c["state"] for c in calls} <= {"succeeded", "failed", "denied"}, calls
    by_id = {c["call"]: c for c in calls}
    for errand in case.errands:
        happened = errand.happened(case.effects(errand.server))
        mine = [c for c in calls if c["tool"] == errand.server]
        assert len(mine) <= 1, "one errand is one call"
        applied = [c for c in mine if c["effect"] == "applied"]
        assert happened == len(applied), f"{errand.server} {errand.verb}: {happened}, {mine}"
        assert all((c["state"] == "succeeded") == (c["effect"] == "applied") for c in mine)
    for told in case.told:
        if told["effect"] != "unknown":
            assert by_id[told["call"]]["effect"] == told["effect"], told


@pytest.mark.parametrize("step", BACK[::EVERY])
def test_a_kill_in_the_walk_back_over_mcp_servers(
    step: str, tmp_path: Path, web: tuple[Path, int]
) -> None:
    killed = 0
    for seed in range(SEEDS):
        case = Case(tmp_path, web, step, seed + 100 * BACK.index(step))
        once = step in ("back.saved", "back.finished")
        nth = 1 if once else random.Random(case.seed).randint(1, 4)
        child = case.start(Killer(step, nth))
        try:
            with case.agent() as agent, case.admin() as admin:
                forth(case, agent)
                assert [told["effect"] for told in case.told] == ["applied"] * len(case.errands)
                if seed % 2:
                    case.faults(lost=0.2, half=0.1, reset=0.1, mute=0.05)
                admin.post("/admin/reverts", json={"session": "crash"})
        except httpx.TransportError:
            killed += 1
        else:
            os.kill(child, signal.SIGKILL)
        assert ended(child, case.folder / "log").killed
        case.faults()
        time.sleep(FENCE_S)
        calls = settled(case, back=True)
        case.listener.close()
        assert {c["state"] for c in calls} <= {"succeeded", "failed", "reverted", "conflict"}
        for errand in case.errands:
            effects = case.effects(errand.server)
            assert errand.undone(effects) == 1, f"{errand.server} {errand.verb}: {effects}"
            with case.places[errand.server].open() as state:
                assert state["items"] == ITEMS
    assert killed >= SEEDS * 0.5, "the step is hardly ever reached"
