from __future__ import annotations

from typing import Any

import pytest

from gateway.identity.token import token_sha256
from tests.surfaces.doubles import House


async def test_an_added_agent_can_call_with_the_token_shown_once(home: House) -> None:
    answer = await home.admin("POST", "/admin/agents", json={"name": "c9", "roles": ["analyst"]})
    token = answer.json()["token"]
    assert answer.status_code == 201
    assert home.store.kept_agents["c9"].token_sha256 == token_sha256(token)
    called = await home.agent("POST", "/sql/shop", token=token, json={"sql": "SELECT 1"})
    assert called.status_code == 200
    assert home.walk.calls[0].subject.id == "c9"
    assert home.walk.calls[0].subject.roles == ("analyst",)
    listed = await home.admin("GET", "/admin/agents")
    assert token not in listed.text
    assert token_sha256(token) not in listed.text
    assert token not in str(home.store.log)
    assert home.store.events[0] == (
        "admin.agents.create",
        {"agent": "c9", "roles": ["analyst"], "by": "admin"},
    )


async def test_a_revoked_agent_is_out_at_once(home: House) -> None:
    token = (await home.admin("POST", "/admin/agents", json={"name": "c9"})).json()["token"]
    answer = await home.admin("DELETE", "/admin/agents/c9")
    assert (answer.status_code, answer.json()) == (200, {"name": "c9", "revoked": True})
    called = await home.agent("POST", "/sql/shop", token=token, json={"sql": "SELECT 1"})
    assert (called.status_code, called.json()["reason"]) == (401, "unauthenticated")
    assert (await home.admin("DELETE", "/admin/agents/c9")).status_code == 404


async def test_agents_are_listed_with_where_they_come_from(home: House) -> None:
    await home.admin("POST", "/admin/agents", json={"name": "c9"})
    agents = (await home.admin("GET", "/admin/agents")).json()["agents"]
    assert [(a["name"], a["origin"]) for a in agents] == [
        ("a7", "configuration"),
        ("b8", "configuration"),
        ("c9", "store"),
    ]


@pytest.mark.parametrize("name", ["a7", "c9"])
async def test_a_name_is_given_once(home: House, name: str) -> None:
    await home.admin("POST", "/admin/agents", json={"name": "c9"})
    answer = await home.admin("POST", "/admin/agents", json={"name": name})
    assert (answer.status_code, answer.json()["reason"]) == (412, "precondition.failed")


async def test_a_configured_agent_is_not_revoked_here(home: House) -> None:
    answer = await home.admin("DELETE", "/admin/agents/a7")
    assert (answer.status_code, answer.json()["reason"]) == (412, "precondition.failed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "admin"},
        {"name": "a b"},
        {"name": "1a"},
        {"name": "a" * 65},
        {"name": "ä"},
        {"name": "c9", "roles": "analyst"},
        {"name": "c9", "roles": ["an alyst"]},
        {"name": "c9", "token": "chosen"},
    ],
)
async def test_a_name_that_could_be_mistaken_is_malformed(home: House, body: Any) -> None:
    answer = await home.admin("POST", "/admin/agents", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.store.kept_agents == {}
