"""The stored rows: plain cells in the order of the tables' columns, the same for every store."""

from __future__ import annotations

from typing import NamedTuple

Cell = str | int | float | bytes | None


class CallRow(NamedTuple):
    id: str
    ord: int
    state: str
    generation: int
    agent: str
    session: str
    roles: str
    delegation: str
    surface: str
    tool: str
    request: str
    digest: str
    received_at: str
    idempotency_key: str | None
    reason: str | None
    dry_run: int
    reverts: str
    effect: str
    action: str | None
    reach: str | None
    decision: str | None
    revision: str | None
    approval: str | None
    measured: str | None
    receipt: str | None
    permitted: int
    snapshot: str | None
    undo_reversibility: str
    undo_expires_at: str | None
    undo_deleted: int
    outcome: str | None
    reverted_by: str | None
    lease_until: str | None
    updated_at: str


class Head(NamedTuple):
    """What a move looks at: the row without its large cells."""

    id: str
    state: str
    generation: int
    agent: str
    session: str
    surface: str
    tool: str
    digest: str
    reverts: str
    effect: str
    reach: str | None
    revision: str | None
    approval: str | None
    permitted: int
    snapshot: str | None
    undo_reversibility: str
    undo_expires_at: str | None
    undo_deleted: int
    reverted_by: str | None
    lease_until: str | None
    updated_at: str


class SnapshotRow(NamedTuple):
    """``image`` (inline) or ``file`` (on the shelf) holds the packed bytes, whose hash and number
    are ``seal`` and ``packed``; ``size`` and ``sha256`` are those of the image itself. Deleted
    first and then, once nothing of it can be read any more, erased."""

    id: str
    ord: int
    call: str
    upstream: str
    kind: str
    reversibility: str
    manifest: str
    size: int
    sha256: str
    image: bytes | None
    file: str | None
    created_at: str
    expires_at: str | None
    deleted_at: str | None
    seal: str | None
    packed: int | None
    spooled: int
    key_id: str | None
    data_key: bytes | None
    erased_at: str | None
    answer: str | None = None


class FreezeRow(NamedTuple):
    id: str
    epoch: int
    scope: str
    reason: str
    starts_at: str
    ends_at: str | None
    origin: str
    created_by: str
    lifted_at: str | None


class ApprovalRow(NamedTuple):
    id: str
    call: str
    digest: str
    revision: str
    reasons: str
    obligations: str
    state: str
    created_at: str
    expires_at: str
    decided_by: str | None
    note: str | None


class RevertRow(NamedTuple):
    id: str
    target: str
    on_conflict: str
    plan: int
    reason: str | None
    requested_by: str
    state: str
    steps: str
    created_at: str
    updated_at: str


class ConflictRow(NamedTuple):
    revert: str
    number: int
    call: str
    body: str


class AgentRow(NamedTuple):
    name: str
    roles: str
    token_sha256: str
    created_at: str
    revoked_at: str | None


class PinRow(NamedTuple):
    server: str
    tool: str
    seen: str
    approved: str | None
    document: str
    warnings: str
    updated_at: str
    by: str


class EntryRow(NamedTuple):
    seq: int
    hash: str
    body: str


class Tallied(NamedTuple):
    """Calls that are alike to whoever counts them. ``minute``: the beginning of the stamp that
    they came in at; ``begun``: they were let through."""

    minute: str
    state: str
    begun: int
    dry_run: int
    cls: str | None
    calls: int
    rows: int


class Filter(NamedTuple):
    """Which calls a listing wants; ``None`` wants all. ``before``: only rows with a smaller
    ``ord``."""

    session: str | None
    agent: str | None
    since: str | None
    until: str | None
    states: str | None  # a JSON array
    tool: str | None
    reverts: int | None
    before: int | None
    limit: int
