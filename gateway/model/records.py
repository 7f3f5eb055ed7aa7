"""What is measured, kept and answered about a call: extent, undo, outcome, rows of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.lifecycle import State
from gateway.model.actions import Call, EffectState, Json, OnConflict, Reversibility
from gateway.model.decisions import Deny, Obligations
from gateway.model.freezes import Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The extent measured inside the transaction, cascades and triggers included. ``share`` is
    the largest changed-or-deleted part of any one table, 0..1."""

    tables: Mapping[str, RowCounts] = field(default_factory=dict)
    share: float = 0.0

    @property
    def rows(self) -> int:
        return sum(counts.total for counts in self.tables.values())

    def as_json(self) -> dict[str, Json]:
        return {
            "rows": self.rows,
            "share": self.share,
            "tables": {
                name: {"inserted": c.inserted, "updated": c.updated, "deleted": c.deleted}
                for name, c in sorted(self.tables.items())
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a start-up check has to say. ``level``: ``error`` (does not start), ``warning``,
    ``info``."""

    level: str
    about: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """An image that is stored already. ``size`` and ``sha256`` (hex) are those of the image as it
    was written; exactly one of ``inline`` and ``file`` holds it, packed. ``seal`` is the SHA-256
    of the packed bytes and ``packed`` their number. ``key`` opens it where it is encrypted."""

    size: int
    sha256: str
    inline: bytes | None = field(default=None, repr=False)
    file: str | None = None
    seal: str | None = None
    packed: int | None = None
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How to take a call back. ``manifest`` is JSON that only the upstream which made it reads.
    The row images, stored outside the target, are either whole in ``image`` (small ones) or
    ``spooled``; ``Spooler.read`` gives them piece by piece either way. ``reversibility``
    ``irreversible`` means that there is no way back and policy accepted it. ``answer`` is what
    ``Outcome.kept`` recorded when the call ended, given along when it is taken back. What of an
    upstream without transactions has the ``kind`` ``request`` is taken back on its own; so is what
    commits by itself in an upstream that has them, with a ``kind`` that ends in ``.definition``."""

    upstream: str
    kind: str
    reversibility: Reversibility
    manifest: Mapping[str, Json] = field(default_factory=dict)
    image: bytes = field(default=b"", repr=False)
    answer: Mapping[str, Json] | None = None
    spooled: Spooled | None = None

    @property
    def alone(self) -> bool:
        """Whether no transaction can take it back together with another call."""
        return self.kind == "request" or self.kind.endswith(".definition")

    def __post_init__(self) -> None:
        if self.image and self.spooled is not None:
            raise ValueError("an undo has its images whole or spooled, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One thing that a revert would have overwritten. Values are JSON objects by column, or
    ``None`` where there is no row."""

    resource: str
    key: Json
    before: Json
    after: Json
    now: Json
    why: str = "changed"

    def as_json(self) -> dict[str, Json]:
        return {
            "resource": self.resource,
            "key": self.key,
            "before": self.before,
            "after": self.after,
            "now": self.now,
            "why": self.why,
        }


LISTED = 100  # conflicts that travel with a step; the store keeps all of them, in pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a revert did, or would do, about one call. ``state``: planned, reverted, partial,
    conflict, skipped, failed, unknown. ``conflicts`` holds the first ``LISTED``, and there are
    ``more``."""

    call: str
    upstream: str
    action: str
    state: str
    restored: int = 0
    conflicts: tuple[Conflict, ...] = ()
    more: int = 0
    reason: str | None = None
    detail: str | None = None

    def as_json(self) -> dict[str, Json]:
        return {
            "call": self.call,
            "upstream": self.upstream,
            "action": self.action,
            "state": self.state,
            "restored": self.restored,
            "conflicts": [c.as_json() for c in self.conflicts],
            "more": self.more,
            "reason": self.reason,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended. ``result`` is the surface's JSON for a success, ``refusal`` the problem
    for a failure; ``steps`` are those of a revert. ``kept`` is what the way back needs of the
    answer and of the state left behind: recorded with the images, never shown. ``final``: an
    unknown outcome is recorded as such, as nobody will send again; otherwise the call is left to
    recovery. ``live`` is the surface's own, such as an answer that still arrives; never
    recorded."""

    state: State
    effect: EffectState
    result: Mapping[str, Json] | None = None
    refusal: Deny | None = None
    steps: tuple[Step, ...] = ()
    kept: Mapping[str, Json] | None = None
    final: bool = False
    live: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoInfo:
    """What a reply says about the way back. ``gone``: why it is no more, where there was one."""

    reversibility: Reversibility = Reversibility.NONE
    available: bool = False
    expires_at: datetime | None = None
    gone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """A call's row as the store keeps it."""

    call: Call
    state: State
    generation: int
    effect: EffectState
    action: Mapping[str, Json] | None  # the action as policy saw it (``policy_input["action"]``)
    reach: Reach | None
    decision: Mapping[str, Json] | None  # {"decision", "reason", "reasons", "obligations", ...}
    measured: Mapping[str, Json] | None
    receipt: str | None  # what the target can be asked by: the transaction id, or the call's id
    permitted: bool
    undo: UndoInfo
    snapshot: str | None
    outcome: Outcome | None
    reverted_by: str | None
    lease_until: datetime | None
    updated_at: datetime
    approval: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the surface renders. ``status`` is HTTP's; exactly one of ``outcome.result`` and
    ``outcome.refusal`` is set."""

    call: str
    state: State
    effect: EffectState
    outcome: Outcome
    undo: UndoInfo = field(default_factory=UndoInfo)
    replayed: bool = False
    approval: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A hold waiting for a person. Bound to the call's digest and the policy revision."""

    id: str
    call: str
    digest: str
    revision: str
    reasons: tuple[str, ...]
    obligations: Obligations
    state: str  # waiting approved rejected used expired
    created_at: datetime
    expires_at: datetime
    decided_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertJob:
    """One request to take back a call, a session or an agent's calls since a time.

    ``state``: planned running reverted partial conflict failed.
    """

    id: str
    target: Mapping[str, Json]
    on_conflict: OnConflict
    plan: bool
    reason: str | None
    requested_by: str
    state: str
    steps: tuple[Step, ...]
    created_at: datetime
    updated_at: datetime
