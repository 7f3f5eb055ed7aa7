"""What the command line asks without a running gateway."""

from __future__ import annotations

import asyncio

from gateway.app.imaging import check_images
from gateway.app.life import seed_sources
from gateway.app.parts import Parts, Source, assemble, new_id
from gateway.app.places import shared_places
from gateway.app.proofs import proof_findings
from gateway.audit import digest_of
from gateway.config import Config
from gateway.errors import ConfigInvalid
from gateway.interfaces import (
    Context,
)
from gateway.model import Call, Deny, Finding, Json, Subject, Surface
from gateway.outcomes import decision_json


async def check(config: Config) -> list[Finding]:
    """Validates policies and connections without serving. Policy faults raise
    ``PolicyInvalid``."""
    seed_sources(config)
    parts = assemble(config)
    findings: list[Finding] = []
    try:
        await parts.policy.open()
        findings += await parts.policy.check()
        findings += await asyncio.to_thread(check_images, config)
        for name, source in parts.sources.items():
            try:
                await source.open()
                findings += await source.check()
            except ConfigInvalid as error:
                findings.append(Finding(level="error", about=name, message=error.detail))
        findings += await shared_places(config, parts.sources)
        findings += proof_findings(config)
        findings += credential_findings(config)
        # The demo tool is started by the gateway that serves; until then it cannot be there.
        there: list[Source] = [
            t for n, t in parts.tools.items() if config.tools[n].demo_data is None
        ]
        there += parts.servers.values()
        for found in await asyncio.gather(*(tool.check() for tool in there)):
            findings += found
    finally:
        for source in parts.targets.values():
            await source.close()
        await parts.policy.close()
    return findings


def credential_findings(config: Config) -> list[Finding]:
    """A warning for each credential that stands in the configuration's own text."""
    message = (
        "line {}: a credential is written into the file. Take it from the environment: "
        'write "${{SOME_VARIABLE}}" in its place.'
    )
    return [
        Finding(level="warning", about=key, message=message.format(line))
        for key, line in config.credentials_in_the_file()
    ]


async def explain(config: Config, source: str, sql: str) -> dict[str, Json]:
    """What ``sql`` would do on ``source`` and what policy says to the configured agents' roles
    together. Executes and records nothing, and does not look at stored freezes."""
    seed_sources(config)
    parts = assemble(config)
    upstream = parts.sources[source]
    try:
        await parts.policy.open()
        await upstream.open()
        return await _explained(parts, upstream, sql)
    finally:
        await upstream.close()
        await parts.policy.close()


async def _explained(parts: Parts, upstream: Source, sql: str) -> dict[str, Json]:
    roles = sorted({role for agent in parts.config.identity.agents for role in agent.roles})
    request = {"sql": sql, "params": []}
    call = Call(
        id=new_id("call"),
        subject=Subject(id="explain", roles=tuple(roles), session="explain"),
        surface=Surface.SQL,
        tool=upstream.name,
        request=request,
        digest=digest_of(Surface.SQL, upstream.name, request),
        received_at=parts.clock.now(),
    )
    action = await upstream.parse(call)
    if isinstance(action, Deny):
        return {"decision": decision_json(action), "detail": action.detail, "action": None}
    now = parts.clock.now()
    context = Context(time=now, freezes=parts.windows.active(now))
    decision = await parts.decider.judge(call, action, context)
    return {
        "decision": decision_json(decision),
        "detail": decision.detail if isinstance(decision, Deny) else None,
        "action": parts.decider.action_json(call, action),
        "why_irreversible": action.why_irreversible,
        "why_inexact": action.why_inexact,
        "warnings": list(action.warnings),
    }
