"""What a declaration says about one call of a route or tool, compiled and ready to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.model import ActionClass, Json, Reversibility, ToolClass

# Makes a request out of values by root (``request``, ``params``, ``arguments``, ``before``,
# ``response``). Raises ``TemplateMissing`` when a value that it needs is not there.
Maker = Callable[[Mapping[str, Json]], Mapping[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """``attempts`` counts the first one; pauses are ``base_s * 2**n`` with full jitter, at most
    ``most_s``. Only requests that are safe to repeat are ever sent again."""

    attempts: int = 1
    base_s: float = 0.2
    most_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How class C finds out: ``request`` reads, ``happened`` judges the answer's ``view`` (with
    the roots known before): true, false, or ``None`` where it cannot tell. ``fence_s``: seconds
    after which nothing that was sent can still arrive."""

    request: Maker
    happened: Callable[[Mapping[str, Json]], bool | None]
    fence_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``name`` names the route or tool (``DELETE /customers/{id}``, ``notes.delete_note``);
    ``resource`` what it touches (``/customers/7``). ``values``: the roots known before anything is
    sent. ``request``: what is sent, canonical; ``before``, ``undo`` and ``verify`` make requests of
    the same form. ``conditional`` makes what is sent instead of ``request`` once ``before`` is
    known (to add ``If-Match``).

    ``safe``: repeating the request has no further effect (GET, PUT, DELETE where the declaration
    says so); ``undo_safe``: the same of what ``undo`` makes; ``undo_keyed``: that request takes an
    idempotency key, whatever the class of the call itself.

    ``redo`` makes the request that brings the call's effect back after it was taken back; it may
    look at ``after``, the state that the call left. Without one the call's own request does, and
    where there is a ``redo`` that lacks a value, nothing does. ``redo_safe``: it may be sent twice.

    ``ignore`` names parts of a read's view that change by themselves (``body.updated_at``); they
    are left out of comparisons. ``rows`` is the extent that the declaration gives the call.
    ``key_kept_s``: how long a keyed tool remembers a key; ``fence_s``: seconds after which nothing
    that was sent can still arrive. ``bare``: ``request`` is whole without what the call brought
    along, so it can be sent again when that is gone.
    """

    name: str
    resource: str
    cls: ActionClass
    reversibility: Reversibility
    tool_class: ToolClass
    request: Mapping[str, Json]
    values: Mapping[str, Json] = field(default_factory=dict)
    before: Maker | None = None
    undo: Maker | None = None
    verify: Maker | None = None
    redo: Maker | None = None
    redo_safe: bool = False
    probing: Probing | None = None
    conditional: Maker | None = None
    retry: Retry = Retry()
    safe: bool = False
    undo_safe: bool = False
    undo_keyed: bool = False
    ignore: tuple[str, ...] = ()
    rows: int = 1
    key_kept_s: float = 24 * 3600.0
    fence_s: float = 300.0
    bare: bool = True
