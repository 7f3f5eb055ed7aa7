"""The ASGI application over the assembled parts."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette

from gateway.app.life import opened
from gateway.app.parts import Parts, assemble, new_id
from gateway.config import Config
from gateway.errors import NotFound, PolicyInvalid
from gateway.identity.failures import FailedSignIns
from gateway.identity.token import AdminToken, ConfiguredAgent, TokenIdentifier
from gateway.interfaces import (
    Clock,
    Probe,
    no_probe,
)
from gateway.model import CallRecord, Deny, Redaction, Subject
from gateway.policy.compiled import TestReport
from gateway.policy.opa import OpaPolicy
from gateway.policy.rego import EmbeddedPolicy
from gateway.surfaces import application as http
from gateway.surfaces.mcp.desk import Desk
from gateway.surfaces.mcp.states import Seal
from gateway.surfaces.strict_json import JsonBounds
from gateway.surfaces.wiring import Bounds, Gateway
from gateway.telemetry import MeteredWalk, Standing


def build(config: Config, *, clock: Clock | None = None, probe: Probe = no_probe) -> Starlette:
    """The ASGI application; its lifespan opens and closes everything."""
    return application(assemble(config, clock=clock, probe=probe))


def application(parts: Parts) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with opened(parts):
            yield
            gateway.mcp.close()

    gateway = _gateway(parts)
    return http.application(gateway, lifespan)


def _gateway(parts: Parts) -> Gateway:
    config = parts.config
    admin = AdminToken(config.identity.admin_token.get_secret_value())
    agents = [
        ConfiguredAgent(name=a.name, token=a.token.get_secret_value(), roles=a.roles)
        for a in config.identity.agents
    ]

    async def may_undo(subject: Subject, record: CallRecord) -> Deny | None:
        if config.identity.agents_may_undo and record.call.subject.id == subject.id:
            return None
        return Deny(
            reason="policy.denied",
            detail="Agents do not take back calls here. Ask a person to revert this one.",
        )

    return Gateway(
        pipeline=MeteredWalk(parts.pipeline, parts.telemetry),
        reverter=parts.reverter,
        purger=parts.purger,
        store=parts.store,
        freezer=parts.freezer,
        policy=_PolicyFiles(parts.policy),
        identifier=TokenIdentifier(agents, parts.store, parts.clock),
        is_admin=admin.matches,
        failures=FailedSignIns(parts.store, parts.clock),
        clock=parts.clock,
        upstreams=_kinds(parts),
        images=parts.targets,
        mcp=_desk(parts),
        may_undo=may_undo,
        new_id=new_id,
        readiness={
            "store": parts.store.ready,
            "audit": lambda: _audit_ready(parts),
            "policy": lambda: _policy_ready(parts),
        },
        redaction=Redaction(patterns=config.snapshots.redact),
        configured_agents={a.name: a.roles for a in config.identity.agents},
        bounds=Bounds(
            json=JsonBounds(bytes=config.server.max_body_bytes),
            body_total_s=config.server.body_deadline_s,
            upload_idle_s=config.server.body_idle_s,
        ),
        uploads={name: tool.max_request_bytes for name, tool in config.tools.items()},
        shelf=parts.shelf,
        metrics=lambda: _scraped(parts),
        refused=parts.telemetry.refused,
        may_scrape=_scraper(config),
    )


async def _scraped(parts: Parts) -> bytes:
    now = parts.clock.now()
    stored = await parts.store.freezes()
    freezes = [f for f in (*parts.windows.active(now), *stored) if f.active(now)]
    findings = await parts.policy.check()
    standing = Standing(
        open_calls=await parts.store.open_calls(),
        freezes=len(freezes),
        revision=parts.policy.revision,
        policy_fault=any(finding.level == "error" for finding in findings),
    )
    return parts.telemetry.text(standing)


def _scraper(config: Config) -> Callable[[str], bool]:
    token = config.telemetry.metrics_token
    if token is None:
        return lambda _: False
    return AdminToken(token.get_secret_value()).matches


def _kinds(parts: Parts) -> dict[str, str]:
    return {
        **dict.fromkeys(parts.sources, "sql"),
        **dict.fromkeys(parts.tools, "http"),
        **dict.fromkeys(parts.servers, "mcp"),
    }


def _desk(parts: Parts) -> Desk:
    server = parts.config.server
    return Desk(
        servers=parts.servers,
        hosts=Desk().hosts | {server.host, *(host.lower() for host in server.allowed_hosts)},
        origins=frozenset(origin.rstrip("/") for origin in server.allowed_origins),
        seal=Seal(_derived_key(parts.config)),
    )


def _derived_key(config: Config) -> bytes:
    """The same after a restart, so that who comes back then is told what became of the call."""
    token = config.identity.admin_token.get_secret_value().encode("utf-8")
    return hmac.digest(token, b"holdfast mcp requestState", "sha256")


class _PolicyFiles:
    """The policies as the admin side edits them. Those of an OPA server are edited there."""

    def __init__(self, policy: EmbeddedPolicy | OpaPolicy) -> None:
        self._policy = policy

    @property
    def revision(self) -> str:
        return self._policy.revision

    def _embedded(self) -> EmbeddedPolicy:
        if isinstance(self._policy, OpaPolicy):
            raise NotFound("The policies are kept by the OPA server; edit them there.")
        return self._policy

    def files(self) -> dict[str, str]:
        return {str(f["name"]): str(f["text"]) for f in self._embedded().files()}

    async def put(self, name: str, text: str, if_match: str | None = None) -> str:
        return await self._embedded().put(name, text, if_match)

    async def test(self) -> TestReport:
        return await self._embedded().test()


async def _audit_ready(parts: Parts) -> None:
    # The store proves that it can write; this proves that the log itself can be read.
    await parts.store.entries(limit=1)


async def _policy_ready(parts: Parts) -> None:
    if not parts.policy.revision:
        raise PolicyInvalid("No policy is in force.", faults=[])
    if isinstance(parts.policy, OpaPolicy) and parts.policy.fault is not None:
        raise PolicyInvalid(parts.policy.fault, faults=[])
