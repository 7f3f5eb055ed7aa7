"""Every endpoint as a route."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.surfaces import calls, decide, health, http, openapi, sql
from gateway.surfaces.admin import (
    agents,
    approvals,
    audit,
    freezes,
    policies,
    quarantine,
    reverts,
    servers,
    snapshots,
)
from gateway.surfaces.admin import calls as admin_calls
from gateway.surfaces.endpoint import Access, Endpoint, serve
from gateway.surfaces.mcp import endpoints as mcp
from gateway.surfaces.wiring import Gateway


def endpoints() -> tuple[Endpoint, ...]:
    """All of them; where paths overlap, the more exact one first."""
    described = (
        *sql.ENDPOINTS,
        *http.ENDPOINTS,
        *mcp.ENDPOINTS,
        *decide.ENDPOINTS,
        *calls.ENDPOINTS,
        *freezes.ENDPOINTS,
        *admin_calls.ENDPOINTS,
        *reverts.ENDPOINTS,
        *snapshots.ENDPOINTS,
        *quarantine.ENDPOINTS,
        *approvals.ENDPOINTS,
        *policies.ENDPOINTS,
        *audit.ENDPOINTS,
        *agents.ENDPOINTS,
        *servers.ENDPOINTS,
        *health.endpoints(),
    )
    return (*described, openapi.endpoint_for(described))


def routes(gateway: Gateway) -> list[Route]:
    """One route per path, so that 405 names every method the path has."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints():
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [_route(gateway, path, by_method) for path, by_method in by_path.items()]


def _route(gateway: Gateway, path: str, by_method: Mapping[str, Endpoint]) -> Route:
    served = dict(by_method)
    if "GET" in served and served["GET"].access is Access.OPEN:
        # HEAD only there: elsewhere an act would be recorded for an answer that is thrown away.
        served["HEAD"] = served["GET"]

    async def respond(request: Request) -> Response:
        return await serve(gateway, served[request.method], request)

    route = Route(path, respond, methods=[*served], name=path)
    route.methods = set(served)  # Starlette has added HEAD to every GET
    return route
