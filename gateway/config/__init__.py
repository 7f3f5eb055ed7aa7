"""Configuration: one YAML file and the environment become one frozen ``Config``.

Nothing else in the gateway reads the environment.
"""

from __future__ import annotations

from gateway.config.environment import (
    ADMIN_TOKEN,
    AGENT_TOKEN,
    DEFAULT_CONFIG,
    ClientSettings,
    RunEnvironment,
    process_environment,
    with_tokens,
)
from gateway.config.images import EncryptionSettings, SnapshotSettings
from gateway.config.loading import load, parse
from gateway.config.servers import (
    McpCallSettings,
    McpServerSettings,
    McpToolSettings,
)
from gateway.config.settings import (
    AgentSettings,
    AuditSettings,
    Config,
    FreezeWindow,
    IdentitySettings,
    LimitSettings,
    PolicySettings,
    ScopeSettings,
    Server,
    SourceSettings,
    StoreSettings,
    TelemetrySettings,
)
from gateway.config.tools import CallSettings, RouteSettings, ToolSettings
from gateway.config.values import key_bytes

__all__ = [
    "ADMIN_TOKEN",
    "AGENT_TOKEN",
    "DEFAULT_CONFIG",
    "AgentSettings",
    "AuditSettings",
    "CallSettings",
    "ClientSettings",
    "Config",
    "EncryptionSettings",
    "FreezeWindow",
    "IdentitySettings",
    "LimitSettings",
    "McpCallSettings",
    "McpServerSettings",
    "McpToolSettings",
    "PolicySettings",
    "RouteSettings",
    "RunEnvironment",
    "ScopeSettings",
    "Server",
    "SnapshotSettings",
    "SourceSettings",
    "StoreSettings",
    "TelemetrySettings",
    "ToolSettings",
    "key_bytes",
    "load",
    "parse",
    "process_environment",
    "with_tokens",
]
