from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.model import Json
from gateway.upstreams.remote.breaker import Breaker
from gateway.upstreams.remote.sending import Payload, Sender
from gateway.upstreams.remote.transport import Answer
from tests.fixtures.fakes import FakeClock
from tests.fixtures.shelf import at_once


def failed(breaker: Breaker) -> None:
    breaker.silent(breaker.enter())


def opened(clock: FakeClock) -> Breaker:
    breaker = Breaker(clock, failures=3, rest_s=15)
    for _ in range(3):
        failed(breaker)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(FakeClock(), failures=3)
    for _ in range(5):
        failed(breaker)
        failed(breaker)
        breaker.enter()
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

    failed(breaker)

    with pytest.raises(UpstreamError):
        breaker.enter()
    clock.advance(seconds=16)
    assert breaker.enter().trial


def test_a_trial_that_tells_nothing_leaves_its_place_to_the_next() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    clock.advance(seconds=16)
    breaker.left(breaker.enter())
    assert breaker.enter().trial


def test_silence_from_before_it_opened_does_not_open_it_once_more() -> None:
    clock = FakeClock()
    breaker = Breaker(clock, failures=3, rest_s=15)
    old = [breaker.enter() for _ in range(20)]
    for sent in old[:3]:
        breaker.silent(sent)
    clock.advance(seconds=10)
    for sent in old[3:10]:
        breaker.silent(sent)
    clock.advance(seconds=6)
    breaker.enter()
    breaker.answered()
    for sent in old[10:]:
        breaker.silent(sent)
    assert not breaker.is_open


class Tool:
    """``Transport`` that does as it is told; ``sent`` counts what reached it."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self.does = does
        self.sent = 0

    async def send(self, request: Mapping[str, Json], **_: Any) -> Answer:
        self.sent += 1
        done = self.does()
        if asyncio.iscoroutine(done):
            done = await done
        if isinstance(done, Exception):
            raise done
        answer: Answer = done
        return answer


def answer(status: int, **more: bool) -> Answer:
    return Answer(view={"status": status}, result={}, **more)


class Asking:
    asked = True


async def _for_ever() -> None:
    await asyncio.sleep(60)


OF_THE_CALL: dict[str, tuple[Callable[[], Any], Any]] = {
    "refused": (lambda: answer(422, failed=True, proves_no_effect=True), None),
    "failed": (lambda: answer(500, failed=True), None),
    "ours": (lambda: UpstreamError("no body", blames_target=False), None),
    "an agent that was asked and is silent": (_for_ever, Asking()),
}
OF_THE_TOOL: dict[str, Callable[[], Any]] = {
    "away": lambda: answer(503, failed=True, away=True),
    "unreachable": lambda: UpstreamError("refused", reason="upstream.unreachable"),
    "broken": lambda: UpstreamError("reset", proves_no_effect=False),
    "silent": _for_ever,
}


@pytest.mark.parametrize("what", OF_THE_CALL)
async def test_what_one_agents_calls_meet_opens_it_for_nobody(what: str) -> None:
    does, body = OF_THE_CALL[what]
    tool, breaker = Tool(does), Breaker(FakeClock(), failures=3)
    sender = Sender(tool, breaker, deadline_s=0.01, pause=at_once)
    for _ in range(10):
        await sender.send(Payload(request={}, body=body))
    assert not breaker.is_open
    tool.does = lambda: answer(200)
    assert (await sender.send(Payload(request={}))).applied


@pytest.mark.parametrize("what", OF_THE_TOOL)
async def test_what_tells_of_the_tool_opens_it(what: str) -> None:
    tool, breaker = Tool(OF_THE_TOOL[what]), Breaker(FakeClock(), failures=3)
    sender = Sender(tool, breaker, deadline_s=0.01, pause=at_once)
    for _ in range(10):
        await sender.send(Payload(request={}))
    assert breaker.is_open
    assert tool.sent == 3


async def test_of_many_at_once_one_finds_out_and_then_all_go_through() -> None:
    clock, gate = FakeClock(), asyncio.Event()
    breaker = opened(clock)

    async def after_a_while() -> Answer:
        await gate.wait()
        return answer(200)

    tool = Tool(after_a_while)
    sender = Sender(tool, breaker, pause=at_once)
    clock.advance(seconds=16)
    asked = [asyncio.create_task(sender.send(Payload(request={}))) for _ in range(50)]
    done, waiting = await asyncio.wait(asked, timeout=0.2)
    assert (len(waiting), tool.sent) == (1, 1)
    assert all(task.result().proves_no_effect for task in done)
    gate.set()
    assert (await waiting.pop()).applied
    again = await asyncio.gather(*(sender.send(Payload(request={})) for _ in range(50)))
    assert all(sent.applied for sent in again)
    assert tool.sent == 51


async def test_a_trial_whose_caller_is_stopped_is_followed_by_another() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    sender = Sender(Tool(_for_ever), breaker, pause=at_once)
    clock.advance(seconds=16)
    trial = asyncio.create_task(sender.send(Payload(request={})))
    await asyncio.sleep(0.01)
    trial.cancel()
    await asyncio.wait([trial])
    assert breaker.enter().trial
