"""MCP servers out of their settings: declarations compiled, or a fault with its line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from gateway.addresses import Ambiguous
from gateway.app.companions import companion, companion_faults
from gateway.app.packs import pack
from gateway.config import (
    Config,
    McpCallSettings,
    McpServerSettings,
    McpToolSettings,
    process_environment,
)
from gateway.config.document import Path
from gateway.interfaces import Clock, Probe
from gateway.interfaces.mcp import PinStore
from gateway.model import ActionClass, Json, Reversibility
from gateway.upstreams.mcp.line import place_of
from gateway.upstreams.mcp.spec import (
    NOT_DECLARED,
    ServerSpec,
    ToolSpec,
    either,
    in_order,
    judge,
    maker,
)
from gateway.upstreams.mcp.upstream import McpUpstream
from gateway.upstreams.remote.plan import Maker, Probing, Retry
from gateway.upstreams.remote.templates import Template, TemplateInvalid, TemplateMissing

# Of our own environment, what programs need to be found and to run; nothing that could be secret.
INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
_BEFORE = ("arguments",)
_AFTER = ("arguments", "before", "response")
_DEMO = "gateway.demo."
Faults = list[tuple[Path, str]]


def mcp_upstreams(
    config: Config, pins: PinStore, clock: Clock, probe: Probe
) -> dict[str, McpUpstream]:
    """Raises ``ConfigInvalid`` with every template that is wrong."""
    environ = process_environment()
    faults: Faults = []
    made = {}
    for name, settings in config.mcp_servers.items():
        if settings.disabled:
            continue
        spec = server_spec(name, settings, ("mcp_servers", name), faults, environ)
        if not faults:
            made[name] = McpUpstream(spec, pins=pins, clock=clock, probe=probe)
    if faults:
        raise config.invalid(faults)
    return made


def server_spec(
    name: str,
    settings: McpServerSettings,
    path: Path,
    faults: Faults,
    environ: Mapping[str, str],
) -> ServerSpec:
    inherited = {key: environ[key] for key in INHERITED if key in environ}
    configured = {key: value.get_secret_value() for key, value in settings.env.items()}
    environment = {**inherited, **configured}
    packed = pack(settings.pack) if settings.pack else {}
    if settings.url is not None:
        try:
            place_of(settings.url)
        except Ambiguous as error:
            faults.append(((*path, "url"), str(error)))
    faults.extend(companion_faults(settings.tools, settings, (*path, "tools")))
    faults.extend(companion_faults(packed, settings, (*path, "pack")))
    return ServerSpec(
        name=name,
        command=_command(settings.line),
        environment=environment,
        folder=settings.cwd,
        url=settings.url,
        headers={key: value.get_secret_value() for key, value in settings.headers.items()},
        protocol=settings.protocol,
        stage=settings.environment,
        labels=settings.labels,
        pin=settings.pin,
        timeout_s=settings.timeout_s,
        tools={
            tool: tool_spec(declared, (*path, "tools", tool), faults)
            for tool, declared in settings.tools.items()
        },
        pack={
            tool: tool_spec(declared, (*path, "pack"), faults) for tool, declared in packed.items()
        },
        companion=companion(settings, environment),
    )


def _command(line: tuple[str, ...]) -> tuple[str, ...]:
    """The demo's servers are part of this program, so this program's Python runs them."""
    ours = line[:2] in (("python", "-m"), ("python3", "-m")) and line[2:3] != ()
    if ours and line[2].startswith(_DEMO):
        return (sys.executable, *line[1:])
    return line


def tool_spec(settings: McpToolSettings, path: Path, faults: Faults) -> ToolSpec:
    before = _before(settings, path, faults)
    roots = _AFTER if before is not None else tuple(r for r in _AFTER if r != "before")
    undo = _undo(settings, roots, path, faults)
    cls = ActionClass(settings.cls)
    reversibility = _reversibility(settings, cls, path, faults)
    return ToolSpec(
        cls=cls,
        reversibility=reversibility,
        before=before,
        undo=undo,
        undo_safe=settings.undo_safe,
        redo=_redo(settings, roots, path, faults),
        redo_safe=settings.redo_safe,
        why=settings.irreversible_because or NOT_DECLARED,
        verify=_made(settings.verify, roots, (*path, "verify"), faults),
        probing=_probing(settings, roots, path, faults),
        key=settings.key,
        safe=settings.safe,
        error_is_harmless=settings.error_means_no_effect,
        retry=Retry(
            attempts=settings.retry.attempts,
            base_s=settings.retry.base_s,
            most_s=settings.retry.most_s,
        ),
        ignore=settings.ignore,
    )


def _reversibility(
    settings: McpToolSettings, cls: ActionClass, path: Path, faults: Faults
) -> Reversibility:
    if cls is ActionClass.READ:
        return Reversibility.NONE
    if settings.undo is None:
        if settings.reversibility in ("exact", "compensable"):
            faults.append(((*path, "reversibility"), "without undo a call is irreversible"))
        return Reversibility.IRREVERSIBLE
    if settings.irreversible_because is not None:
        faults.append(((*path, "irreversible_because"), "there is an undo"))
    return Reversibility(settings.reversibility or "compensable")


def _before(settings: McpToolSettings, path: Path, faults: Faults) -> Maker | None:
    before = _made(settings.before, _BEFORE, (*path, "before"), faults)
    if not settings.before_needs:
        return before
    if settings.before is None:
        faults.append(((*path, "before_needs"), "needs before beside it"))
    needs = _several(settings.before_needs, _BEFORE, (*path, "before_needs"), faults)
    return None if before is None else in_order([*needs, before])


def _several(
    calls: Sequence[McpCallSettings], roots: tuple[str, ...], path: Path, faults: Faults
) -> list[Maker]:
    made = (_made(call, roots, (*path, index), faults) for index, call in enumerate(calls))
    return [each for each in made if each is not None]


def _undo(
    settings: McpToolSettings, roots: tuple[str, ...], path: Path, faults: Faults
) -> Maker | None:
    undo = _made(settings.undo, roots, (*path, "undo"), faults)
    further = _several(settings.undo_then, roots, (*path, "undo_then"), faults)
    if settings.undo_then and (settings.undo is None or not settings.undo_safe):
        faults.append(((*path, "undo_then"), "needs undo and undo_safe beside it"))
    if further and undo is not None:
        undo = in_order([undo, *further])
    without = tuple(root for root in roots if root != "before")
    absent = _made(settings.undo_absent, without, (*path, "undo_absent"), faults)
    if settings.undo_absent is not None and (settings.undo is None or settings.before is None):
        faults.append(((*path, "undo_absent"), "needs before and undo beside it"))
    return either(undo, absent) if undo is not None and absent is not None else undo


def _redo(
    settings: McpToolSettings, roots: tuple[str, ...], path: Path, faults: Faults
) -> Maker | None:
    if settings.redo is not None and (
        settings.undo is None or not (settings.before or settings.verify)
    ):
        faults.append(((*path, "redo"), "needs undo, and before or verify, beside it"))
    return _made(settings.redo, (*roots, "after"), (*path, "redo"), faults)


def _made(
    call: McpCallSettings | None, roots: tuple[str, ...], path: Path, faults: Faults
) -> Maker | None:
    if call is None:
        return None
    absent = call.error_means_absent or call.absent_errors
    return _compiled(
        lambda: maker(call.tool, call.arguments, roots, absent=absent, companion=call.companion),
        (*path, "arguments"),
        faults,
    )


def _compiled(compile: Callable[[], Maker], path: Path, faults: Faults) -> Maker | None:
    try:
        return compile()
    except TemplateInvalid as invalid:
        faults.append(((*path, *invalid.at), str(invalid)))
        return None


def _probing(
    settings: McpToolSettings, roots: tuple[str, ...], path: Path, faults: Faults
) -> Probing | None:
    probe = settings.probe
    request = _made(probe, roots, (*path, "probe"), faults)
    if probe is None or request is None:
        return None
    try:
        condition = judge(probe.happened, _AFTER)
    except TemplateInvalid as invalid:
        faults.append(((*path, "probe", "happened"), str(invalid)))
        return None
    fence: timedelta = probe.fence
    return Probing(request=request, happened=_judged(condition), fence_s=fence.total_seconds())


def _judged(condition: Template) -> Callable[[Mapping[str, Json]], bool | None]:
    def happened(values: Mapping[str, Json]) -> bool | None:
        try:
            found = condition.render(values)
        except TemplateMissing:
            return None
        return found if isinstance(found, bool) else None

    return happened
