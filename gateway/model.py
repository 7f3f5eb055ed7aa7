"""The nouns. Frozen values that every part passes on; no behaviour beyond what is true of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from gateway.lifecycle import State

Json = Any  # null, bool, int (64 bit), float, str, list or dict of these


class Surface(StrEnum):
    SQL = "sql"
    HTTP = "http"
    MCP = "mcp"
    ADMIN = "admin"


class ActionClass(StrEnum):
    """How far an action can reach, weakest first."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"
    DDL = "ddl"
    ADMIN = "admin"


class Reversibility(StrEnum):
    EXACT = "exact"
    COMPENSABLE = "compensable"
    IRREVERSIBLE = "irreversible"
    NONE = "none"  # nothing to reverse: a read


class EffectState(StrEnum):
    """What every reply and refusal claims about the target, truly."""

    NONE = "none"
    APPLIED = "applied"
    UNKNOWN = "unknown"


class OnConflict(StrEnum):
    ABORT = "abort"
    SKIP = "skip"
    FORCE = "force"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who calls. ``session`` groups calls for revert."""

    id: str
    roles: tuple[str, ...] = ()
    session: str
    delegation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of a tool. ``request`` is what the surface read, for SQL
    ``{"sql": str, "params": list | dict}``; ``digest`` is over its canonical form, the surface
    and the tool (``audit.digest_of``)."""

    id: str
    subject: Subject
    surface: Surface
    tool: str
    request: Mapping[str, Json]
    digest: str
    received_at: datetime
    idempotency_key: str | None = None
    reason: str | None = None
    dry_run: bool = False
    reverts: tuple[str, ...] = ()  # ids of the calls that this call takes back, newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a call does to one resource, as far as it is known before it runs.

    ``columns`` is ``("*",)`` where the exact set is not known.
    """

    verb: str  # select insert update delete merge truncate create alter drop ...
    kind: str  # table view function sequence schema ...
    name: str  # schema.table
    columns: tuple[str, ...] = ()
    bounded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL statement as policy sees it."""

    verb: str
    tables: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    bounded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlAction:
    dialect: str
    text: str
    statements: tuple[Statement, ...]
    params: Json = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    type: str
    id: str
    environment: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """The parsed action that policy judges. ``facts`` is the upstream's own, handed back to its
    ``attempt``; nobody else reads it. ``why_irreversible`` is set when ``reversibility`` is
    ``irreversible``."""

    surface: Surface
    tool: str
    name: str
    cls: ActionClass
    reversibility: Reversibility
    idempotent: bool
    digest: str
    effects: tuple[Effect, ...]
    resource: Resource
    sql: SqlAction | None = None
    http: Mapping[str, Json] | None = None
    mcp: Mapping[str, Json] | None = None
    why_irreversible: str | None = None
    warnings: tuple[str, ...] = ()
    facts: Any = None


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
class Scope:
    """What a freeze covers. An empty dimension covers everything; the empty scope covers
    everything that writes. Reads are covered only where ``effects`` says ``read``."""

    sources: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()  # action classes or verbs

    def covers(self, reach: Reach) -> bool:
        if self.effects:
            if not {str(reach.cls), *reach.verbs} & set(self.effects):
                return False
        elif reach.cls is ActionClass.READ:
            return False
        if self.sources or self.tools:
            named = self.sources if reach.surface is Surface.SQL else self.tools
            if reach.tool not in named:
                return False
        if self.agents and reach.agent not in self.agents:
            return False
        return not self.tables or any(_names_table(t, reach.tables) for t in self.tables)

    def as_json(self) -> dict[str, Json]:
        return {
            "sources": list(self.sources),
            "tools": list(self.tools),
            "tables": list(self.tables),
            "agents": list(self.agents),
            "effects": list(self.effects),
        }


def _names_table(wanted: str, tables: tuple[str, ...]) -> bool:
    # "customers" covers "main.customers" and "public.customers"; "*" stands for a table that
    # could not be named, which every freeze of a table covers.
    wanted = wanted.casefold()
    for table in tables:
        have = table.casefold()
        if have in ("*", wanted) or have.rpartition(".")[2] == wanted:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The part of a call that a freeze is compared with; kept on the call's row."""

    surface: Surface
    tool: str
    agent: str
    cls: ActionClass
    verbs: tuple[str, ...]
    tables: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        return {
            "surface": str(self.surface),
            "tool": self.tool,
            "agent": self.agent,
            "cls": str(self.cls),
            "verbs": list(self.verbs),
            "tables": list(self.tables),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Reach:
        return cls(
            surface=Surface(data["surface"]),
            tool=data["tool"],
            agent=data["agent"],
            cls=ActionClass(data["cls"]),
            verbs=tuple(data["verbs"]),
            tables=tuple(data["tables"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """``origin`` is ``admin`` for one made by a person, ``window:NAME`` for a recurring one."""

    id: str
    scope: Scope
    reason: str
    starts_at: datetime
    ends_at: datetime | None = None
    epoch: int = 0
    origin: str = "admin"
    created_by: str = ""
    lifted_at: datetime | None = None

    def active(self, now: datetime) -> bool:
        if self.lifted_at is not None or now < self.starts_at:
            return False
        return self.ends_at is None or now < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a start-up check has to say. ``level``: ``error`` (does not start), ``warning``,
    ``info``."""

    level: str
    about: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How to take a call back. ``manifest`` is JSON that only the upstream which made it reads;
    ``image`` holds the row images, stored outside the target. ``reversibility`` ``irreversible``
    means that there is no way back and policy accepted it."""

    upstream: str
    kind: str
    reversibility: Reversibility
    manifest: Mapping[str, Json] = field(default_factory=dict)
    image: bytes = b""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a revert did, or would do, about one call. ``state``: planned, reverted, partial,
    conflict, skipped, failed."""

    call: str
    upstream: str
    action: str
    state: str
    restored: int = 0
    conflicts: tuple[Conflict, ...] = ()
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
            "reason": self.reason,
            "detail": self.detail,
        }


class _Token:
    """Only ``issue`` of the subclass, called by a store, makes one: a plain constructor call
    raises, and a house test finds ``issue`` outside ``gateway/store``."""

    __slots__ = ("call", "generation")
    _key: ClassVar[object] = object()

    def __init__(self, key: object, call: str, generation: int) -> None:
        if key is not _Token._key:
            raise TypeError(f"{type(self).__name__} is issued by the store alone")
        self.call = call
        self.generation = generation

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.call}, generation {self.generation})"


class Intent(_Token):
    """Proof that the intent is durable; ``begin`` needs it."""

    @classmethod
    def issue(cls, call: str, generation: int) -> Intent:
        return cls(_Token._key, call, generation)


class Running(_Token):
    """Proof that the call has begun, after the freeze check; running needs it."""

    @classmethod
    def issue(cls, call: str, generation: int) -> Running:
        return cls(_Token._key, call, generation)


class Permit(_Token):
    """Proof that images and undo are durable and no freeze came; committing needs it."""

    @classmethod
    def issue(cls, call: str, generation: int) -> Permit:
        return cls(_Token._key, call, generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended. ``result`` is the surface's JSON for a success, ``refusal`` the problem
    for a failure; ``steps`` are those of a revert."""

    state: State
    effect: EffectState
    result: Mapping[str, Json] | None = None
    refusal: Deny | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoInfo:
    """What a reply says about the way back."""

    reversibility: Reversibility = Reversibility.NONE
    available: bool = False
    expires_at: datetime | None = None


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
