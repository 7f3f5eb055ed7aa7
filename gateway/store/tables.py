"""The rows as one open transaction sees them. Synchronous: an operation is one function over
``Tables`` and is carried out whole or not at all."""

from __future__ import annotations

from typing import Protocol

from gateway.store.rows import (
    AgentRow,
    ApprovalRow,
    CallRow,
    Cell,
    ConflictRow,
    EntryRow,
    Filter,
    FreezeRow,
    Head,
    PinRow,
    RevertRow,
    SnapshotRow,
    Tallied,
)


class Tables(Protocol):
    """``change_*`` names its statement in ``queries.sql``; the cells are all that it sets."""

    # --- calls
    def head(self, id: str) -> Head | None: ...

    def key_holder(self, agent: str, key: str) -> str | None:
        """The id of the call, not a denied one, that has the key."""
        ...

    def call(self, id: str) -> CallRow | None: ...

    def calls(self, wanted: Filter) -> list[CallRow]: ...

    def unsettled(self) -> list[Head]:
        """Every call between intent and outcome, oldest first."""
        ...

    def twin(self, agent: str, digest: str, since: str) -> Head | None:
        """The newest call with this digest that has begun or is about to, or is unknown."""
        ...

    def misses(self, agent: str, digest: str, since: str, spared: str) -> int:
        """How many such calls were denied or failed, but for the reasons in ``spared`` (a JSON
        array)."""
        ...

    def under_way(self, agent: str, digest: str, since: str) -> int:
        """How many such calls have begun, or are about to, and have not ended."""
        ...

    def since_newest(self, agent: str, n: int) -> str | None:
        """When the ``n``-th newest call of ``agent`` came in."""
        ...

    def rows_changed(self, agent: str, since: str) -> int:
        """By the calls of ``agent`` that came in since then and may have landed; reverts and what
        is known to have had no effect do not count."""
        ...

    def tallied(self, agent: str, session: str | None, since: str, after: int) -> list[Tallied]:
        """The calls of ``agent`` with ``ord`` above ``after`` that came in since then, reverts
        aside, like ones together."""
        ...

    def add_call(self, row: CallRow) -> None: ...

    def change_call(self, query: str, id: str, /, **cells: Cell) -> None: ...

    # --- snapshots
    def snapshot(self, id: str) -> SnapshotRow | None: ...

    def snapshots(self, call: str | None, before: int | None, limit: int) -> list[SnapshotRow]:
        """Newest first, without manifest and image."""
        ...

    def due_snapshots(self, now: str) -> list[SnapshotRow]:
        """Those that expired and still have their image; without manifest and image."""
        ...

    def files(self) -> set[str]: ...

    def add_snapshot(self, row: SnapshotRow) -> None: ...

    def drop_snapshot(self, id: str, at: str) -> None:
        """Removes manifest, image and key; the row stays as deleted, its file still to erase."""
        ...

    def unerased_snapshots(self, after: int, limit: int) -> list[SnapshotRow]:
        """Deleted ones of which something may be left, with ``ord`` above ``after``, ascending."""
        ...

    def keep_answer(self, id: str, answer: str) -> None: ...

    def erase_snapshot(self, id: str, at: str) -> None: ...

    def keys_in_use(self) -> set[str]:
        """The names of the keys that kept images are encrypted with."""
        ...

    def count_unsealed(self) -> int:
        """How many kept images are not encrypted."""
        ...

    def wrapped_snapshots(self, active: str, after: int, limit: int) -> list[SnapshotRow]:
        """Those under another key than ``active``, with ``ord`` above ``after``, ascending."""
        ...

    def rewrap_snapshot(self, id: str, key_id: str, data_key: bytes) -> None: ...

    # --- freezes
    def epoch(self) -> int: ...

    def freeze(self, id: str) -> FreezeRow | None: ...

    def freezes(self) -> list[FreezeRow]: ...

    def standing_freezes(self, now: str) -> list[FreezeRow]:
        """Not lifted and not over; some may start later."""
        ...

    def add_freeze(self, row: FreezeRow) -> None: ...

    def lift_freeze(self, id: str, at: str) -> None: ...

    # --- approvals
    def approval(self, id: str) -> ApprovalRow | None: ...

    def approvals(self, waiting: bool) -> list[ApprovalRow]: ...

    def add_approval(self, row: ApprovalRow) -> None: ...

    def change_approval(self, id: str, state: str, by: str | None, note: str | None) -> None: ...

    # --- reverts
    def put_revert(self, row: RevertRow) -> None: ...

    def revert(self, id: str) -> RevertRow | None: ...

    def running_reverts(self) -> list[RevertRow]: ...

    def add_conflict(self, revert: str, call: str, body: str) -> None: ...

    def conflicts(self, revert: str, after: int, limit: int) -> list[ConflictRow]:
        """In their order, with numbers above ``after``."""
        ...

    def drop_conflicts(self, revert: str, call: str) -> None: ...

    # --- agents
    def agents(self) -> list[AgentRow]: ...

    def agent(self, name: str) -> AgentRow | None:
        """The agent of that name that is not revoked."""
        ...

    def agent_by_token(self, token_sha256: str) -> AgentRow | None: ...

    def add_agent(self, row: AgentRow) -> None: ...

    def revoke_agent(self, name: str, at: str) -> None: ...

    # --- tools of MCP servers
    def pins(self, server: str | None) -> list[PinRow]: ...

    def put_pin(self, row: PinRow) -> None: ...

    # --- audit
    def last_entry(self) -> tuple[int, str] | None:
        """Number and hash of the newest entry."""
        ...

    def entries(self, after: int, limit: int) -> list[EntryRow]: ...

    def add_entry(self, row: EntryRow) -> None:
        """Raises ``AuditUnavailable``."""
        ...

    def beat(self, at: str) -> None:
        """A write that proves that writing is possible."""
        ...
