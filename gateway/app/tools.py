"""HTTP tools out of their settings. What is wrong with a route is said with its line."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.app.proofs import routes_of
from gateway.config import CallSettings, Config, RouteSettings, ToolSettings
from gateway.hosts import origin_of
from gateway.interfaces import Clock, Probe, no_probe
from gateway.model import ActionClass, Reversibility
from gateway.upstreams.http.declared import Bounds, DeclaredCall, DeclaredRoute, DeclaredTool
from gateway.upstreams.http.routes import compile_routes
from gateway.upstreams.http.transport import Connect, Find, nothing_kept
from gateway.upstreams.http.upstream import HttpUpstream
from gateway.upstreams.remote.plan import Retry
from gateway.upstreams.remote.pool import Lookup, Pool, look_up


def http_tools(
    config: Config,
    clock: Clock,
    find: Find = nothing_kept,
    probe: Probe = no_probe,
    lookup: Lookup = look_up,
    connect: Connect = Pool,
) -> Mapping[str, HttpUpstream]:
    """``find`` knows the bodies of calls that wait for a person. Raises ``ConfigInvalid`` with
    every fault of every route."""
    made: dict[str, HttpUpstream] = {}
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for name, settings in config.tools.items():
        declared = declared_tool(name, settings)
        table, wrong = compile_routes(declared.routes)
        faults += [(("tools", name, "routes", *at), message) for at, message in wrong]
        made[name] = HttpUpstream(
            declared,
            table,
            clock=clock,
            lease_s=config.limits.lease_s,
            find=find,
            lookup=lookup,
            probe=probe,
            connect=connect,
        )
    if faults:
        raise config.invalid(faults)
    return made


def declared_tool(name: str, settings: ToolSettings) -> DeclaredTool:
    """The settings in the words of the upstream, which knows nothing of configuration files."""
    return DeclaredTool(
        name=name,
        origin=origin_of(settings.base_url),
        environment=settings.environment,
        labels=settings.labels,
        headers={n: v.get_secret_value() for n, v in settings.headers.items()},
        gets_are_safe=settings.gets_are_safe,
        internal=settings.internal,
        bounds=Bounds(
            connect_s=settings.connect_timeout_s,
            answer_s=settings.timeout_s,
            idle_s=settings.idle_timeout_s,
            connections=settings.max_connections,
            response_bytes=settings.max_response_bytes,
            recorded_bytes=settings.max_recorded_bytes,
        ),
        routes=tuple(_route(route) for route in routes_of(settings)),
    )


def _route(settings: RouteSettings) -> DeclaredRoute:
    probe = settings.probe
    return DeclaredRoute(
        match=settings.match,
        cls=ActionClass(settings.cls) if settings.cls else None,
        verb=settings.verb,
        reversibility=Reversibility(settings.reversibility) if settings.reversibility else None,
        before=_call(settings.before),
        undo=_call(settings.undo),
        verify=_call(settings.verify),
        redo=_call(settings.redo),
        idempotency_key=settings.idempotency_key,
        probe=None
        if probe is None
        else DeclaredCall(
            call=probe.call,
            body=probe.body,
            headers=probe.headers,
            happened=probe.happened,
            fence_s=probe.fence.total_seconds(),
        ),
        retry=Retry(
            attempts=settings.retry.attempts,
            base_s=settings.retry.base_s,
            most_s=settings.retry.most_s,
        ),
        safe=settings.safe,
        error_means_no_effect=frozenset(settings.error_means_no_effect),
        scalars=frozenset(settings.scalars),
        graphql=settings.graphql,
        if_match=settings.if_match,
        ignore=settings.ignore,
        key_kept_s=settings.key_kept.total_seconds(),
        fence_s=settings.fence.total_seconds(),
    )


def _call(settings: str | CallSettings | None) -> DeclaredCall | None:
    if settings is None:
        return None
    if isinstance(settings, str):
        return DeclaredCall(call=settings)
    return DeclaredCall(call=settings.call, body=settings.body, headers=settings.headers)
