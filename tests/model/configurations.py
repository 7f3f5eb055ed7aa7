"""The worlds that are explored: small enough to be exhausted, each about one promise."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.world import Bounds, Plan


class Configuration(NamedTuple):
    """``small`` is explored by every test run, ``big`` with HOLDFAST_MODEL=big."""

    plans: tuple[Plan, ...]
    small: Bounds
    big: Bounds


CONFIGURATIONS: dict[str, Configuration] = {
    "transactional": Configuration(
        (Plan("A", may_deny=True),),
        Bounds(generations=3, deaths=2, freezes=1, outages=1, revisions=1),
        Bounds(generations=4, deaths=3, freezes=2, outages=2, revisions=1),
    ),
    "keyed": Configuration(
        (Plan("B"),),
        Bounds(generations=3, deaths=1, freezes=1, outages=1, repeats=1),
        Bounds(generations=4, deaths=3, freezes=2, outages=1, repeats=1),
    ),
    "probed": Configuration(
        (Plan("C"),),
        Bounds(generations=3, deaths=2, freezes=1, outages=1, repeats=1),
        Bounds(generations=4, deaths=3, freezes=2, outages=1),
    ),
    "opaque": Configuration(
        (Plan("D"),),
        Bounds(generations=3, deaths=2, freezes=1, outages=1, repeats=1),
        Bounds(generations=4, deaths=3, freezes=2, outages=1),
    ),
    "two calls and a freeze": Configuration(
        (Plan("A"), Plan("A")),
        Bounds(generations=2, deaths=1, freezes=1),
        Bounds(generations=2, deaths=1, freezes=2, outages=1),
    ),
    "retries": Configuration(
        (Plan("A", key=1), Plan("A", key=1)),
        Bounds(generations=2, deaths=1, freezes=0, outages=1),
        Bounds(generations=3, deaths=2, freezes=1, outages=2),
    ),
    "identical calls": Configuration(
        (Plan("D", same=1), Plan("D", same=1)),
        Bounds(generations=2, deaths=1, freezes=0),
        Bounds(generations=2, deaths=1, freezes=1, outages=1),
    ),
    "approval": Configuration(
        (
            Plan("A", approval=0, may_deny=True),
            Plan("A", approval=0),
            Plan("A", digest=1, approval=0),
        ),
        Bounds(generations=1, deaths=0, freezes=0, resumes=2, revisions=1),
        Bounds(generations=2, deaths=1, freezes=0, resumes=2, revisions=1),
    ),
    "revert": Configuration(
        (Plan("A"), Plan("A", reverts=0), Plan("A", reverts=0)),
        Bounds(generations=2, deaths=1, freezes=0, foreign=1),
        Bounds(generations=2, deaths=1, freezes=1, foreign=1, outages=1),
    ),
    "revert of a revert": Configuration(
        (Plan("A"), Plan("A", reverts=0), Plan("A", reverts=1)),
        Bounds(generations=2, deaths=0, freezes=0, foreign=1),
        Bounds(generations=2, deaths=1, freezes=0, foreign=1),
    ),
    "opaque revert": Configuration(
        (Plan("D"), Plan("D", reverts=0), Plan("D", reverts=0)),
        Bounds(generations=2, deaths=0, freezes=0),
        Bounds(generations=2, deaths=2, freezes=0, outages=1),
    ),
}
# More worlds than this and the exploration stops with an error instead of proving nothing slowly.
MOST = {"small": 100_000, "big": 3_000_000}
