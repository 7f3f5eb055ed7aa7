from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest

from gateway.app.proofs import routes_of
from gateway.config import Config, load, parse
from gateway.demo.crm import OPENAPI
from gateway.demo.running import crm_running
from gateway.sandbox.proving import Given, Proof, rehearse
from gateway.sandbox.trying import Sample
from gateway.upstreams.openapi.document import read
from tests.fixtures.forgetful import forgetful
from tests.fixtures.terminal import Terminal
from tests.house.sources import ROOT

ENVIRON = {"HOLDFAST_ADMIN_TOKEN": "a" * 40, "HOLDFAST_AGENT_TOKEN": "b" * 40}


def example() -> Config:
    return parse((ROOT / "config.example.yaml").read_text(encoding="utf-8"), ENVIRON)


@pytest.fixture
def free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_every_route_of_the_demo_tool_is_proven(tmp_path: Path, free_url: str) -> None:
    operations = read(OPENAPI.read_text(encoding="utf-8"))
    async with crm_running(free_url, tmp_path / "crm.db"), httpx.AsyncClient() as client:
        before = (await client.get(f"{free_url}/customers")).content
        proofs = await rehearse(example(), "crm", free_url, Given(operations=operations))
        assert (await client.get(f"{free_url}/customers")).content == before
    assert [(p.route, p.proven, p.why) for p in proofs] == [
        ("PUT /customers/{id}", True, None),
        ("DELETE /customers/{id}", True, None),
        ("PATCH /customers/{id}", True, None),
        ("POST /customers", True, None),
    ]


def tool(routes: list[dict[str, object]]) -> Config:
    text = json.dumps(
        {
            "identity": {"admin_token": "${HOLDFAST_ADMIN_TOKEN}"},
            "tools": {"things": {"base_url": "http://127.0.0.1:1", "routes": routes}},
        }
    )
    return parse(text, ENVIRON)


RESTORING = {
    "before": "GET /things/{id}",
    "undo": {"call": "PUT /things/{id}", "body": "$before.body"},
}
READS: list[dict[str, object]] = [{"match": "GET /things"}, {"match": "GET /things/{id}"}]


async def tried(route: dict[str, object], sample: Sample | None = None) -> Proof:
    match = str(route["match"])
    samples = {} if sample is None else {match: sample}
    with forgetful() as url:
        (proof,) = await rehearse(tool([*READS, route]), "things", url, Given(samples=samples))
    return proof


async def test_an_undo_that_loses_something_is_not_proven() -> None:
    verified = {"match": "DELETE /things/{id}", **RESTORING, "verify": "GET /things/{id}"}
    proof = await tried(verified)
    assert not proof.proven
    assert proof.why
    # Without a read that would show it, only the look past the gateway finds it out.
    blind = {"match": "DELETE /things/{id}", **RESTORING}
    assert not (await tried(blind)).proven


async def test_a_call_that_changes_nothing_proves_nothing() -> None:
    route = {"match": "POST /things", "undo": "DELETE /things/{$response.body.id}"}
    proof = await tried(route, Sample(body={"name": "x"}))
    assert not proof.proven
    assert "changed nothing" in str(proof.why)


async def test_what_cannot_be_made_up_has_to_be_given() -> None:
    route = {"match": "POST /things", "undo": "DELETE /things/{$response.body.id}"}
    proof = await tried(route)
    assert "sample" in str(proof.why)


async def test_a_sandbox_that_is_not_there_proves_nothing(free_url: str) -> None:
    route = {"match": "DELETE /things/{id}", **RESTORING}
    (proof,) = await rehearse(tool([*READS, route]), "things", free_url, Given())
    assert not proof.proven


async def test_what_is_derived_is_used_after_its_rehearsal_alone(
    tmp_path: Path, free_url: str
) -> None:
    """By the command, from nothing but a document, to an undo through the gateway."""
    home = {**ENVIRON, "HOLDFAST_HOME": str(tmp_path)}
    record = tmp_path / "crm.json"
    file = tmp_path / "config.yaml"
    file.write_text(
        json.dumps(
            {
                "identity": {
                    "admin_token": "${HOLDFAST_ADMIN_TOKEN}",
                    "agents": [{"name": "a", "token": "${HOLDFAST_AGENT_TOKEN}"}],
                },
                "store": {"url": f"sqlite:///{tmp_path}/store.db"},
                "policy": {"path": str(ROOT / "policies")},
                "tools": {
                    "crm": {
                        "base_url": free_url,
                        "internal": True,
                        "openapi": str(OPENAPI),
                        "rehearsed": str(record),
                    }
                },
            }
        )
    )

    def routes() -> set[str]:
        return {route.match for route in routes_of(load(file, home).tools["crm"])}

    async with crm_running(free_url, tmp_path / "crm.db"):
        assert routes() == set()
        shell = Terminal()
        shell.environ.update(home)
        arguments = ("rehearse", "crm", "--derived", "--sandbox", free_url, "--config", str(file))
        assert await asyncio.to_thread(shell.run, "tools", *arguments) == 0, shell.err
    assert routes() == {
        "PUT /customers/{id}",
        "DELETE /customers/{id}",
        "PATCH /customers/{id}",
        "POST /customers",
    }
    kept = json.loads(record.read_text())
    kept["routes"] = [r for r in kept["routes"] if r["route"] != "POST /customers"]
    record.write_text(json.dumps(kept))
    assert "POST /customers" not in routes()
