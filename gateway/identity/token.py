"""Bearer tokens. Only their SHA-256 is kept, here and in the store; every comparison looks at
every candidate in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import ConfigInvalid, Malformed, Unauthenticated
from gateway.interfaces import AgentStore, Clock
from gateway.model import Subject

ADMIN = "admin"  # the id under which the admin's own acts stand; no agent may carry it
AGENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

_SESSION = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MAX_TOKEN = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAgent:
    """An agent of the configuration; ``token`` is the only clear text and is never shown."""

    name: str
    token: str = field(repr=False)
    roles: tuple[str, ...] = ()


def new_token() -> str:
    """A fresh agent token: ``hf_`` and 32 random bytes."""
    return "hf_" + secrets.token_urlsafe(32)


def token_sha256(token: str) -> str:
    """What is stored in the place of ``token``."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def session_of(wanted: str | None, agent: str, clock: Clock) -> str:
    """``wanted`` if it is a session name, one per agent and UTC day without it. Raises
    ``Malformed``."""
    if wanted is None:
        return f"{agent}:{clock.now().date().isoformat()}"
    if _SESSION.fullmatch(wanted) is None:
        raise Malformed("Holdfast-Session must be 1 to 128 letters, digits, '.', '_', ':' or '-'.")
    return wanted


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    roles: tuple[str, ...]
    digest: str


class TokenIdentifier:
    """``agents`` come from the configuration, further ones from ``store``. Raises
    ``ConfigInvalid`` for an agent list that leaves open who calls."""

    def __init__(self, agents: Sequence[ConfiguredAgent], store: AgentStore, clock: Clock) -> None:
        self._known = tuple(_Known(a.name, a.roles, token_sha256(a.token)) for a in agents)
        self._store = store
        self._clock = clock
        names = [a.name for a in agents]
        if ADMIN in names or len(set(names)) != len(names):
            raise ConfigInvalid(f"Agent names must differ from each other and from {ADMIN!r}.")
        if any(not a.token for a in agents) or len({k.digest for k in self._known}) != len(agents):
            raise ConfigInvalid("Every agent needs a token of its own.")

    async def identify(self, credentials: str, session: str | None) -> Subject:
        """The agent behind a bearer token. Raises ``Unauthenticated``, also for a revoked one,
        ``Malformed`` for a bad session and ``StoreUnavailable``."""
        if not credentials or len(credentials) > _MAX_TOKEN:
            raise Unauthenticated("The token is not known here.")
        digest = token_sha256(credentials)
        found = self._configured(digest) or await self._stored(digest)
        if found is None:
            raise Unauthenticated("The token is not known here.")
        return Subject(
            id=found.name,
            roles=found.roles,
            session=session_of(session, found.name, self._clock),
        )

    def _configured(self, digest: str) -> _Known | None:
        found = None
        for known in self._known:  # no early end: time must not tell which one matched
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    async def _stored(self, digest: str) -> _Known | None:
        agent = await self._store.agent_by_token(digest)
        if agent is None or agent.revoked_at is not None:
            return None
        if not hmac.compare_digest(agent.token_sha256, digest):
            return None
        if agent.name == ADMIN or any(k.name == agent.name for k in self._known):
            return None  # a stored agent never borrows the name of a configured one
        return _Known(agent.name, agent.roles, agent.token_sha256)


class AdminToken:
    """The one token of the admin endpoints. Raises ``ConfigInvalid`` when it is empty."""

    def __init__(self, token: str) -> None:
        if not token:
            raise ConfigInvalid("The admin token is empty.")
        self._digest = token_sha256(token)

    def matches(self, credentials: str) -> bool:
        return hmac.compare_digest(self._digest, token_sha256(credentials))
