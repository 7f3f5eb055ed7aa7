"""Making requests out of what is known so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Json
from gateway.upstreams.remote.plan import Maker, Plan
from gateway.upstreams.remote.templates import TemplateMissing

ANSWER = "response"


class _Roots(dict[str, Json]):
    """The values by root; notes whether the answer was asked for before there is one."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        super().__init__(values)
        self.too_early = False

    def get(self, key: str, default: Json = None) -> Json:
        self.too_early |= key == ANSWER and key not in self
        return super().get(key, default)

    def __missing__(self, key: str) -> Json:
        self.too_early |= key == ANSWER
        raise KeyError(key)


@dataclass(frozen=True, slots=True)
class Rendered:
    """``request`` is ``None`` where a value is missing; ``later``: the answer will bring it."""

    request: Mapping[str, Json] | None
    later: bool = False


def render(
    plan: Plan,
    make: Maker | None,
    *,
    before: Mapping[str, Json] | None = None,
    answer: Mapping[str, Json] | None = None,
    after: Mapping[str, Json] | None = None,
) -> Rendered:
    """``before``, ``answer`` and ``after`` are the views of what was read, of what the tool said
    and of what was read then."""
    if make is None:
        return Rendered(None)
    values = dict(plan.values)
    if before is not None:
        values["before"] = before
    if answer is not None:
        values[ANSWER] = answer
    if after is not None:
        values["after"] = after
    roots = _Roots(values)
    try:
        return Rendered(dict(make(roots)))
    except (TemplateMissing, KeyError):
        return Rendered(None, later=roots.too_early)
