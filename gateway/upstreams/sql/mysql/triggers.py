"""Triggers that taking a call back would fire. They cannot be switched off here, and what they do
is not part of what was captured, so the way back has to go around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.model import Deny
from gateway.upstreams.sql.mysql import events
from gateway.upstreams.sql.mysql.catalog import Trigger
from gateway.upstreams.sql.mysql.events import Layout
from gateway.upstreams.sql.mysql.images import Summary
from gateway.upstreams.sql.mysql.session import Session


@dataclass(frozen=True, slots=True)
class Way:
    """How rows of one table are put back. ``replace``: a changed row goes and comes again instead
    of being changed, so that swapped unique values meet no one; ``fires``: what cannot be avoided,
    but by ``silent``, as events of the binary log.
    """

    replace: bool
    fires: frozenset[str]
    silent: Layout | None = None


def way(of: Summary, fired: Collection[str]) -> Way:
    """``fired``: the events that the table has triggers for."""
    needed: set[str] = set()
    if of.came:
        needed.add("DELETE")
    if of.went:
        needed.add("INSERT")
    replace = not {"INSERT", "DELETE"} & set(fired)
    if of.both:
        needed |= {"INSERT", "DELETE"} if replace else {"UPDATE"}
    return Way(replace, frozenset(needed & set(fired)))


def unfired(session: Session, of: Summary, found: Sequence[Trigger]) -> Way:
    """The way that fires nothing, if there is one. ``session``: of the account that goes it;
    ``found``: all triggers of the tables concerned."""
    chosen = way(of, {t.event for t in found if t.table == of.table.at})
    if not chosen.fires or not events.allowed(session):
        return chosen
    silent = events.layout(session, of.table)
    return chosen if silent is None else Way(replace=True, fires=frozenset(), silent=silent)


def firing(session: Session, changed: Sequence[Summary], found: Sequence[Trigger]) -> Deny | None:
    """The refusal of a call whose way back would fire triggers. As ``unfired``."""
    for of in changed:
        own = [t for t in found if t.table == of.table.at]
        fires = unfired(session, of, found).fires
        if fires:
            named = ", ".join(sorted(t.name for t in own if t.event in fires))
            return Deny(
                reason="undo.unavailable",
                detail=f"Taking this back would fire triggers of {of.table.resource}: {named}. "
                f"{session.variety.name} cannot switch them off for a session, and "
                "this table or the gateway's account "
                f"({session.variety.replays}) is not fit for the way around them.",
                extra={"triggers": sorted(t.name for t in own if t.event in fires)},
            )
    return None
