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
    inexact: bool = False
    approvers: tuple[str, ...] = ()
    approval_ttl: int | None = None  # seconds
    redact: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """What is demanded, under the contract's names, and nothing that is not."""
        every: dict[str, Json] = {
            "max_rows": self.max_rows,
            "max_share": self.max_share,
            "rehearse": self.rehearse,
            "irreversible": self.irreversible or None,
            "inexact": self.inexact or None,
            "approvers": list(self.approvers) or None,
            "approval_ttl": self.approval_ttl,
            "redact": list(self.redact) or None,
        }
        return {name: value for name, value in every.items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Obligations:
        """What ``as_json`` wrote."""
        lists = {name: tuple(data.get(name, ())) for name in ("approvers", "redact")}
        return cls(**{**data, **lists})


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
