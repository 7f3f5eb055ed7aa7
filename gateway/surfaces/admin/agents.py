"""``/admin/agents``."""

from __future__ import annotations

from starlette.responses import Response

from gateway.errors import Malformed, NotFound, PreconditionFailed
from gateway.identity.token import ADMIN, AGENT_NAME, new_token, token_sha256
from gateway.interfaces import Agent
from gateway.model import Json
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.views import time_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


def agent_json(agent: Agent) -> dict[str, Json]:
    return {
        "name": agent.name,
        "roles": list(agent.roles),
        "origin": "store",
        "created_at": time_json(agent.created_at),
        "revoked_at": time_json(agent.revoked_at),
    }


async def listed(gateway: Gateway, _visit: Visit) -> Act:
    async def run() -> Response:
        configured: list[dict[str, Json]] = [
            {
                "name": name,
                "roles": list(roles),
                "origin": "configuration",
                "created_at": None,
                "revoked_at": None,
            }
            for name, roles in gateway.configured_agents.items()
        ]
        stored = [agent_json(agent) for agent in await gateway.store.agents()]
        return answer({"agents": [*configured, *stored]})

    return Act(what="agents.list", run=run)


async def create(gateway: Gateway, visit: Visit) -> Act:
    fields = Fields(await read_json(visit.request, gateway.bounds))
    name = fields.text("name", most=64)
    roles = fields.texts("roles", most=32)
    fields.end()
    if name == ADMIN or any(AGENT_NAME.fullmatch(n) is None for n in (name, *roles)):
        raise Malformed(
            "Names and roles begin with a letter and have at most 64 letters, digits, '_', '.' "
            f"and '-'; {ADMIN!r} is taken."
        )

    async def run() -> Response:
        if name in gateway.configured_agents:
            raise PreconditionFailed(f"The configuration has an agent called {name!r} already.")
        token = new_token()
        agent = Agent(
            name=name,
            roles=roles,
            token_sha256=token_sha256(token),
            created_at=gateway.clock.now(),
        )
        if not await gateway.store.add_agent(agent, by=visit.subject.id):
            raise PreconditionFailed(f"There is an agent called {name!r} already; revoke it first.")
        return answer({**agent_json(agent), "token": token}, status=201)

    return Act(what="agents.create", about={"agent": name, "roles": list(roles)}, run=run)


async def revoke(gateway: Gateway, visit: Visit) -> Act:
    name = visit.id("name")

    async def run() -> Response:
        if name in gateway.configured_agents:
            raise PreconditionFailed(
                f"{name!r} stands in the configuration: remove it there and start again."
            )
        if not await gateway.store.revoke_agent(name, by=visit.subject.id):
            raise NotFound("There is no such agent.")
        return answer({"name": name, "revoked": True})

    return Act(what="agents.revoke", about={"agent": name}, run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/agents",
        access=Access.ADMIN,
        read=listed,
        summary="Agents, without their tokens.",
        answers={200: "Agents"},
    ),
    Endpoint(
        method="POST",
        path="/admin/agents",
        access=Access.ADMIN,
        read=create,
        summary="Adds an agent and shows its token, this once.",
        body="NewAgent",
        answers={201: "AddedAgent"},
    ),
    Endpoint(
        method="DELETE",
        path="/admin/agents/{name}",
        access=Access.ADMIN,
        read=revoke,
        summary="Revokes an agent's token at once.",
        answers={200: "Revoked"},
    ),
)
