"""What a call was seen to change, beside what was known before it ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.model import EXECUTE, Action, Effect, Measured


def executes(action: Action) -> bool:
    """Whether code of users runs in its name, so that what it does is known only afterwards."""
    return any(effect.verb == EXECUTE for effect in action.effects)


def seen(action: Action, measured: Measured) -> Action:
    """``action`` with what its statements were measured to do to tables. Rows are counted, so none
    of it is without a bound."""
    if action.sql is None:
        return action
    known = {(effect.verb, effect.name) for effect in action.effects}
    new = tuple(e for e in _effects(measured) if (e.verb, e.name) not in known)
    return replace(action, effects=(*action.effects, *new)) if new else action


def _effects(measured: Measured) -> Iterator[Effect]:
    for table, counts in measured.tables.items():
        done = {"insert": counts.inserted, "update": counts.updated, "delete": counts.deleted}
        for verb, rows in done.items():
            if rows:
                yield Effect(verb=verb, kind="table", name=table, columns=("*",))
