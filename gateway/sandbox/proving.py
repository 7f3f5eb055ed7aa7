"""Rehearsals over a private gateway: each route is used and taken back there, and what the sandbox
shows is compared by a client that goes past the gateway."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic import SecretStr

from gateway.app import build
from gateway.app.proofs import declaration_of
from gateway.config import AgentSettings, Config, RouteSettings, ToolSettings
from gateway.model import Json
from gateway.sandbox.trying import CannotTry, Sample, Trial, Trials
from gateway.upstreams.openapi.document import Operation

_POLICY = """package gateway

import rego.v1

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {}}
"""
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """``declaration`` is the digest of the route as it was rehearsed: a proof of another
    declaration proves nothing. ``openapi``: that of the document which a derived route is from."""

    route: str
    proven: bool
    why: str | None
    declaration: str
    openapi: str | None = None

    def as_json(self) -> dict[str, Json]:
        return {
            "route": self.route,
            "proven": self.proven,
            "why": self.why,
            "declaration": self.declaration,
            "openapi": self.openapi,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a rehearsal may use beside the routes: the tool's description and a person's samples,
    by ``match`` of their route. ``openapi``: the digest of the description, where the routes are
    derived from it."""

    operations: Sequence[Operation] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict)
    openapi: str | None = None


async def rehearse(config: Config, tool: str, sandbox: str, given: Given) -> tuple[Proof, ...]:
    """Do, undo and verify of every route of ``tool`` against the service at ``sandbox``, which is
    changed by it and should end as it began. Nothing of the configuration's own tool is called."""
    settings = config.tools[tool]
    changing = [route for route in settings.routes if route.undo is not None]
    proofs: list[Proof] = []
    with tempfile.TemporaryDirectory(prefix="holdfast-rehearsal-") as folder:
        private = _private(config, tool, settings, sandbox, Path(folder))
        async with _clients(private, settings, sandbox) as clients:
            for number, route in enumerate(changing):
                trials = Trials(clients.sandbox, given.operations, skip=number)
                why = await _tried(clients, trials, route, tool, given.samples.get(route.match))
                proofs.append(
                    Proof(
                        route=route.match,
                        proven=why is None,
                        why=why,
                        declaration=declaration_of(route),
                        openapi=given.openapi,
                    )
                )
    return tuple(proofs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Private:
    config: Config
    agent: str
    admin: str


def _private(
    config: Config, tool: str, settings: ToolSettings, sandbox: str, folder: Path
) -> _Private:
    agent, admin = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    policies = folder / "policies"
    policies.mkdir()
    (policies / "gateway.rego").write_text(_POLICY, encoding="utf-8")
    known = AgentSettings(name="rehearsal", token=SecretStr(agent), roles=())
    copied = config.model_copy(
        update={
            "store": config.store.model_copy(update={"url": f"sqlite:///{folder}/store.db"}),
            "snapshots": config.snapshots.model_copy(update={"path": f"{folder}/snapshots"}),
            "policy": config.policy.model_copy(
                update={"engine": "embedded", "path": str(policies), "watch": False}
            ),
            "audit": config.audit.model_copy(update={"checkpoint_file": None}),
            "freezes": (),
            "identity": config.identity.model_copy(
                update={"admin_token": SecretStr(admin), "agents": (known,)}
            ),
            "sources": {},
            "mcp_servers": {},
            "tools": {
                tool: settings.model_copy(
                    update={"base_url": sandbox, "internal": True, "demo_data": None}
                )
            },
        }
    )
    return _Private(config=copied, agent=agent, admin=admin)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clients:
    """``sandbox`` goes past the gateway, with the credentials that the gateway would inject."""

    agent: httpx.AsyncClient
    admin: httpx.AsyncClient
    sandbox: httpx.AsyncClient


@asynccontextmanager
async def _clients(
    private: _Private, settings: ToolSettings, sandbox: str
) -> AsyncIterator[_Clients]:
    app = build(private.config)
    injected = {name: value.get_secret_value() for name, value in settings.headers.items()}

    def through(token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
        )

    async with (
        app.router.lifespan_context(app),
        through(private.agent) as agent,
        through(private.admin) as admin,
        httpx.AsyncClient(
            base_url=sandbox, headers=injected, timeout=_TIMEOUT_S, trust_env=False
        ) as direct,
    ):
        yield _Clients(agent=agent, admin=admin, sandbox=direct)


async def _tried(
    clients: _Clients, trials: Trials, route: RouteSettings, tool: str, sample: Sample | None
) -> str | None:
    """Why the route is not proven, or ``None``."""
    try:
        trial = await trials.trial(route.match, sample)
        before = await _seen(clients.sandbox, trial, route)
        body = {} if trial.body is None else {"json": trial.body}
        where = f"/http/{tool}{trial.path}"
        done = await clients.agent.request(trial.method, where, **body)
        call = done.headers.get("Holdfast-Call")
        if not done.is_success or call is None:
            return f"the call was answered {done.status_code}: {done.text[:300]}"
        if await _seen(clients.sandbox, trial, route) == before:
            return "the call changed nothing that the sandbox shows"
        why = await _taken_back(clients.admin, call)
        if why is not None:
            return why
        if await _seen(clients.sandbox, trial, route) != before:
            return "after the undo the sandbox does not show what it showed before"
    except CannotTry as error:
        return str(error)
    except httpx.HTTPError as error:
        return f"the sandbox could not be asked: {type(error).__name__}"
    return None


async def _taken_back(admin: httpx.AsyncClient, call: str) -> str | None:
    answer = await admin.post("/admin/reverts", json={"call": call, "reason": "rehearsal"})
    document = answer.json()
    steps = document.get("steps") or [{}]
    if document.get("state") != "reverted":
        told = steps[0].get("detail") or document.get("detail")
        return f"the undo ended as {document.get('state')}: {told}"
    detail: str | None = steps[0].get("detail")
    return detail  # set where the undo was accepted and its effect not proven


async def _seen(sandbox: httpx.AsyncClient, trial: Trial, route: RouteSettings) -> list[Json]:
    shown: list[Json] = []
    for path in trial.watched:
        answer = await sandbox.get(path)
        try:
            body: Json = answer.json() if answer.content else None
        except ValueError:
            body = answer.text
        shown.append([answer.status_code, _without(body, route.ignore)])
    return shown


def _without(body: Json, ignored: Sequence[str]) -> Json:
    """``body`` without the members that change by themselves (``body.updated_at``), at any
    depth."""
    names = {name.rpartition(".")[2] for name in ignored}
    if isinstance(body, dict):
        return {k: _without(v, ignored) for k, v in body.items() if k not in names}
    if isinstance(body, list):
        return [_without(member, ignored) for member in body]
    return body


def record_of(
    tool: str, sandbox: str, at: str, proofs: Sequence[Proof], earlier: Sequence[Json] = ()
) -> str:
    """What is kept of a rehearsal, as JSON text. ``earlier``: the routes of the record that it
    takes the place of; those that were rehearsed now replace them."""
    now = {(proof.route, proof.openapi is None) for proof in proofs}
    kept = [e for e in earlier if (e["route"], e.get("openapi") is None) not in now]
    document = {
        "tool": tool,
        "sandbox": sandbox,
        "at": at,
        "routes": [*kept, *(proof.as_json() for proof in proofs)],
    }
    return json.dumps(document, indent=2) + "\n"
