from __future__ import annotations

import re
from typing import Any

from starlette.routing import Route

from gateway.surfaces.endpoint import Access
from gateway.surfaces.routes import endpoints, routes
from tests.surfaces.doubles import House


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, found in document["paths"].items() for method in found}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(v) for v in value.values()))
    if isinstance(value, list):
        return set().union(*(references(v) for v in value))
    return set()


async def test_every_route_is_described_and_every_description_is_a_route(home: House) -> None:
    document = (await home.http.get("/openapi.json")).json()
    served = {
        (method, re.sub(r":[a-z]+}", "}", route.path))
        for route in routes(home.gateway)
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(method, path) for method, path in operations(document) if method != "HEAD"}
    assert described == served
    assert len(served) == len([e for e in endpoints() if e.method != "HEAD"])


async def test_every_reference_leads_to_a_schema(home: House) -> None:
    document = (await home.http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    found = {r.removeprefix("#/components/schemas/") for r in references(document)}
    assert found <= schemas.keys()
    assert schemas.keys() == found, "a schema that nothing uses"


async def test_the_description_says_who_may_call(home: House) -> None:
    document = (await home.http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    for endpoint in endpoints():
        path = re.sub(r":[a-z]+}", "}", endpoint.path)
        security = document["paths"][path][endpoint.method.lower()]["security"]
        named = {name for scheme in security for name in scheme}
        expected = {
            Access.OPEN: set(),
            Access.AGENT: {"agent"},
            Access.EITHER: {"agent", "admin"},
            Access.ADMIN: {"admin"},
            Access.SCRAPE: {"admin", "metrics"},
        }
        assert named == expected[endpoint.access]


async def test_every_operation_has_a_name_of_its_own_and_its_path_parameters(
    home: House,
) -> None:
    document = (await home.http.get("/openapi.json")).json()
    names = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert in_path == set(re.findall(r"{([a-z_]+)}", path))
            problem = operation["responses"]["default"]["content"]
            assert list(problem) == ["application/problem+json"]
    assert len(set(names)) == len(names)
