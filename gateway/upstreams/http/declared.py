"""What the configuration says about a tool and its routes, not yet compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.hosts import Origin
from gateway.model import ActionClass, Json, Reversibility
from gateway.upstreams.remote.plan import Retry

ONCE = Retry()

# Statuses with which tools say that they did nothing, unless a route declares others. Not 408: the
# request may have been read. Not 5xx: something failed on the way, and nobody knows how far it got.
NO_EFFECT = frozenset(
    {400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 417, 421, 422, 423, 424,
     426, 428, 429, 431, 451}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredCall:
    """``call`` is ``METHOD /path`` with ``{name}`` and ``{$expression}``; ``happened`` and
    ``fence_s`` are a probe's."""

    call: str
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    happened: str | None = None
    fence_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredRoute:
    match: str
    cls: ActionClass | None = None
    verb: str | None = None
    reversibility: Reversibility | None = None
    before: DeclaredCall | None = None
    undo: DeclaredCall | None = None
    verify: DeclaredCall | None = None
    redo: DeclaredCall | None = None
    idempotency_key: str | None = None
    probe: DeclaredCall | None = None
    retry: Retry = ONCE
    safe: bool = False
    error_means_no_effect: frozenset[int] = NO_EFFECT
    scalars: frozenset[str] = frozenset()
    graphql: bool = False
    if_match: bool = False
    ignore: tuple[str, ...] = ()
    key_kept_s: float = 86_400.0
    fence_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of one exchange with the tool; times in seconds."""

    connect_s: float = 5.0
    answer_s: float = 30.0
    idle_s: float = 60.0
    connections: int = 64
    response_bytes: int = 1_073_741_824
    recorded_bytes: int = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTool:
    """``headers`` are injected; ``internal``: the host's name may stand for a private address."""

    name: str
    origin: Origin
    environment: str
    labels: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    gets_are_safe: bool = False
    internal: bool = False
    bounds: Bounds = Bounds()
    routes: tuple[DeclaredRoute, ...] = ()
