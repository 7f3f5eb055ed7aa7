from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.model import Json
from gateway.upstreams.remote.breaker import Breaker
from gateway.upstreams.remote.plan import Retry
from gateway.upstreams.remote.sending import Payload, Sender
from gateway.upstreams.remote.transport import Answer
from tests.fixtures.fakes import FakeClock
from tests.fixtures.shelf import Shelf, at_once

PUT = {"do": "put", "id": "1", "body": "x"}
RETRY = Retry(attempts=3, base_s=0.2, most_s=0.3)


def sender(shelf: Shelf) -> Sender:
    return Sender(shelf, Breaker(FakeClock()), pause=at_once)


async def test_an_opaque_request_is_never_sent_again_after_silence() -> None:
    shelf = Shelf(faults=["lost", "lost"])

    sent = await sender(shelf).send(Payload(request=PUT), RETRY)

    assert (sent.applied, sent.proves_no_effect, len(shelf.effects)) == (False, False, 1)


async def test_what_was_refused_before_it_was_sent_may_be_sent_again() -> None:
    shelf = Shelf(faults=["refused", "refused"])

    sent = await sender(shelf).send(Payload(request=PUT), RETRY)

    assert sent.applied
    assert len(shelf.effects) == 1


async def test_a_request_that_was_always_refused_had_no_effect() -> None:
    sent = await sender(Shelf(faults=["refused"] * 3)).send(Payload(request=PUT), RETRY)

    assert sent.proves_no_effect


async def test_a_repeatable_request_is_sent_until_it_is_answered() -> None:
    shelf = Shelf(faults=["lost", "swallowed"], heeds_keys=True)

    sent = await sender(shelf).send(Payload(request=PUT, key="k", repeatable=True), RETRY)

    assert sent.applied
    assert sent.attempts == 3
    assert len(shelf.effects) == 1


async def test_an_error_after_silence_proves_nothing() -> None:
    shelf = Shelf(faults=["swallowed", "rejected"])

    sent = await sender(shelf).send(Payload(request=PUT, key="k", repeatable=True), RETRY)

    assert sent.answer is not None
    assert sent.answer.proves_no_effect
    assert not sent.proves_no_effect, "the first request may still arrive"


async def test_an_error_alone_proves_what_it_says() -> None:
    sent = await sender(Shelf(faults=["rejected"])).send(Payload(request=PUT), RETRY)
    assert sent.proves_no_effect


async def test_an_earlier_owners_request_counts_as_silence() -> None:
    sent = await sender(Shelf(faults=["rejected"])).send(Payload(request=PUT), RETRY, doubt=True)
    assert not sent.proves_no_effect


async def test_a_server_error_is_no_proof_and_only_repeated_where_that_is_safe() -> None:
    shelf = Shelf(faults=["broken"])
    sent = await sender(shelf).send(Payload(request=PUT), RETRY)
    assert not sent.proves_no_effect
    assert len(shelf.seen) == 1

    shelf = Shelf(faults=["broken"])
    assert (await sender(shelf).send(Payload(request=PUT, repeatable=True), RETRY)).applied
    assert len(shelf.seen) == 2


async def test_pauses_grow_are_bounded_and_jittered() -> None:
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    shelf = Shelf(faults=["refused"] * 9)
    patient = Sender(shelf, Breaker(FakeClock(), failures=99), pause=pause, jitter=lambda: 0.5)
    await patient.send(Payload(request=PUT), Retry(attempts=5, base_s=0.2, most_s=1.0))

    assert waits == [0.1, 0.2, 0.4, 0.5]


class Mute:
    async def send(self, request: Mapping[str, Json], **_: Any) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError("never")


async def test_a_deadline_bounds_everything_and_leaves_doubt() -> None:
    impatient = Sender(Mute(), Breaker(FakeClock()), deadline_s=0.05, pause=at_once)

    sent = await impatient.send(Payload(request=PUT, repeatable=True), RETRY)

    assert sent.error is not None
    assert sent.error.reason == "upstream.timeout"
    assert not sent.proves_no_effect


async def test_a_read_is_asked_again_once_and_then_given_up() -> None:
    shelf = Shelf(items={"1": "x"}, read_faults=["swallowed"])
    assert (await sender(shelf).ask({"do": "get", "id": "1"})).view["body"] == "x"

    shelf.read_faults = ["swallowed", "swallowed"]
    with pytest.raises(UpstreamError):
        await sender(shelf).ask({"do": "get", "id": "1"})


async def test_an_open_circuit_after_silence_does_not_remove_the_doubt() -> None:
    shelf = Shelf(faults=["swallowed"] * 5)
    breaker = Breaker(FakeClock(), failures=2)
    tried = Sender(shelf, breaker, pause=at_once)

    sent = await tried.send(Payload(request=PUT, repeatable=True), Retry(attempts=5))

    assert len(shelf.seen) == 2, "the circuit opened"
    assert not sent.proves_no_effect
