"""Settings of HTTP tools: where each lives, what is injected, and what its routes do and undo."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from gateway.config.shape import Settings
from gateway.config.values import (
    BlankIsNone,
    Bytes,
    Duration,
    Headers,
    Seconds,
    ToolUrl,
    parse_duration,
)
from gateway.model import Json

RouteClass = Literal["read", "write", "destructive", "ddl", "admin"]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}$")]


class CallSettings(Settings):
    call: str
    """Method and path: `{name}` is a variable of `match`, `{$expression}` JMESPath."""
    body: Json = None
    """A JSON body; texts that begin with `$` are JMESPath expressions."""
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Headers; values that begin with `$` are JMESPath expressions."""


class ProbeSettings(CallSettings):
    happened: str
    """A JMESPath condition on `response`: whether the call had its effect."""
    fence: Duration = parse_duration("2m")
    """After this time nothing that was sent can still arrive."""


class RetrySettings(Settings):
    attempts: Annotated[int, Field(ge=1, le=10)] = 1
    """How often a request is sent at most; only those that are safe to repeat."""
    base_s: Seconds = 0.2
    """Seconds before the first repetition; doubled for each further one, with jitter."""
    most_s: Seconds = 5.0
    """The longest pause in seconds."""


class RouteSettings(Settings):
    match: str
    """Method and path, `{name}` for one segment."""
    cls: Annotated[RouteClass | None, Field(alias="class")] = None
    """How far it can reach; default: read for GET, destructive for DELETE, otherwise write."""
    verb: Word | None = None
    """What it is to policy; default by method: read, create, update, delete."""
    reversibility: Literal["exact", "compensable", "irreversible"] | None = None
    """Default: compensable with `undo`, irreversible without."""
    before: str | CallSettings | None = None
    """The read that keeps what will change, for `undo`."""
    undo: str | CallSettings | None = None
    """The call that takes it back."""
    verify: str | CallSettings | None = None
    """The read that shows how the thing stands; reverts compare it."""
    redo: str | CallSettings | None = None
    """The call that brings it again once it was taken back, with `after`; default: the request."""
    idempotency_key: HeaderName | None = None
    """The header in which the tool takes an idempotency key."""
    probe: ProbeSettings | None = None
    """How to find out whether a call whose answer was lost had its effect."""
    retry: RetrySettings = RetrySettings()
    """Repetitions of what is safe to repeat."""
    safe: bool = False
    """Repeating the request has no further effect."""
    error_means_no_effect: tuple[Annotated[int, Field(ge=400, le=599)], ...] = (
        400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 417, 421, 422, 423,
        424, 426, 428, 429, 431, 451,
    )  # fmt: skip
    """Statuses with which the tool says that nothing happened."""
    scalars: tuple[str, ...] = ()
    """Query parameters and form fields that may be given once only."""
    graphql: bool = False
    """The body is a GraphQL request; policy sees its operations."""
    if_match: bool = False
    """Send the `ETag` that `before` showed as `If-Match`."""
    ignore: tuple[str, ...] = ()
    """Parts of `verify` and `before` that change by themselves, such as `body.updated_at`."""
    key_kept: Duration = parse_duration("24h")
    """How long the tool remembers an idempotency key."""
    fence: Duration = parse_duration("5m")
    """After this time nothing that was sent can still arrive."""


class ToolSettings(Settings):
    base_url: ToolUrl
    """Where the tool lives; the path of a call is added to it."""
    environment: Annotated[str, Field(min_length=1, max_length=64)] = "production"
    """What policy knows the tool as; the strictest by default."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Free names for policies."""
    headers: Headers = Field(default_factory=dict[str, SecretStr])
    """Sent with every request and never shown to agents."""
    gets_are_safe: bool = False
    """GET and HEAD of routes that are not declared only read."""
    internal: bool = False
    """The name of the host may stand for a private or loopback address."""
    connect_timeout_s: Seconds = 5.0
    """Seconds to connect."""
    timeout_s: Seconds = 30.0
    """Seconds until the answer begins."""
    idle_timeout_s: Seconds = 60.0
    """Seconds between two pieces of an answer."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Connections to the tool at the same time."""
    max_request_bytes: Bytes = 104_857_600
    """The largest body that is not JSON; JSON bodies are bounded by `server.max_body_bytes`."""
    max_response_bytes: Bytes = 1_073_741_824
    """Longer answers are cut off."""
    max_recorded_bytes: Annotated[int, Field(ge=0, le=16_777_216)] = 262_144
    """Answers up to this size are kept for replays, undo handlers and the call's record."""
    openapi: Annotated[str | None, BlankIsNone] = None
    """File or URL of its OpenAPI document. Routes derived from a file are used once `rehearsed`
    proves them."""
    rehearsed: Annotated[str | None, BlankIsNone] = None
    """The record of `holdfast tools rehearse`; `check` tells which routes lack a proof."""
    demo_data: Annotated[str | None, BlankIsNone] = None
    """The file of the demo tool `crm`, which the gateway then starts at `base_url`."""
    routes: tuple[RouteSettings, ...] = ()
    """What is known of its routes; others are opaque and cannot be undone."""
