"""What policy and guards answer. A refusal is a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.model.actions import EffectState, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What policy demands of an allowed call; ``None`` demands nothing."""

    max_rows: int | None = None
    max_share: float | None = None
    rehearse: bool | None = None
    irreversible: bool = False
    approvers: tuple[str, ...] = ()
    approval_ttl: int | None = None  # seconds
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    reasons: tuple[str, ...] = ()
    obligations: Obligations = field(default_factory=Obligations)
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    reasons: tuple[str, ...] = ()
    obligations: Obligations = field(default_factory=Obligations)
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """A refusal as a value. ``reason`` is a key of ``errors.REASONS``; ``detail`` is a sentence an
    agent can act on; ``extra`` joins the problem document."""

    reason: str
    detail: str
    reasons: tuple[str, ...] = ()
    extra: Mapping[str, Json] = field(default_factory=dict)
    effect: EffectState = EffectState.NONE
    revision: str = ""


Decision = Allow | Hold | Deny
