from __future__ import annotations

from typing import Any

import pytest

from gateway.surfaces.answers import SAFE
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.routes import endpoints
from tests.surfaces.doubles import House

OPEN = {"/healthz", "/readyz", "/openapi.json"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY")
PATHS = sorted({e.path for e in endpoints()})


def concrete(path: str) -> str:
    for name, value in {"source": "shop", "id": "call_1", "name": "main.rego"}.items():
        path = path.replace(f"{{{name}}}", value)
    return path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
async def test_no_method_of_no_route_answers_without_a_token(
    home: House, method: str, path: str
) -> None:
    answer = await home.http.request(method, concrete(path))
    if path in OPEN:
        assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)
    else:
        assert answer.status_code in (401, 405)
        known = {e.method for e in endpoints() if e.path == path}
        assert answer.status_code == 401 or method not in known
    assert home.walk.calls == []
    assert home.back.requests == []


def test_only_the_three_open_paths_are_open() -> None:
    assert {e.path for e in endpoints() if e.access is Access.OPEN} == OPEN
    assert all(e.access is Access.ADMIN for e in endpoints() if e.path.startswith("/admin"))


ADMIN_ONLY = [e for e in endpoints() if e.access is Access.ADMIN]


@pytest.mark.parametrize("endpoint", ADMIN_ONLY, ids=lambda e: f"{e.method} {e.path}")
async def test_no_admin_route_answers_to_an_agent(home: House, endpoint: Endpoint) -> None:
    answer = await home.agent(endpoint.method, concrete(endpoint.path), json={})
    assert (answer.status_code, answer.json()["reason"]) == (403, "not_admin")


@pytest.mark.parametrize("endpoint", ADMIN_ONLY, ids=lambda e: f"{e.method} {e.path}")
async def test_no_admin_route_acts_without_a_record(home: House, endpoint: Endpoint) -> None:
    bodies: dict[str, Any] = {
        "FreezeOrder": {"scope": {}, "reason": "x"},
        "RevertOrder": {"call": "call_1"},
        "Resolving": {"effect": "none"},
        "Purge": {"source": "shop", "call": "call_1"},
        "Ruling": {"decision": "approve"},
        "PolicyText": {"text": "package gateway"},
        "NewAgent": {"name": "c9"},
        "PinRuling": {"tool": "act", "digest": "d" * 64},
    }
    sent = bodies.get(endpoint.body or "", {})
    home.store.audit_down = True
    answer = await home.admin(endpoint.method, concrete(endpoint.path), json=sent)
    assert (answer.status_code, answer.json()["reason"]) == (503, "audit.unavailable")
    assert home.back.requests == []
    assert home.freezes.known == {}
    assert home.policies.revision == "r1"
    assert home.store.kept_agents == {}

    home.store.audit_down = False
    await home.admin(endpoint.method, concrete(endpoint.path), json=sent)
    [(event, body)] = home.store.events
    assert event.startswith("admin.")
    assert body["by"] == "admin"
    assert "token" not in str(body)


async def test_an_unknown_path_and_method_are_problems_too(home: House) -> None:
    missing = await home.http.get("/nowhere")
    assert (missing.status_code, missing.json()["reason"]) == (404, "unknown_tool")
    wrong = await home.http.put("/sql/shop")
    assert (wrong.status_code, wrong.json()["reason"]) == (405, "malformed")
    assert wrong.headers["Allow"] == "POST"
    several = await home.http.put("/admin/freezes")
    assert set(several.headers["Allow"].split(", ")) == {"GET", "POST"}
    for answer in (missing, wrong):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert {name: answer.headers[name] for name in SAFE} == SAFE


@pytest.mark.parametrize("path", ["/healthz/", "/sql/shop/", "/admin/calls/", "//healthz"])
async def test_a_path_is_not_mended(home: House, path: str) -> None:
    answer = await home.http.get(path)
    assert answer.status_code == 404


@pytest.mark.parametrize("path", [*sorted(OPEN), "/nowhere", "/sql/shop", "/admin/calls"])
async def test_every_answer_has_the_safe_headers_and_no_server_name(home: House, path: str) -> None:
    answer = await home.http.get(path)
    assert {name: answer.headers.get(name) for name in SAFE} == SAFE
    assert "Server" not in answer.headers
    assert "Set-Cookie" not in answer.headers
    assert not any(name.startswith("access-control") for name in answer.headers)
