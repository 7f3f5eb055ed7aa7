"""What the model's world consists of: rows, actors, the target, the freeze, the people.

Everything here is a plain tuple, so that a world can be hashed and compared fast. Fields marked
*ghost* are seen by no rule of the protocol, only by the invariants.
"""

from __future__ import annotations

from typing import NamedTuple

NONE, APPLIED, UNKNOWN = "none", "applied", "unknown"
CLAIMS = {NONE: 1, APPLIED: 2, UNKNOWN: 4}


class Plan(NamedTuple):
    """What one call is; constant.

    ``tool``: A transactional, B takes an idempotency key, C can be probed, D opaque.
    ``key``: calls with the same number carry the same idempotency key.
    ``approval``: the call whose approval this one relies on (itself: it is held first).
    ``reverts``: the call that this one takes back.
    """

    tool: str = "A"
    key: int = -1
    digest: int = 0
    approval: int = -1
    reverts: int = -1
    may_deny: bool = False
    same: int = -1  # calls without a key that have the same digest


class Bounds(NamedTuple):
    """How much may go wrong. ``generations``: owners a call may have; ``deaths``: crashes of one
    actor (two at once are two deaths); ``outages``: store writes that fail or whose answer is
    lost; ``revisions``: policy changes; ``resumes``: actors that carry out an approved call."""

    generations: int = 2
    deaths: int = 1
    freezes: int = 1
    outages: int = 0
    revisions: int = 0
    resumes: int = 0
    foreign: int = 0
    repeats: int = 0  # requests that an owner sends once more, as nobody answers


class Row(NamedTuple):
    """A call's row in the store, and its transaction or requests at the target."""

    state: str = "received"
    gen: int = 0
    permit: bool = False
    undo: bool = False
    effect: str = NONE
    rev: int = 0
    claimed_by: int = -1
    approval: str = ""
    held_rev: int = 0  # the policy under which the approval was asked for
    tx: str = ""  # class A: "", open, committing, committed, aborted
    wire: tuple[int, ...] = ()  # other classes: generations whose request is under way
    debt: int = 0  # ghost: moves minus audit entries
    first: str = ""  # ghost: the state in which the row was first settled
    eff: int = 0  # ghost: effects that happened, counted up to 2
    said: int = 0  # ghost: what replies claimed, as bits of CLAIMS
    begins: int = 0  # ghost: calls that began with this call's approval


class Actor(NamedTuple):
    """A process at work on one call: an owner or a recoverer. One that is never scheduled again
    is a paused process; one that is removed has crashed. ``at`` is where it stands, ``gen`` the
    generation of its token, ``saw`` whether a request may be under way beside its own: it took
    over a call that held a permit, or sent its own once before."""

    call: int
    at: str = "new"
    gen: int = 0
    rev: int = 0
    saw: bool = False


class World(NamedTuple):
    rows: tuple[Row, ...]
    actors: tuple[Actor, ...]
    deaths: int
    freezes: int
    outages: int
    revisions: int
    resumes: int
    foreign: int
    repeats: int = 0
    frozen: bool = False
    listed: int = 0  # bits: calls that the freeze's answer named
    drained: bool = False
    unknowns: int = 0  # bits: calls that the answer "drained" named as unknown
    rev: int = 0
    cell: int = 0  # the one value at the target: 0 before, 1 written by a call, 2 by somebody else
    overwritten: bool = False  # ghost: a revert replaced somebody else's write
    fault: str = ""  # ghost: an invariant that was broken by the last step


def start(plans: tuple[Plan, ...], bounds: Bounds) -> World:
    return World(
        rows=tuple(Row() for _ in plans),
        actors=tuple(Actor(call) for call in range(len(plans))),
        deaths=bounds.deaths,
        freezes=bounds.freezes,
        outages=bounds.outages,
        revisions=bounds.revisions,
        resumes=bounds.resumes,
        foreign=bounds.foreign,
        repeats=bounds.repeats,
    )


def with_row(world: World, call: int, row: Row) -> World:
    rows = world.rows
    return world._replace(rows=(*rows[:call], row, *rows[call + 1 :]))


def with_actor(world: World, old: Actor, new: Actor | None) -> World:
    actors = list(world.actors)
    actors.remove(old)
    if new is not None:
        actors.append(new)
    actors.sort()
    return world._replace(actors=tuple(actors))


def joined(world: World, actor: Actor) -> World:
    return world._replace(actors=tuple(sorted((*world.actors, actor))))
