from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.remote.breaker import Breaker
from tests.fixtures.fakes import FakeClock


def opened(clock: FakeClock) -> Breaker:
    breaker = Breaker(clock, failures=3, rest_s=15)
    for _ in range(3):
        breaker.enter()
        breaker.silent()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(FakeClock(), failures=3)
    for _ in range(5):
        breaker.silent()
        breaker.silent()
        breaker.answered()
    assert not breaker.is_open


def test_what_an_open_circuit_stops_was_never_sent() -> None:
    breaker = opened(FakeClock())

    with pytest.raises(UpstreamError) as raised:
        breaker.enter()

    assert raised.value.proves_no_effect
    assert raised.value.reason == "upstream.unreachable"


def test_after_its_rest_one_goes_through_and_the_others_wait_for_it() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    clock.advance(seconds=16)

    breaker.enter()
    with pytest.raises(UpstreamError):
        breaker.enter()
    breaker.answered()

    breaker.enter()
    assert not breaker.is_open


def test_a_trial_that_fails_opens_it_again() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    clock.advance(seconds=16)

    breaker.enter()
    breaker.silent()

    with pytest.raises(UpstreamError):
        breaker.enter()
