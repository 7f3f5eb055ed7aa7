"""Who does what to what: subject, call, action and its effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

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


class ToolClass(StrEnum):
    """What can be known of a call whose answer was lost."""

    TRANSACTIONAL = "A"  # the target's transaction tells: exactly once
    KEYED = "B"  # the target takes an idempotency key: exactly once
    PROBEABLE = "C"  # a read tells, later: at most once, resolvable
    OPAQUE = "D"  # at most once, may stay unknown


class EffectState(StrEnum):
    """What every reply and refusal claims about the target, truly."""

    NONE = "none"
    APPLIED = "applied"
    UNKNOWN = "unknown"


class OnConflict(StrEnum):
    """What a revert does where somebody changed what it would restore: nothing at all, the rest,
    everything, or those columns that only the call had changed."""

    ABORT = "abort"
    SKIP = "skip"
    FORCE = "force"
    MERGE = "merge"


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
    ``{"sql": str, "params": list | dict}`` and ``"stdin": [str]`` where there is any; ``digest`` is
    over its canonical form, the surface and the tool (``audit.digest_of``)."""

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
    # A payload that JSON cannot hold, its hash being part of ``request``; never recorded.
    body: Any = None


EXECUTE = "execute"  # the verb of code of users that runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a call does to one resource, as far as it is known before it runs.

    ``columns`` is ``("*",)`` where the exact set is not known.
    """

    verb: str  # select insert update delete merge truncate execute create alter drop ...
    kind: str  # table view function procedure block sequence schema ...
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
    """``stdin``: what each COPY FROM STDIN of the text reads, in their order."""

    dialect: str
    text: str
    statements: tuple[Statement, ...]
    params: Json = ()
    stdin: tuple[str, ...] = ()


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
    ``irreversible``; ``why_inexact`` when the way back is known not to restore everything."""

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
    why_inexact: str | None = None
    warnings: tuple[str, ...] = ()
    tool_class: ToolClass = ToolClass.TRANSACTIONAL
    facts: Any = None
