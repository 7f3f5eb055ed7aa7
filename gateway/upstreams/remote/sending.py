"""Sending: once, or again where that is safe, within a deadline and behind the circuit breaker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import UpstreamError
from gateway.interfaces import Probe, no_probe
from gateway.model import Json
from gateway.upstreams.remote.breaker import Breaker, Pass
from gateway.upstreams.remote.plan import Retry
from gateway.upstreams.remote.transport import Answer, Transport

_chance = secrets.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What is sent. ``key``: the idempotency key of a keyed tool. ``repeatable``: sending it again
    has no further effect, because of the key or because it is declared so."""

    request: Mapping[str, Json]
    key: str | None = None
    body: Any = None
    live: bool = False
    repeatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How sending ended: with the tool's ``answer``, or with the last ``error``. ``doubt``: an
    attempt before the last one may have had an effect, or may still have one."""

    answer: Answer | None
    error: UpstreamError | None
    doubt: bool
    attempts: int

    @property
    def applied(self) -> bool:
        return self.answer is not None and not self.answer.failed

    @property
    def proves_no_effect(self) -> bool:
        """The end itself shows that nothing happened, and nothing earlier is unresolved."""
        if self.doubt:
            return False
        if self.answer is not None:
            return self.answer.failed and self.answer.proves_no_effect
        return self.error is not None and self.error.proves_no_effect


class Sender:
    """``deadline_s`` bounds one call's sending, pauses included."""

    def __init__(
        self,
        transport: Transport,
        breaker: Breaker,
        *,
        deadline_s: float = 60.0,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = _chance.random,
        probe: Probe = no_probe,
    ) -> None:
        self._transport = transport
        self._breaker = breaker
        self._deadline_s = deadline_s
        self._pause = pause
        self._jitter = jitter
        self._probe = probe

    async def send(
        self,
        payload: Payload,
        retry: Retry | None = None,
        *,
        doubt: bool = False,
        allowed: Callable[[], bool] | None = None,
    ) -> Sent:
        """Never raises ``UpstreamError``. ``doubt``: a request sent earlier is unresolved.
        ``allowed`` is asked again before anything is sent once more: whoever was held up may have
        been taken over."""
        retry = retry or Retry()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._deadline_s
        attempt = 0
        while True:
            sent = await self._once(payload, ends - loop.time(), doubt, attempt + 1)
            attempt += 1
            if not _again(sent, payload) or attempt >= max(1, retry.attempts):
                return sent
            wait = self._wait(retry, attempt)
            if loop.time() + wait >= ends:
                return sent
            doubt = doubt or _doubtful(sent)
            self._probe("sending.pausing")
            await self._pause(wait)
            if allowed is not None and not allowed():
                return sent
            self._probe("sending.again")

    def _wait(self, retry: Retry, attempt: int) -> float:
        return min(retry.most_s, retry.base_s * 2.0 ** (attempt - 1)) * self._jitter()

    async def rest(self, retry: Retry, attempt: int) -> None:
        """The pause after ``attempt``, for those who look at the tool before they repeat."""
        await self._pause(self._wait(retry, attempt))

    async def ask(self, request: Mapping[str, Json], retry: Retry | None = None) -> Answer:
        """A read, which may always be repeated. Raises ``UpstreamError`` without an answer."""
        sent = await self.send(
            Payload(request=request, repeatable=True), retry or Retry(attempts=2)
        )
        if sent.answer is not None:
            return sent.answer
        assert sent.error is not None
        raise UpstreamError(sent.error.detail, reason=sent.error.reason)

    async def _once(self, payload: Payload, left_s: float, doubt: bool, number: int) -> Sent:
        answer: Answer | None = None
        error: UpstreamError | None = None
        try:
            entered = self._breaker.enter()
        except UpstreamError as stopped:
            return Sent(answer=None, error=stopped, doubt=doubt, attempts=number)
        told = False
        try:
            async with asyncio.timeout(left_s):
                answer = await self._transport.send(
                    payload.request, key=payload.key, body=payload.body, live=payload.live
                )
            told = self._note(entered, away=answer.away)
        except UpstreamError as raised:
            error = raised
            if raised.blames_target:
                told = self._note(entered, away=True)
        except TimeoutError:
            # Where the agent was asked in between, it may be the one that did not answer.
            if not getattr(payload.body, "asked", False):
                told = self._note(entered, away=True)
            error = UpstreamError(
                "The tool did not answer in time.",
                reason="upstream.timeout",
                proves_no_effect=False,
            )
        finally:
            if not told:
                self._breaker.left(entered)
        return Sent(answer=answer, error=error, doubt=doubt, attempts=number)

    def _note(self, entered: Pass, *, away: bool) -> bool:
        if away:
            self._breaker.silent(entered)
        else:
            self._breaker.answered()
        return True


def _doubtful(sent: Sent) -> bool:
    """Whether this attempt, seen alone, may have had an effect or may still have one."""
    if sent.answer is not None:
        return not sent.answer.proves_no_effect
    return sent.error is not None and not sent.error.proves_no_effect


def _again(sent: Sent, payload: Payload) -> bool:
    """What was never sent may be sent by anybody; after doubt, only what is safe to repeat."""
    if sent.answer is not None:
        return sent.answer.failed and not sent.answer.proves_no_effect and payload.repeatable
    return payload.repeatable or (sent.error is not None and sent.error.proves_no_effect)
