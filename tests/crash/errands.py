"""The scenario of the kill tests over a remote tool: every call touches an item of its own, so the
tool's ledger tells how often each took effect."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.audit import digest_of
from gateway.model import Call, Subject, Surface, ToolClass
from gateway.upstreams.remote.plan import Probing, Retry
from tests.fixtures.shelf import probing

FENCE_S = 0.4  # longer than the tool double delays a request
ITEMS = {f"i{number}": f"old{number}" for number in range(8)}
VERBS = {"B": ("post", "put", "delete"), "C": ("put", "delete"), "D": ("post", "put", "delete")}


@dataclass(frozen=True)
class Errand:
    number: int
    verb: str

    @property
    def id(self) -> str:
        return f"i{self.number}"

    @property
    def request(self) -> dict[str, Any]:
        if self.verb == "post":
            return {"do": "post", "body": f"made{self.number}"}
        if self.verb == "put":
            return {"do": "put", "id": self.id, "body": f"new{self.number}"}
        return {"do": "delete", "id": self.id}

    def effects(self, ledger: Sequence[Sequence[Any]]) -> int:
        """How often it happened."""
        method, body = self.verb.upper(), self.request.get("body")
        if self.verb == "post":
            return sum(1 for e in ledger if (e[0], e[2]) == (method, body))
        return sum(1 for e in ledger if (e[0], e[1], e[2]) == (method, self.id, body))

    def call(self) -> Call:
        return Call(
            id=f"call_r{self.number:03d}",
            subject=Subject(id="a7", roles=("developer",), session="crash"),
            surface=Surface.HTTP,
            tool="shelf",
            request=self.request,
            digest=digest_of(Surface.HTTP, "shelf", self.request),
            received_at=datetime.now(UTC),
            idempotency_key=f"r{self.number}",
        )


def errands(seed: int, tool_class: str, count: int = 5) -> list[Errand]:
    rng = random.Random(seed)
    return [Errand(number, rng.choice(VERBS[tool_class])) for number in range(count)]


def _tells(verb: str) -> Probing:
    def put_happened(values: Mapping[str, Any]) -> bool | None:
        return bool(values["response"]["body"] == values["request"]["body"])

    def delete_happened(values: Mapping[str, Any]) -> bool | None:
        return bool(values["response"]["status"] == 404)

    happened = put_happened if verb == "put" else delete_happened
    return replace(probing(None, FENCE_S), happened=happened)


def declared(tool_class: str) -> dict[str, dict[str, Any]]:
    """How the tool's verbs are declared in this class; nothing is repeatable by itself."""
    common = {"tool_class": ToolClass(tool_class), "safe": False, "fence_s": FENCE_S}
    plans: dict[str, dict[str, Any]] = {verb: dict(common) for verb in VERBS[tool_class]}
    for verb, plan in plans.items():
        if tool_class == "B":
            plan["retry"] = Retry(attempts=3)
            plan["undo_keyed"] = True
        if tool_class == "C":
            plan["probing"] = _tells(verb)
    return plans
