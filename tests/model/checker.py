"""A breadth-first explorer: every reachable world, and the shortest way to a broken invariant."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

W = TypeVar("W", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Counterexample(Generic[W]):
    """``steps`` are the labels from the start to ``world``, where ``broken`` is broken."""

    broken: str
    steps: tuple[str, ...]
    world: W

    def __str__(self) -> str:
        numbered = "\n".join(f"  {n:2}. {step}" for n, step in enumerate(self.steps, 1))
        return f"{self.broken}\n{numbered}\n  in {self.world}"


@dataclass(frozen=True, slots=True)
class Exploration(Generic[W]):
    worlds: int
    counterexample: Counterexample[W] | None


class TooLarge(AssertionError):
    """The bounds give more worlds than were allowed: nothing was proven."""


def explore(
    first: W,
    successors: Callable[[W], Iterable[tuple[str, W]]],
    broken: Callable[[W, bool], str | None],
    *,
    most: int,
) -> Exploration[W]:
    """Visits all worlds. ``broken`` gets a world and whether nothing can happen in it any more,
    and names the invariant that does not hold there, if any."""
    parents: dict[W, tuple[W, str] | None] = {first: None}
    frontier = [first]
    while frontier:
        following: list[W] = []
        for world in frontier:
            quiet = True
            for label, after in successors(world):
                quiet = False
                if after not in parents:
                    parents[after] = (world, label)
                    following.append(after)
            why = broken(world, quiet)
            if why is not None:
                found = Counterexample(why, _steps(parents, world), world)
                return Exploration(len(parents), found)
        if len(parents) > most:
            raise TooLarge(f"more than {most} worlds")
        frontier = following
    return Exploration(len(parents), None)


def _steps(parents: dict[W, tuple[W, str] | None], world: W) -> tuple[str, ...]:
    labels = []
    link = parents[world]
    while link is not None:
        world, label = link
        labels.append(label)
        link = parents[world]
    return tuple(reversed(labels))
