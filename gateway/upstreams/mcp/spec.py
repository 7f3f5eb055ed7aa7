"""What the configuration says about a server and its tools, compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.model import ActionClass, Json, Reversibility, ToolClass
from gateway.upstreams.mcp.repositories import Repositories
from gateway.upstreams.remote.plan import Maker, Probing, Retry
from gateway.upstreams.remote.templates import Template

ANY = "*"
ABSENT = "error_means_absent"  # a mark on a request for its transport, never sent
NOT_DECLARED = "no undo is declared for this tool"
COMPANION = "companion"  # no method of the protocol: a call of the server's companion
SEQUENCE = "sequence"  # no method of the protocol: several calls that are one request to the walk


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool as it is declared. ``key``: the argument that carries the idempotency key.
    ``error_is_harmless``: when the tool reports an error, it has done nothing. ``why``: why an
    irreversible tool is that."""

    cls: ActionClass
    reversibility: Reversibility
    before: Maker | None = None
    undo: Maker | None = None
    undo_safe: bool = False
    redo: Maker | None = None
    redo_safe: bool = False
    why: str = NOT_DECLARED
    verify: Maker | None = None
    probing: Probing | None = None
    key: str | None = None
    safe: bool = False
    error_is_harmless: bool = False
    retry: Retry = field(default_factory=Retry)
    ignore: tuple[str, ...] = ()

    @property
    def tool_class(self) -> ToolClass:
        if self.key is not None:
            return ToolClass.KEYED
        return ToolClass.OPAQUE if self.probing is None else ToolClass.PROBEABLE


# A tool that nobody declared: whatever it does cannot be taken back.
UNDECLARED = ToolSpec(cls=ActionClass.DESTRUCTIVE, reversibility=Reversibility.IRREVERSIBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """``command`` (with ``environment`` and ``folder``) or ``url`` (with ``headers``).
    ``environment``: the whole environment of the process. ``stage``: what policy knows the server
    as. ``protocol``: ``auto``, ``current`` or ``previous``. ``pack``: what is known of its tools
    without the configuration, which wins. ``companion``: what ways back call beside the server."""

    name: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "auto"
    stage: str = "production"
    labels: Mapping[str, str] = field(default_factory=dict)
    pin: str = "first_use"
    timeout_s: float = 60.0
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    pack: Mapping[str, ToolSpec] = field(default_factory=dict)
    companion: Repositories | None = None

    def tool(self, name: str) -> ToolSpec:
        declared = self.tools.get(name) or self.pack.get(name)
        return declared or self.tools.get(ANY) or UNDECLARED


def maker(
    tool: str,
    arguments: Json,
    roots: tuple[str, ...],
    *,
    absent: bool | Sequence[str] = False,
    companion: bool = False,
) -> Maker:
    """Makes calls of ``tool``; ``absent``: an error of it, or one that begins with one of these
    texts, means that there is nothing; ``companion``: the tool is one of the server's companion.
    Raises ``TemplateInvalid``."""
    template = Template.compile(arguments, roots)
    mark: Json = absent if isinstance(absent, bool) else list(absent)

    def make(values: Mapping[str, Json]) -> Mapping[str, Json]:
        request = request_of(tool, template.render(values))
        if companion:
            request["method"] = COMPANION
        return {**request, ABSENT: mark} if mark else request

    return make


def in_order(makers: Sequence[Maker]) -> Maker:
    """Makes one request of several calls, which are sent one after the other."""

    def make(values: Mapping[str, Json]) -> Mapping[str, Json]:
        return {"method": SEQUENCE, "calls": [dict(each(values)) for each in makers]}

    return make


def either(present: Maker, absent: Maker) -> Maker:
    """``present`` where a read before found something, ``absent`` where it found nothing."""

    def make(values: Mapping[str, Json]) -> Mapping[str, Json]:
        return present(values) if "before" in values else absent(values)

    return make


def request_of(tool: str, arguments: Json) -> dict[str, Json]:
    """A ``tools/call`` in the form that transports send and digests are made of."""
    return {"method": "tools/call", "name": tool, "arguments": arguments}


def judge(happened: str, roots: tuple[str, ...]) -> Template:
    """The expression that judges a probe's answer. Raises ``TemplateInvalid``."""
    return Template.compile(happened if happened.startswith("$") else f"${happened}", roots)
