"""Triggers that taking a call back would fire. They cannot be switched off here, and what they do
is not part of what was captured, so the way back has to go around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.model import Deny
from gateway.upstreams.sql.mysql.catalog import Trigger
from gateway.upstreams.sql.mysql.images import TableImage


@dataclass(frozen=True, slots=True)
class Way:
    """How rows of one table are put back. ``replace``: a changed row goes and comes again instead
    of being changed, so that swapped unique values meet no one; ``fires``: what cannot be avoided.
    """

    replace: bool
    fires: frozenset[str]


def way(image: TableImage, events: Collection[str]) -> Way:
    """``events``: those that the table has triggers for."""
    needed: set[str] = set()
    both = False
    for change in image.changes:
        if change.before is None:
            needed.add("DELETE")
        elif change.after is None:
            needed.add("INSERT")
        else:
            both = True
    replace = not {"INSERT", "DELETE"} & set(events)
    if both:
        needed |= {"INSERT", "DELETE"} if replace else {"UPDATE"}
    return Way(replace, frozenset(needed & set(events)))


def firing(images: Sequence[TableImage], found: Sequence[Trigger]) -> Deny | None:
    """The refusal of a call whose way back would fire triggers. ``found``: those of its tables."""
    for image in images:
        own = [t for t in found if t.table == image.table.at]
        fires = way(image, {t.event for t in own}).fires
        if fires:
            named = ", ".join(sorted(t.name for t in own if t.event in fires))
            return Deny(
                reason="undo.unavailable",
                detail=f"Taking this back would fire triggers of {image.table.resource}: {named}. "
                "MariaDB cannot switch them off for a session.",
                extra={"triggers": sorted(t.name for t in own if t.event in fires)},
            )
    return None
