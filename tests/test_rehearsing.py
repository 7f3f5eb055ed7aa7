from __future__ import annotations

from typing import Any

import pytest

from gateway.lifecycle import State
from gateway.model import Allow, Deny, EffectState, Measured, Obligations, Reversibility, RowCounts
from gateway.pipeline import Pipeline
from gateway.rehearsing import Rehearsals
from tests.fixtures.fakes import FakePolicy, FakeUpstream, a_call
from tests.fixtures.walks import Walks, walks

INEXACT = Deny(reason="undo.inexact", detail="it differs")


class Tried(FakeUpstream):
    """A target that can rehearse: answers ``said`` and keeps what it was asked."""

    said: Deny | None = None
    asked: list[bool]

    def attempt(self, call: Any, action: Any) -> Any:
        inner = super().attempt(call, action)
        target = self

        class _Opening:
            async def __aenter__(self) -> Any:
                attempt = await inner.__aenter__()

                async def rehearse(*, demanded: bool) -> Deny | None:
                    target.asked.append(demanded)
                    return target.said

                attempt.rehearse = rehearse
                return attempt

            async def __aexit__(self, *what: Any) -> Any:
                return await inner.__aexit__(*what)

        return _Opening()


async def house(rehearse: bool | None, *, can: bool = True, rows: int = 10) -> tuple[Walks, Tried]:
    box = Tried(data={"a": "0", "b": "0"}) if can else FakeUpstream(data={"a": "0", "b": "0"})
    box.asked = []  # type: ignore[attr-defined]
    w = await walks(box=box, policy=FakePolicy(Allow(obligations=Obligations(rehearse=rehearse))))
    assert isinstance(w.pipeline, Pipeline)
    w.pipeline._rehearsals = Rehearsals(rows=rows)
    return w, box  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("verb", "rehearse", "rows", "asked"),
    [
        ("delete", None, 10, [False]),
        ("delete", None, 0, []),
        ("delete", False, 10, []),
        ("delete", True, 0, [True]),
        ("update", None, 10, []),
        ("update", True, 10, [True]),
        ("drop", None, 10, []),
        ("drop", True, 10, [True]),
    ],
)
async def test_what_is_rehearsed(
    verb: str, rehearse: bool | None, rows: int, asked: list[bool]
) -> None:
    w, box = await house(rehearse, rows=rows)
    reply = await w.pipeline.handle(a_call("a", None, verb=verb))
    assert reply.effect is EffectState.APPLIED
    assert box.asked == asked


async def test_a_way_back_that_is_not_exact_stops_the_call() -> None:
    w, box = await house(None)
    box.said = INEXACT
    reply = await w.pipeline.handle(a_call("a", None, verb="delete"))
    assert (reply.state, reply.effect) == (State.FAILED, EffectState.NONE)
    assert reply.outcome.refusal == INEXACT
    assert box.effects == []
    record = await w.store.call(reply.call)
    assert record is not None
    assert not record.permitted


@pytest.mark.parametrize("demanded", [True, None])
async def test_a_target_that_cannot_rehearse_refuses_only_what_is_demanded(
    demanded: bool | None,
) -> None:
    w, box = await house(demanded, can=False)
    reply = await w.pipeline.handle(a_call("a", None, verb="delete"))
    if demanded:
        assert reply.outcome.refusal is not None
        assert reply.outcome.refusal.reason == "undo.unavailable"
    assert bool(box.effects) is not bool(demanded)


async def test_what_has_no_exact_way_back_cannot_be_rehearsed() -> None:
    w, box = await house(True)
    box.reversibility = Reversibility.COMPENSABLE
    reply = await w.pipeline.handle(a_call("a", None, verb="delete"))
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "undo.unavailable"
    assert (box.asked, box.effects) == ([], [])


async def test_the_demand_of_the_second_decision_counts() -> None:
    rehearsals = Rehearsals()
    box = FakeUpstream()
    async with box.attempt(a_call(), None) as attempt:  # type: ignore[arg-type]
        action = await box.parse(a_call("a", None, verb="delete"))
        assert not isinstance(action, Deny)
        said = await rehearsals.capture(
            attempt,
            action,
            Measured(tables={"t": RowCounts(deleted=1)}),
            (Obligations(), Obligations(rehearse=True)),
        )
    assert isinstance(said, Deny)
    assert said.reason == "undo.unavailable"
