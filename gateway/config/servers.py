"""Settings of MCP servers, in the words that other tools' ``mcpServers`` blocks use too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, StringConstraints, model_validator

from gateway.config.shape import Settings
from gateway.config.values import (
    BlankIsNone,
    Duration,
    Seconds,
    ServerUrl,
    parse_duration,
)

ToolName = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_.-]{1,128})$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Argument = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_HEADER = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"


class McpCallSettings(Settings):
    tool: ToolName
    """A tool of the same server."""
    companion: bool = False
    """It is a tool of the companion that comes with the pack `git`, not of the server."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments; texts that begin with `$` are JMESPath expressions."""
    error_means_absent: bool = False
    """An error of the tool means that there is nothing."""
    absent_errors: tuple[Argument, ...] = ()
    """How errors begin that mean that there is nothing; any other error is a failure."""


class McpProbeSettings(McpCallSettings):
    happened: str
    """A JMESPath condition on `response`: whether the call had its effect."""
    fence: Duration = parse_duration("2m")
    """After this time nothing that was sent can still arrive."""


class McpRetrySettings(Settings):
    attempts: Annotated[int, Field(ge=1, le=10)] = 1
    """How often a call is sent at most; only where that is safe."""
    base_s: Seconds = 0.2
    """Seconds before the first repetition; doubled for each further one, with jitter."""
    most_s: Seconds = 5.0
    """The longest pause in seconds."""


class McpToolSettings(Settings):
    cls: Annotated[
        Literal["read", "write", "destructive", "ddl", "admin"], Field(alias="class")
    ] = "destructive"
    """How far it can reach; what the server says of it only counts where that is worse."""
    reversibility: Literal["exact", "compensable", "irreversible"] | None = None
    """Default: compensable with `undo`, irreversible without."""
    irreversible_because: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """Why there is no way back, for those who decide about a call."""
    before: McpCallSettings | None = None
    """The read that keeps what will change, for `undo`."""
    before_needs: tuple[McpCallSettings, ...] = ()
    """Reads that have to succeed before `before`; else the call is refused."""
    undo: McpCallSettings | None = None
    """The call that takes it back."""
    undo_then: tuple[McpCallSettings, ...] = ()
    """Further calls of the same way back, sent in order after `undo`; needs `undo_safe`."""
    undo_safe: bool = False
    """Repeating `undo`, with all that follows it, has no further effect."""
    redo: McpCallSettings | None = None
    """The call that brings it again once it was taken back, with `after`; default: the call."""
    redo_safe: bool = False
    """Repeating `redo` has no further effect."""
    undo_absent: McpCallSettings | None = None
    """The call that takes it back where `before` found nothing."""
    verify: McpCallSettings | None = None
    """The read that shows how the thing stands; reverts compare it."""
    key: Argument | None = None
    """The argument in which the tool takes an idempotency key."""
    probe: McpProbeSettings | None = None
    """How to find out whether a call whose answer was lost had its effect."""
    retry: McpRetrySettings = McpRetrySettings()
    """Repetitions of what is safe to repeat."""
    safe: bool = False
    """Repeating the call has no further effect."""
    error_means_no_effect: bool = False
    """When the tool reports an error, it has done nothing."""
    ignore: tuple[str, ...] = ()
    """Parts of `verify` and `before` that change by themselves, such as `updated_at`."""


class McpServerSettings(Settings):
    command: tuple[str, ...] | str | None = None
    """The program and its arguments, or the program alone with `args`."""
    args: tuple[str, ...] = ()
    """The arguments of `command`."""
    env: dict[Variable, SecretStr] = Field(default_factory=dict)
    """Environment of the program, beside PATH, HOME and the like. Nothing else is passed on."""
    cwd: Annotated[str | None, BlankIsNone] = None
    """The folder that the program is started in."""
    url: Annotated[ServerUrl | None, BlankIsNone] = None
    """The address of a server that runs elsewhere."""
    headers: dict[Annotated[str, StringConstraints(pattern=_HEADER)], SecretStr] = Field(
        default_factory=dict
    )
    """Sent with every request to `url` and never shown to agents."""
    type: (
        Literal[
            "stdio",
            "http",
            "streamable-http",
            "streamable_http",
            "streamableHttp",
            "remote",
            "local",
        ]
        | None
    ) = None
    """As other tools write it; `command` and `url` say the same."""
    disabled: bool = False
    """Leave the server out."""
    protocol: Literal["auto", "current", "previous"] = "auto"
    """The era of the protocol; `auto` asks the server."""
    environment: Annotated[str, Field(min_length=1, max_length=64)] = "production"
    """What policy knows the server as; the strictest by default."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Free names for policies."""
    pin: Literal["first_use", "approved"] = "first_use"
    """`first_use` approves tools as they are first seen, `approved` none by itself."""
    timeout_s: Seconds = 60.0
    """Seconds for one call."""
    pack: Literal["filesystem", "git", "memory"] | None = None
    """A known server whose tools are declared already; `tools` wins over it."""
    tools: dict[ToolName, McpToolSettings] = Field(default_factory=dict)
    """What is known of its tools; `*` stands for all others. Others cannot be undone."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> McpServerSettings:
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has either a command or a url")
        if self.command is not None and not self.line[0]:
            raise ValueError("the command is empty")
        if self.url is not None and (self.args or self.env or self.cwd is not None):
            raise ValueError("args, env and cwd are for servers with a command")
        if self.command is not None and self.headers:
            raise ValueError("headers are for servers with a url")
        return self

    @property
    def line(self) -> tuple[str, ...]:
        """The program and all its arguments."""
        if self.command is None:
            return ()
        first = (self.command,) if isinstance(self.command, str) else self.command
        return (*(first or ("",)), *self.args)
