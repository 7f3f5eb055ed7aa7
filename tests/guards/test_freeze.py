from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guards.freeze import Freezer, Window, Windows, frozen, reach_of
from gateway.interfaces import Frozen
from gateway.model import ActionClass, Freeze, Reach, Scope, Surface
from tests.fixtures.fakes import START, FakeClock, FakeUpstream, a_call, ids

WEEKEND = Window(
    name="weekend",
    cron="0 18 * * 5",
    duration=timedelta(hours=62),
    timezone="Europe/Berlin",
    scope=Scope(effects=("destructive", "ddl")),
)


def _reach(**kwargs: object) -> Reach:
    base: dict[str, object] = {
        "surface": Surface.SQL,
        "tool": "shop",
        "agent": "a7",
        "cls": ActionClass.WRITE,
        "verbs": ("update",),
        "tables": ("main.customers",),
    }
    return Reach(**{**base, **kwargs})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moment", "active"),
    [
        ("2026-03-06T16:59:59+00:00", False),  # Friday 17:59:59 in Berlin (winter)
        ("2026-03-06T17:00:00+00:00", True),
        ("2026-03-09T06:59:59+00:00", True),  # Monday 07:59:59
        ("2026-03-09T07:00:00+00:00", False),
        ("2026-03-27T16:59:59+00:00", False),  # the clocks go forward in this weekend
        ("2026-03-27T17:00:00+00:00", True),
        ("2026-03-30T06:59:59+00:00", True),  # 62 hours later, whatever the clocks say
        ("2026-03-30T07:00:00+00:00", False),
        ("2026-10-23T15:59:59+00:00", False),  # summer time: 17:59:59 in Berlin
        ("2026-10-23T16:00:00+00:00", True),
        ("2026-10-26T05:59:59+00:00", True),
        ("2026-10-26T06:00:00+00:00", False),
    ],
)
def test_a_recurring_window_follows_its_own_time_zone(moment: str, active: bool) -> None:
    found = Windows([WEEKEND]).active(datetime.fromisoformat(moment))
    assert bool(found) == active
    if found:
        assert found[0].id == "window:weekend"
        assert found[0].ends_at == found[0].starts_at + timedelta(hours=62)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))
def test_a_window_never_covers_more_or_less_than_its_duration(moment: datetime) -> None:
    start = WEEKEND.started(moment)
    if start is None:
        assert WEEKEND.started(moment - WEEKEND.duration) != moment - WEEKEND.duration
    else:
        assert start <= moment < start + WEEKEND.duration


def test_the_refusal_names_every_freeze_that_stops_the_call() -> None:
    freezes = [
        Freeze(id="f1", scope=Scope(), reason="release", starts_at=START),
        Freeze(id="f2", scope=Scope(tables=("orders",)), reason="x", starts_at=START),
        Freeze(
            id="f3",
            scope=Scope(agents=("a7",)),
            reason="incident",
            starts_at=START,
            ends_at=START + timedelta(hours=1),
        ),
    ]
    refusal = frozen(_reach(), freezes, START)
    assert refusal is not None
    assert refusal.reason == "frozen"
    assert [f["id"] for f in refusal.extra["freezes"]] == ["f1", "f3"]
    assert refusal.extra["freezes"][1]["until"] == "2026-03-02T10:00:00+00:00"
    assert frozen(_reach(cls=ActionClass.READ), freezes, START) is None
    late = frozen(_reach(), freezes[2:], START + timedelta(hours=1))
    assert late is None


async def test_the_reach_of_a_call_has_what_was_measured_too() -> None:
    call = a_call("customers")
    action = await FakeUpstream().parse(call)
    reach = reach_of(call, action, ("main.audit_log",))  # type: ignore[arg-type]
    assert reach.tables == ("main.audit_log", "main.customers")
    assert reach.verbs == ("update",)


class _Store:
    """A freeze store with one call in flight that ends when it is cancelled, or never."""

    def __init__(self, *, stubborn: bool) -> None:
        self.running = ["call_1"]
        self.stubborn = stubborn
        self.cancelled: list[str] = []

    async def freeze(self, freeze: Freeze) -> Frozen:
        return Frozen(freeze=freeze, in_flight=tuple(self.running))

    async def in_flight(self, scope: Scope) -> list[str]:
        return list(self.running)

    async def cancel(self, id: str) -> None:
        self.cancelled.append(id)
        if not self.stubborn:
            self.running.remove(id)

    async def lift(self, id: str, *, by: str) -> Freeze | None:
        return None

    async def freezes(self, *, lifted: bool = False) -> list[Freeze]:
        return []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_drained_is_said_only_when_nothing_in_scope_runs(stubborn: bool) -> None:
    store = _Store(stubborn=stubborn)
    freezer = Freezer(store, Windows([]), FakeClock(), ids(), store.cancel, drain_timeout_s=0.2)
    answer = await freezer.freeze(Scope(), reason="stop", by="admin", drain=True)
    assert answer.in_flight == ("call_1",)
    assert store.cancelled == ["call_1"]
    assert answer.drained is not stubborn


async def test_a_freeze_without_drain_says_what_is_still_in_flight() -> None:
    store = _Store(stubborn=True)
    freezer = Freezer(store, Windows([]), FakeClock(), ids(), store.cancel)
    answer = await freezer.freeze(Scope(), reason="stop", by="admin")
    assert not answer.drained
    assert store.cancelled == []
