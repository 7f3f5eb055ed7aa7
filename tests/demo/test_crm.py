from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from gateway.demo.crm import CUSTOMERS, OPENAPI, ROUTES, application

SEVEN = {"id": 7, "name": "Radia 7", "email": "radia.7@example.com", "plan": "pro"}


@pytest.fixture
async def crm(tmp_path: Path) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=application(tmp_path / "crm.db"))
    return httpx.AsyncClient(transport=transport, base_url="http://crm")


async def test_a_deleted_customer_comes_back_whole_by_put(crm: httpx.AsyncClient) -> None:
    before = await crm.get("/customers/7")
    assert before.json() == SEVEN
    assert (await crm.delete("/customers/7")).status_code == 204
    assert (await crm.get("/customers/7")).status_code == 404
    assert (await crm.put("/customers/7", json=before.json())).status_code == 201
    after = await crm.get("/customers/7")
    assert after.content == before.content
    assert after.headers["ETag"] == before.headers["ETag"]


async def test_a_customer_that_changed_is_not_overwritten(crm: httpx.AsyncClient) -> None:
    tag = (await crm.get("/customers/7")).headers["ETag"]
    changed = await crm.patch("/customers/7", json={"plan": "free"})
    assert changed.json() == {**SEVEN, "plan": "free"}
    stale = {"If-Match": tag}
    for answer in (
        await crm.put("/customers/7", json=SEVEN, headers=stale),
        await crm.patch("/customers/7", json={"plan": "pro"}, headers=stale),
        await crm.delete("/customers/7", headers=stale),
        await crm.put("/customers/7", json=SEVEN, headers={"If-None-Match": "*"}),
    ):
        assert answer.status_code == 412
    assert (await crm.get("/customers/7")).json()["plan"] == "free"


async def test_a_key_makes_one_customer_however_often_it_is_sent(crm: httpx.AsyncClient) -> None:
    new = {"name": "New", "email": "new@example.com", "plan": "free"}
    first = await crm.post("/customers", json=new, headers={"Idempotency-Key": "k"})
    again = await crm.post("/customers", json=new, headers={"Idempotency-Key": "k"})
    other = await crm.post("/customers", json=new)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.headers["Location"] == f"/customers/{CUSTOMERS + 1}"
    assert other.json()["id"] == CUSTOMERS + 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/customers", {"name": "x"}),
        ("POST", "/customers", {**SEVEN, "admin": "yes"}),
        ("PUT", "/customers/7", {**SEVEN, "plan": "gold"}),
        ("PATCH", "/customers/7", {"name": 7}),
        ("PATCH", "/customers/7", ["name"]),
        ("POST", "/emails", {"to": "a@example.com"}),
    ],
)
async def test_what_is_no_customer_is_refused(
    crm: httpx.AsyncClient, method: str, path: str, body: object
) -> None:
    assert (await crm.request(method, path, json=body)).status_code == 400
    assert (await crm.get("/customers/7")).json() == SEVEN


async def test_mails_and_pages_are_listed(crm: httpx.AsyncClient) -> None:
    assert (
        await crm.post("/emails", json={"to": "a@b.example", "subject": "x"})
    ).status_code == 202
    assert (await crm.get("/emails")).json() == {
        "emails": [{"id": 1, "to": "a@b.example", "subject": "x"}]
    }
    pro = (await crm.get("/customers", params={"plan": "pro", "after": 7})).json()["customers"]
    assert pro
    assert all(c["plan"] == "pro" and c["id"] > 7 for c in pro)
    assert (await crm.get("/customers", params={"after": "x"})).status_code == 400


async def test_the_description_has_every_route_and_no_other(crm: httpx.AsyncClient) -> None:
    described = (await crm.get("/openapi.json")).json()
    assert described == json.loads(OPENAPI.read_text(encoding="utf-8"))
    named = {
        (method.upper(), path)
        for path, item in described["paths"].items()
        for method in item
        if method != "parameters"
    }
    served = {(method, re.sub(r":int", "", path)) for method, path, _ in ROUTES}
    assert named == served - {("GET", "/openapi.json")}
