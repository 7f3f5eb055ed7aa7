"""Every setting: type, bounds, default. ``config.example.yaml`` explains them to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import (
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from gateway.config.document import Path, Places, dotted
from gateway.config.images import SnapshotSettings
from gateway.config.pasted import literal_credentials
from gateway.config.servers import McpServerSettings
from gateway.config.shape import Misplaced, Settings, refuse
from gateway.config.tools import ToolSettings
from gateway.config.values import (
    BlankIsNone,
    Bytes,
    Count,
    Duration,
    Function,
    HttpUrl,
    ImagesSchema,
    Name,
    Seconds,
    Share,
    SourceUrl,
    StoreUrl,
    Token,
    source_kind,
    sqlite_path,
)
from gateway.errors import ConfigInvalid

FrozenEffect = Literal[
    "read", "write", "destructive", "ddl", "admin",
    "select", "insert", "update", "delete", "merge", "truncate", "execute", "create", "alter",
    "drop", "call",
]  # fmt: skip

_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Server(Settings):
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8400
    """The TCP port; 0 takes a free one."""
    max_body_bytes: Bytes = 1_048_576
    """The largest request body."""
    body_deadline_s: Seconds = 10.0
    """Seconds in which a request's JSON body must have arrived."""
    header_deadline_s: Seconds = 10.0
    """Seconds in which the head of a request must have arrived."""
    body_idle_s: Seconds = 30.0
    """Seconds between two pieces of a body that is not JSON, and for a client to take an answer."""
    max_upload_bytes: Bytes = 2_147_483_648
    """Bodies that are not JSON and are under way at the same time, all together."""
    max_connections: Count = 1024
    """Connections and requests at the same time; more are answered 503."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which MCP clients call the gateway, beside `host` and those of this machine."""
    allowed_origins: tuple[HttpUrl, ...] = ()
    """Origins of web pages that may call `/mcp`, beside those of this machine."""
    drain_s: Seconds = 10.0
    """Seconds that a stopping gateway waits for the requests it has."""


class StoreSettings(Settings):
    url: StoreUrl = "sqlite:///var/store.db"
    """The gateway's own memory: calls, audit, freezes."""

    @property
    def path(self) -> str:
        return sqlite_path(self.url) or ""


class PolicySettings(Settings):
    engine: Literal["embedded", "opa"] = "embedded"
    """`embedded` evaluates in process; `opa` asks the server at `url`."""
    path: Annotated[str, Field(min_length=1)] = "policies"
    """The folder of policies, data and their tests."""
    url: Annotated[HttpUrl | None, BlankIsNone] = None
    """The OPA server; needed for `engine: opa` only."""
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    """Milliseconds for one decision; then the call is refused."""
    watch: bool = True
    """Take up changed policies while running."""

    @model_validator(mode="after")
    def _opa_has_a_url(self) -> PolicySettings:
        if self.engine == "opa" and self.url is None:
            raise ValueError("engine opa needs policy.url")
        return self


class AuditSettings(Settings):
    checkpoint_file: Annotated[str | None, BlankIsNone] = None
    """A file that is given the newest checkpoint; keep it on another disk."""


class ScopeSettings(Settings):
    sources: tuple[Name, ...] = ()
    """SQL sources."""
    tools: tuple[Name, ...] = ()
    """HTTP tools and MCP servers."""
    tables: tuple[str, ...] = ()
    """Tables, as `name` or `schema.name`."""
    agents: tuple[Name, ...] = ()
    """Agents."""
    effects: tuple[FrozenEffect, ...] = ()
    """Classes (`write`, `destructive`, `ddl`, `admin`, `read`) or verbs (`delete`, `drop`)."""


class FreezeWindow(Settings):
    name: Name
    """Names the window in refusals and in the audit log."""
    cron: str
    """When it begins: minute, hour, day of month, month, day of week."""
    duration: Duration
    """How long it lasts."""
    timezone: str = "UTC"
    """The IANA time zone of `cron`."""
    scope: ScopeSettings = ScopeSettings()
    """What it covers; empty covers everything that writes."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError("a cron expression has five fields")
        try:
            CronSim(value, _SOME_TIME)
        except CronSimError as error:
            raise ValueError(f"not a cron expression: {error}") from None
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("not an IANA time zone such as Europe/Berlin") from None
        return value


class LimitSettings(Settings):
    max_rows: Count = 100
    """Rows that one call may change, cascades and triggers included."""
    max_share: Share = 0.2
    """The part of any one table that a call may change or delete, 0 to 1."""
    max_sql_bytes: Bytes = 262_144
    """The longest SQL text."""
    max_result_rows: Count = 10_000
    """Rows in one result."""
    max_result_bytes: Bytes = 8_388_608
    """Bytes in one result."""
    statement_timeout_s: Seconds = 30.0
    """Seconds for one call in the database."""
    lock_timeout_s: Seconds = 5.0
    """Seconds to wait for a lock in the database."""
    parse_timeout_s: Seconds = 2.0
    """Seconds for reading one SQL text."""
    max_in_flight: Count = 256
    """Calls at the same time; more are answered `overloaded`."""
    lease_s: Seconds = 120.0
    """Seconds after which recovery takes over a call that went silent."""
    identical_within_s: Seconds | None = 60.0
    """How long a call without a key that has not ended stands for identical ones."""
    max_repeats: Count | None = 10
    """How often the same call may be denied or fail before it is answered `repetition`."""
    repeats_within_s: Seconds = 300.0
    """The window in which denials and failures of the same call are counted."""
    max_calls: Count | None = None
    """The most calls of one agent in a window; more are answered `limit.rate`."""
    max_changes: Count | None = None
    """The most rows that the calls of one agent may change in a window; then `limit.budget`."""
    calls_within_s: Seconds = 60.0
    """The window in which the calls of one agent, and the rows they change, are counted."""

    @model_validator(mode="after")
    def _lease_outlives_the_call(self) -> LimitSettings:
        if self.lease_s <= self.statement_timeout_s:
            raise ValueError("lease_s must be longer than statement_timeout_s")
        return self


class AgentSettings(Settings):
    name: Name
    """The agent's id in policy and audit."""
    token: Token
    """Its bearer token; from the environment only."""
    roles: tuple[Name, ...] = ()
    """Roles that `policies/data.yaml` grants rights to."""


class IdentitySettings(Settings):
    admin_token: Token
    """The bearer token of the admin endpoints; from the environment only."""
    agents: tuple[AgentSettings, ...] = ()
    """Agents known from the start; `holdfast agent add` adds more."""
    agents_may_undo: bool = False
    """Whether an agent may take back its own calls."""

    @model_validator(mode="after")
    def _tokens_differ(self) -> IdentitySettings:
        faults: Misplaced = []
        names: set[str] = set()
        tokens = {self.admin_token.get_secret_value()}
        for index, agent in enumerate(self.agents):
            if agent.name in names:
                faults.append((("agents", index, "name"), f"{agent.name!r} is given twice"))
            if agent.token.get_secret_value() in tokens:
                faults.append((("agents", index, "token"), "the same token as another one"))
            names.add(agent.name)
            tokens.add(agent.token.get_secret_value())
        refuse(faults)
        return self


class SourceSettings(Settings):
    url: SourceUrl
    """`sqlite:///file`, `postgresql://...` or `mysql://...` (MariaDB, MySQL): the role that
    agents' statements run as."""
    capture_url: Annotated[SourceUrl | None, BlankIsNone] = None
    """Servers: the gateway's own role for images and reverts; default: `url`."""
    environment: Annotated[str, Field(min_length=1, max_length=64)] = "production"
    """What policy knows the source as; the strictest by default."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Free names for policies."""
    functions: tuple[Function, ...] = ()
    """PostgreSQL: own functions without side effects that agents may call."""
    images_schema: Annotated[ImagesSchema | None, BlankIsNone] = None
    """PostgreSQL: a schema of this database for its images, which are then lost with it."""
    seed: Literal["shop"] | None = None
    """`shop` fills a missing SQLite file with demo data."""

    @property
    def kind(self) -> Literal["sqlite", "postgresql", "mariadb"]:
        return source_kind(self.url.get_secret_value())

    @property
    def path(self) -> str | None:
        """The file of an SQLite source."""
        return sqlite_path(self.url.get_secret_value())

    @model_validator(mode="after")
    def _fits_its_database(self) -> SourceSettings:
        if self.kind == "sqlite" and self.capture_url is not None:
            raise ValueError("capture_url is for servers: an SQLite file has no roles")
        if self.kind != "sqlite" and self.seed is not None:
            raise ValueError("seed is for SQLite sources")
        own = self.capture_url and source_kind(self.capture_url.get_secret_value())
        if own and own != self.kind:
            raise ValueError("capture_url must name the database that url names")
        if self.kind == "mariadb" and self.functions:
            raise ValueError("functions is for PostgreSQL sources: MariaDB's are never vouched for")
        if self.images_schema is not None and (self.kind != "postgresql" or not self.capture_url):
            raise ValueError("images_schema is for PostgreSQL sources with a capture_url")
        return self


class TelemetrySettings(Settings):
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    log_format: Literal["text", "json"] = "text"
    """`text` for people, `json` for programs; both to standard error."""
    metrics_token: Annotated[Token | None, BlankIsNone] = None
    """A bearer token that reads `/metrics` and nothing else; the admin token does too."""


class Config(Settings):
    """Holdfast's configuration."""

    server: Server = Server()
    """Where the gateway listens and what it accepts."""
    store: StoreSettings = StoreSettings()
    """The gateway's own memory."""
    policy: PolicySettings = PolicySettings()
    """Who decides."""
    audit: AuditSettings = AuditSettings()
    """The audit log."""
    snapshots: SnapshotSettings = SnapshotSettings()
    """Where the way back is kept."""
    freezes: tuple[FreezeWindow, ...] = ()
    """Recurring times in which nothing in scope may change."""
    limits: LimitSettings = LimitSettings()
    """Bounds of one call; policy can only tighten them."""
    identity: IdentitySettings
    """Who may call."""
    sources: dict[Name, SourceSettings] = Field(default_factory=dict)
    """The databases that are protected, by name."""
    tools: dict[Name, ToolSettings] = Field(default_factory=dict)
    """The HTTP tools that are protected, by name."""
    mcp_servers: dict[Name, McpServerSettings] = Field(default_factory=dict)
    """The MCP servers that are protected, by name."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Logs and metrics."""

    _places: Places = PrivateAttr(default_factory=Places)

    def located(self, places: Places) -> Config:
        """This configuration, knowing the file and the lines that it was read from."""
        self._places = places
        return self

    def invalid(self, faults: Sequence[tuple[Path, str]]) -> ConfigInvalid:
        """The error for faults that only those find who use the settings, by key path."""
        return self._places.invalid(faults)

    def credentials_in_the_file(self) -> list[tuple[str, int]]:
        """The keys of MCP servers with a credential that stands in the file, each with its line;
        never its value."""
        document = self._places.document
        return [(dotted(path), document.line(path)) for path in literal_credentials(document)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        shared = self.sources.keys() & self.tools.keys()
        refuse([(("tools", name), "a source has this name already") for name in sorted(shared)])
        faults: Misplaced = []
        for name, server in self.mcp_servers.items():
            if name in self.sources or name in self.tools:
                faults.append((("mcp_servers", name), "a source or tool has this name already"))
            if server.timeout_s >= self.limits.lease_s:
                where = ("mcp_servers", name, "timeout_s")
                faults.append((where, "must be shorter than limits.lease_s"))
        refuse(faults)
        return self

    @model_validator(mode="after")
    def _windows_cover_what_exists(self) -> Config:
        faults: Misplaced = []
        names: set[str] = set()
        for index, window in enumerate(self.freezes):
            at = ("freezes", index)
            if window.name in names:
                faults.append(((*at, "name"), f"{window.name!r} is given twice"))
            names.add(window.name)
            for place, source in enumerate(window.scope.sources):
                if source not in self.sources:
                    where = (*at, "scope", "sources", place)
                    faults.append((where, f"there is no source {source!r}"))
            for place, tool in enumerate(window.scope.tools):
                if tool not in self.tools and tool not in self.mcp_servers:
                    where = (*at, "scope", "tools", place)
                    faults.append((where, f"there is no tool {tool!r}"))
        refuse(faults)
        return self
