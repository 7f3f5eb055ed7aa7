"""Every part and its collaborators: the only place that names concrete classes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from ulid import base32

from gateway.app.imaging import SourceRemains, images_of, spooler_of
from gateway.app.servers import mcp_upstreams
from gateway.app.tools import http_tools
from gateway.config import Config, FreezeWindow, ScopeSettings, SourceSettings
from gateway.deciding import Decider, Judges
from gateway.flights import Timing
from gateway.guards.freeze import Freezer, Window, Windows, frozen, reach_of
from gateway.guards.limits import Limits, check_extent, tightened
from gateway.guards.repetition import Repetition, RepetitionLimits
from gateway.interfaces import (
    Clock,
    ImageReader,
    Pace,
    Probe,
    Quarantining,
    Resident,
    Spooler,
    Upstream,
    no_probe,
)
from gateway.model import Scope
from gateway.pipeline import Pipeline
from gateway.policy.opa import OpaPolicy
from gateway.policy.rego import EmbeddedPolicy
from gateway.purging import Purger
from gateway.recovery import Recovery
from gateway.rehearsing import Rehearsals
from gateway.revert import Reverter
from gateway.store.images import Images
from gateway.store.sqlite import SqliteStore
from gateway.surfaces.uploads import Shelf
from gateway.telemetry import Telemetry
from gateway.upstreams.mcp.upstream import McpUpstream
from gateway.upstreams.remote.pool import Lookup, look_up
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql.upstream import MariadbUpstream
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.sqlite.upstream import SqliteUpstream


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def new_id(kind: str) -> str:
    """``kind_`` and a ULID: opaque, unique, sortable by time."""
    # ``ULID()`` also counts within a millisecond, behind a lock, which nobody needs here.
    moment = time.time_ns() // 1_000_000
    return f"{kind}_{base32.encode(moment.to_bytes(6, 'big') + os.urandom(10))}"


class Source(Upstream, ImageReader, Resident, Protocol):
    """What every source and tool is to the rest of the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The whole gateway, put together and not yet open."""

    config: Config
    clock: Clock
    store: SqliteStore
    policy: EmbeddedPolicy | OpaPolicy
    sources: Mapping[str, Source]
    tools: Mapping[str, Source]
    shelf: Shelf
    servers: Mapping[str, McpUpstream]
    windows: Windows
    decider: Decider
    pipeline: Pipeline
    reverter: Reverter
    purger: Purger
    recovery: Recovery
    freezer: Freezer
    telemetry: Telemetry

    @property
    def targets(self) -> dict[str, Source]:
        """Everything that is protected, by name."""
        return {**self.sources, **self.tools, **self.servers}


def assemble(
    config: Config,
    *,
    clock: Clock | None = None,
    probe: Probe = no_probe,
    lookup: Lookup = look_up,
) -> Parts:
    """Makes every part and gives it its collaborators. Opens and connects nothing. ``lookup``
    finds the addresses of HTTP tools."""
    clock = clock or SystemClock()
    timing, policy = _timing(config), _policy(config)
    images = images_of(config.snapshots, clock, config.sources)
    remains = SourceRemains()
    path = Path(config.store.path)
    telemetry = Telemetry([*config.sources, *config.tools, *config.mcp_servers])
    store = SqliteStore(
        path, images=images, clock=clock, remains=remains, probe=probe, meter=telemetry
    )
    sources = _sources(config, images, clock, probe)
    remains.know(sources)
    shelf = Shelf(config.server.max_upload_bytes)
    tools = http_tools(config, clock, shelf.find, probe, lookup)
    servers = mcp_upstreams(config, store, clock, probe)
    targets = {**sources, **tools, **servers}
    windows = Windows([_window(w) for w in config.freezes])
    judges = _judges(config, store, clock)
    decider = Decider(policy=policy, judges=judges, windows=windows, store=store, clock=clock)
    rehearsals = Rehearsals(rows=config.snapshots.rehearse_rows, probe=probe)
    pipeline = _pipeline(targets, decider, store, timing, rehearsals, clock, probe)
    return Parts(
        config=config,
        clock=clock,
        store=store,
        policy=policy,
        sources=sources,
        tools=tools,
        servers=servers,
        shelf=shelf,
        windows=windows,
        decider=decider,
        pipeline=pipeline,
        reverter=_reverter(targets, store, policy, timing, clock, probe),
        purger=_purger(sources, pipeline, store, clock),
        recovery=Recovery(upstreams=targets, store=store, lease=timing.lease, probe=probe),
        freezer=Freezer(store, windows, clock, new_id, pipeline.cancel),
        telemetry=telemetry,
    )


def _pipeline(
    targets: Mapping[str, Source],
    decider: Decider,
    store: SqliteStore,
    timing: Timing,
    rehearsals: Rehearsals,
    clock: Clock,
    probe: Probe,
) -> Pipeline:
    return Pipeline(
        upstreams=targets,
        decider=decider,
        store=store,
        clock=clock,
        new_id=new_id,
        timing=timing,
        rehearsals=rehearsals,
        probe=probe,
    )


def _reverter(
    targets: Mapping[str, Source],
    store: SqliteStore,
    policy: EmbeddedPolicy | OpaPolicy,
    timing: Timing,
    clock: Clock,
    probe: Probe,
) -> Reverter:
    return Reverter(
        upstreams=targets,
        store=store,
        clock=clock,
        new_id=new_id,
        revision=lambda: policy.revision,
        lease=timing.lease,
        retention=timing.retention,
        probe=probe,
    )


def _purger(
    sources: Mapping[str, Source], pipeline: Pipeline, store: SqliteStore, clock: Clock
) -> Purger:
    return Purger(
        sources={n: s for n, s in sources.items() if isinstance(s, Quarantining)},
        handle=pipeline.handle,
        store=store,
        clock=clock,
        new_id=new_id,
    )


def _timing(config: Config) -> Timing:
    return Timing(
        lease=timedelta(seconds=config.limits.lease_s),
        retention=config.snapshots.retention,
        max_in_flight=config.limits.max_in_flight,
        pace=Pace(
            apart=_seconds(config.limits.identical_within_s),
            calls=config.limits.max_calls,
            rows=config.limits.max_changes,
            within=timedelta(seconds=config.limits.calls_within_s),
            misses=config.limits.max_repeats,
            misses_within=timedelta(seconds=config.limits.repeats_within_s),
        ),
    )


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _policy(config: Config) -> EmbeddedPolicy | OpaPolicy:
    deadline_s = config.policy.deadline_ms / 1000
    if config.policy.engine == "opa":
        return OpaPolicy(str(config.policy.url), deadline_s=deadline_s)
    return EmbeddedPolicy(Path(config.policy.path), deadline_s=deadline_s)


def _sources(config: Config, images: Images, clock: Clock, probe: Probe) -> Mapping[str, Source]:
    return {
        name: _source(name, settings, config, spooler_of(images, name, settings), clock, probe)
        for name, settings in config.sources.items()
    }


def _source(
    name: str,
    settings: SourceSettings,
    config: Config,
    spooler: Spooler,
    clock: Clock,
    probe: Probe,
) -> Source:
    limits = SqlLimits(
        max_sql_bytes=config.limits.max_sql_bytes,
        max_result_rows=config.limits.max_result_rows,
        max_result_bytes=config.limits.max_result_bytes,
        max_capture_rows=config.snapshots.max_rows,
        row_images=config.snapshots.row_images,
        max_capture_bytes=config.snapshots.max_bytes,
        statement_timeout_s=config.limits.statement_timeout_s,
        lock_timeout_s=config.limits.lock_timeout_s,
        parse_timeout_s=config.limits.parse_timeout_s,
    )
    encryption = config.snapshots.encryption
    if settings.path is not None:
        return SqliteUpstream(
            name,
            Path(settings.path),
            environment=settings.environment,
            labels=settings.labels,
            limits=limits,
            folder=Path(config.snapshots.path) / "journals",
            spooler=spooler,
            clock=clock,
            probe=probe,
            plain_journals=not encryption.keys or encryption.journals == "plain",
            retention=config.snapshots.retention,
        )
    return _server(name, settings, limits, spooler, clock, probe)


def _server(
    name: str,
    settings: SourceSettings,
    limits: SqlLimits,
    spooler: Spooler,
    clock: Clock,
    probe: Probe,
) -> Source:
    url = settings.url.get_secret_value()
    capture_url = settings.capture_url.get_secret_value() if settings.capture_url else None
    if settings.kind == "mariadb":
        return MariadbUpstream(
            name,
            url=url,
            capture_url=capture_url,
            environment=settings.environment,
            labels=settings.labels,
            limits=limits,
            spooler=spooler,
            clock=clock,
            probe=probe,
        )
    return PostgresUpstream(
        name,
        url=url,
        capture_url=capture_url,
        environment=settings.environment,
        labels=settings.labels,
        limits=limits,
        allowed_functions=frozenset(settings.functions),
        images_schema=settings.images_schema,
        spooler=spooler,
        clock=clock,
        probe=probe,
    )


def _judges(config: Config, store: SqliteStore, clock: Clock) -> Judges:
    repeats = RepetitionLimits(
        most=config.limits.max_repeats,
        within=timedelta(seconds=config.limits.repeats_within_s),
    )
    limits = Limits(max_rows=config.limits.max_rows, max_share=config.limits.max_share)
    return Judges(
        reach=reach_of,
        frozen=frozen,
        extent=lambda measured, demanded: check_extent(measured, tightened(limits, demanded)),
        guards=(Repetition(store, clock, repeats),),
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
