"""The composition root: the only place that names concrete classes and gives them to each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog
from starlette.applications import Starlette
from ulid import ULID

from gateway.audit import digest_of
from gateway.config import Config, FreezeWindow, ScopeSettings, SourceSettings
from gateway.deciding import Decider, Judges
from gateway.demo.shop import seed_shop
from gateway.errors import ConfigInvalid, PolicyInvalid, StoreUnavailable
from gateway.guards.freeze import Freezer, Window, Windows, frozen, reach_of
from gateway.guards.limits import Limits, check_extent, tightened
from gateway.identity.failures import FailedSignIns
from gateway.identity.token import AdminToken, ConfiguredAgent, TokenIdentifier
from gateway.interfaces import (
    Clock,
    Context,
    ImageReader,
    Probe,
    Resident,
    Upstream,
    no_probe,
)
from gateway.ledger.base import SqliteStore
from gateway.ledger.images import ImageFolder
from gateway.model import Call, CallRecord, Deny, Finding, Json, Scope, Subject, Surface
from gateway.outcomes import decision_json
from gateway.pipeline import Pipeline, Timing
from gateway.policy.opa import OpaPolicy
from gateway.policy.rego import EmbeddedPolicy
from gateway.recovery import Recovery
from gateway.revert import Reverter
from gateway.surfaces import routes
from gateway.surfaces.strict_json import JsonBounds
from gateway.surfaces.wiring import Bounds, Gateway
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.sqlite.upstream import SqliteUpstream

log = structlog.get_logger("holdfast")

RECOVERY_EVERY_S = 5.0
EXPIRY_EVERY_S = 300.0
CHECKPOINT_EVERY_S = 60.0


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def new_id(kind: str) -> str:
    """``kind_`` and a ULID: opaque, unique, sortable by time."""
    return f"{kind}_{ULID()}"


class Source(Upstream, ImageReader, Resident, Protocol):
    """What every SQL source is to the rest of the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The whole gateway, put together and not yet open."""

    config: Config
    clock: Clock
    store: SqliteStore
    policy: EmbeddedPolicy | OpaPolicy
    sources: Mapping[str, Source]
    windows: Windows
    decider: Decider
    pipeline: Pipeline
    reverter: Reverter
    recovery: Recovery
    freezer: Freezer


def assemble(config: Config, *, clock: Clock | None = None, probe: Probe = no_probe) -> Parts:
    """Makes every part and gives it its collaborators. Opens and connects nothing."""
    clock = clock or SystemClock()
    lease = timedelta(seconds=config.limits.lease_s)
    retention = config.snapshots.retention
    images = ImageFolder(Path(config.snapshots.path), inline_bytes=config.snapshots.inline_bytes)
    store = SqliteStore(Path(config.store.path), images=images, clock=clock, probe=probe)
    policy = _policy(config)
    sources = {
        name: _source(name, settings, config, clock, probe)
        for name, settings in config.sources.items()
    }
    windows = Windows([_window(w) for w in config.freezes])
    decider = Decider(
        policy=policy, judges=_judges(config), windows=windows, store=store, clock=clock
    )
    pipeline = Pipeline(
        upstreams=sources,
        decider=decider,
        store=store,
        clock=clock,
        new_id=new_id,
        timing=Timing(lease=lease, retention=retention, max_in_flight=config.limits.max_in_flight),
        probe=probe,
    )
    reverter = Reverter(
        upstreams=sources,
        store=store,
        clock=clock,
        new_id=new_id,
        revision=lambda: policy.revision,
        lease=lease,
        retention=retention,
        probe=probe,
    )
    return Parts(
        config=config,
        clock=clock,
        store=store,
        policy=policy,
        sources=sources,
        windows=windows,
        decider=decider,
        pipeline=pipeline,
        reverter=reverter,
        recovery=Recovery(upstreams=sources, store=store, lease=lease, probe=probe),
        freezer=Freezer(store, windows, clock, new_id, pipeline.cancel),
    )


def _policy(config: Config) -> EmbeddedPolicy | OpaPolicy:
    deadline_s = config.policy.deadline_ms / 1000
    if config.policy.engine == "opa":
        return OpaPolicy(str(config.policy.url), deadline_s=deadline_s)
    return EmbeddedPolicy(Path(config.policy.path), deadline_s=deadline_s)


def _source(
    name: str, settings: SourceSettings, config: Config, clock: Clock, probe: Probe
) -> Source:
    limits = SqlLimits(
        max_sql_bytes=config.limits.max_sql_bytes,
        max_result_rows=config.limits.max_result_rows,
        max_result_bytes=config.limits.max_result_bytes,
        max_capture_rows=config.snapshots.max_rows,
        max_capture_bytes=config.snapshots.max_bytes,
        statement_timeout_s=config.limits.statement_timeout_s,
        lock_timeout_s=config.limits.lock_timeout_s,
        parse_timeout_s=config.limits.parse_timeout_s,
    )
    if settings.path is not None:
        return SqliteUpstream(
            name,
            Path(settings.path),
            environment=settings.environment,
            labels=settings.labels,
            limits=limits,
            folder=Path(config.snapshots.path) / "journals",
            clock=clock,
            probe=probe,
        )
    return PostgresUpstream(
        name,
        url=settings.url.get_secret_value(),
        capture_url=settings.capture_url.get_secret_value() if settings.capture_url else None,
        environment=settings.environment,
        labels=settings.labels,
        limits=limits,
        allowed_functions=frozenset(settings.functions),
        clock=clock,
        probe=probe,
    )


def _judges(config: Config) -> Judges:
    limits = Limits(max_rows=config.limits.max_rows, max_share=config.limits.max_share)
    return Judges(
        reach=reach_of,
        frozen=frozen,
        extent=lambda measured, demanded: check_extent(measured, tightened(limits, demanded)),
    )


def _window(settings: FreezeWindow) -> Window:
    return Window(
        name=settings.name,
        cron=settings.cron,
        duration=settings.duration,
        timezone=settings.timezone,
        scope=_scope(settings.scope),
    )


def _scope(settings: ScopeSettings) -> Scope:
    return Scope(
        sources=settings.sources,
        tools=settings.tools,
        tables=settings.tables,
        agents=settings.agents,
        effects=settings.effects,
    )


# --- the life of a process ------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Parts]:
    """Opens every part, settles what a crash left open, keeps the background work going, and
    closes everything in reverse order."""
    seed_sources(parts.config)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(parts.store.close)
        await parts.store.open()
        stack.push_async_callback(parts.policy.close)
        await parts.policy.open()
        for source in parts.sources.values():
            stack.push_async_callback(source.close)
            await source.open()
        await _report(parts)
        await parts.recovery.settle(everything=True)
        await parts.reverter.resume()
        tasks = [asyncio.create_task(work) for work in _background(parts)]
        stack.push_async_callback(_stop, tasks)
        stack.push_async_callback(parts.reverter.close, parts.config.server.drain_s)
        stack.push_async_callback(parts.pipeline.close, parts.config.server.drain_s)
        yield parts


async def _report(parts: Parts) -> None:
    for name, source in parts.sources.items():
        for finding in await source.check():
            write = {"error": log.error, "warning": log.warning}.get(finding.level, log.info)
            write("source.checked", source=name, about=finding.about, finding=finding.message)


def _background(parts: Parts) -> list[Coroutine[Any, Any, None]]:
    work = [
        parts.recovery.watch(RECOVERY_EVERY_S),
        _every(EXPIRY_EVERY_S, lambda: parts.store.expire_snapshots(parts.clock.now())),
    ]
    if isinstance(parts.policy, EmbeddedPolicy) and parts.config.policy.watch:
        work.append(parts.policy.watch())
    if parts.config.audit.checkpoint_file is not None:
        file = Path(parts.config.audit.checkpoint_file)
        work.append(_every(CHECKPOINT_EVERY_S, lambda: write_checkpoint(parts.store, file)))
    return work


async def _every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await act()
        except StoreUnavailable as error:
            log.error("background.failed", reason=error.reason)
        await asyncio.sleep(seconds)


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def write_checkpoint(store: SqliteStore, file: Path) -> None:
    """Puts the newest entry's number and hash into ``file``, whole or not at all."""
    head = await store.head()
    if head is None:
        return
    draft = file.with_name(file.name + ".new")
    text = json.dumps({"seq": head.seq, "hash": head.hash}) + "\n"
    await asyncio.to_thread(draft.write_text, text, encoding="utf-8")
    await asyncio.to_thread(os.replace, draft, file)


def seed_sources(config: Config) -> None:
    """Fills the demo sources whose file does not exist."""
    for settings in config.sources.values():
        if settings.seed == "shop" and settings.path is not None:
            seed_shop(Path(settings.path))


# --- what the command line asks for ---------------------------------------------------------


def build(config: Config, *, clock: Clock | None = None, probe: Probe = no_probe) -> Starlette:
    """The ASGI application; its lifespan opens and closes everything."""
    return application(assemble(config, clock=clock, probe=probe))


def application(parts: Parts) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with opened(parts):
            yield

    return routes.application(_gateway(parts), lifespan)


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
        pipeline=parts.pipeline,
        reverter=parts.reverter,
        store=parts.store,
        freezer=parts.freezer,
        policy=parts.policy,
        identifier=TokenIdentifier(agents, parts.store, parts.clock),
        is_admin=admin.matches,
        failures=FailedSignIns(parts.store, parts.clock),
        clock=parts.clock,
        upstreams={name: "sql" for name in parts.sources},
        images=parts.sources,
        may_undo=may_undo,
        new_id=new_id,
        readiness={"store": parts.store.ready, "policy": lambda: _policy_ready(parts)},
        configured_agents={a.name: a.roles for a in config.identity.agents},
        bounds=Bounds(
            json=JsonBounds(bytes=config.server.max_body_bytes),
            body_total_s=config.server.body_deadline_s,
        ),
    )


async def _policy_ready(parts: Parts) -> None:
    if not parts.policy.revision:
        raise PolicyInvalid("No policy is in force.", faults=[])


async def check(config: Config) -> list[Finding]:
    """Validates policies and connections without serving. Policy faults raise
    ``PolicyInvalid``."""
    seed_sources(config)
    parts = assemble(config)
    findings: list[Finding] = []
    try:
        await parts.policy.open()
        findings += await parts.policy.check()
        for name, source in parts.sources.items():
            try:
                await source.open()
                findings += await source.check()
            except ConfigInvalid as error:
                findings.append(Finding(level="error", about=name, message=error.detail))
    finally:
        for source in parts.sources.values():
            await source.close()
        await parts.policy.close()
    return findings


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
        "warnings": list(action.warnings),
    }
