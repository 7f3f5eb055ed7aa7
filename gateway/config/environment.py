"""The only reader of the process's environment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

AGENT_TOKEN = "HOLDFAST_AGENT_TOKEN"  # noqa: S105 - the name of a variable
ADMIN_TOKEN = "HOLDFAST_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
URL = "HOLDFAST_URL"
DEFAULT_URL = "http://127.0.0.1:8400"
DEFAULT_CONFIG = "config.example.yaml"


def process_environment() -> dict[str, str]:
    return dict(os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnvironment:
    """``environ`` has both tokens; ``made`` names those that were made up for this run."""

    environ: Mapping[str, str]
    made: tuple[str, ...]


def with_tokens(environ: Mapping[str, str]) -> RunEnvironment:
    """Fills in random tokens for the two variables where they are unset or empty."""
    filled = dict(environ)
    made = tuple(name for name in (AGENT_TOKEN, ADMIN_TOKEN) if not filled.get(name))
    for name in made:
        filled[name] = secrets.token_urlsafe(32)
    return RunEnvironment(environ=filled, made=made)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where remote commands go, and as whom."""

    url: str
    admin_token: SecretStr | None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> ClientSettings:
        environ = os.environ if environ is None else environ
        token = environ.get(ADMIN_TOKEN, "")
        return cls(
            url=(environ.get(URL) or DEFAULT_URL).rstrip("/"),
            admin_token=SecretStr(token) if token else None,
        )
