from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.display import shown, shown_aside
from gateway.upstreams.sql.worker import ParseWorker


@pytest.fixture
async def worker() -> AsyncIterator[ParseWorker]:
    worker = ParseWorker(preload=("gateway.upstreams.sql.display",))
    yield worker
    await worker.close()


def sleep_then(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fail() -> None:
    raise KeyError("secret text")


async def test_runs_a_function_in_another_process(worker: ParseWorker) -> None:
    pid = await worker.run(os.getpid, timeout_s=5)

    assert isinstance(pid, int)
    assert pid != os.getpid()
    assert await worker.run(os.getpid, timeout_s=5) == pid


async def test_what_takes_too_long_is_killed_and_the_next_runs(worker: ParseWorker) -> None:
    first = await worker.run(os.getpid, timeout_s=5)
    started = time.monotonic()

    late = await worker.run(sleep_then, 60.0, 1, timeout_s=0.2)

    assert isinstance(late, Deny)
    assert late.reason == "too_large"
    assert time.monotonic() - started < 10
    assert await worker.run(sleep_then, 0.0, 7, timeout_s=5) == 7
    assert await worker.run(os.getpid, timeout_s=5) != first


async def test_a_crash_is_a_refusal_and_the_next_runs(worker: ParseWorker) -> None:
    crashed = await worker.run(die, timeout_s=5)

    assert isinstance(crashed, Deny)
    assert crashed.reason == "sql.unparsable"
    assert await worker.run(sleep_then, 0.0, 7, timeout_s=5) == 7


async def test_an_exception_is_a_refusal_without_its_text(worker: ParseWorker) -> None:
    failed = await worker.run(fail, timeout_s=5)

    assert isinstance(failed, Deny)
    assert failed.reason == "sql.unparsable"
    assert "secret" not in failed.detail


async def test_too_many_that_wait_are_refused(worker: ParseWorker) -> None:
    answers = await asyncio.gather(
        *(worker.run(sleep_then, 0.01, n, timeout_s=5) for n in range(60))
    )

    refused = [a for a in answers if isinstance(a, Deny)]
    assert {a.reason for a in refused} == {"overloaded"}
    assert [a for a in answers if not isinstance(a, Deny)] == list(range(32))


async def test_a_call_that_is_given_up_does_not_mix_up_answers(worker: ParseWorker) -> None:
    await worker.run(os.getpid, timeout_s=5)
    given_up = asyncio.create_task(worker.run(sleep_then, 0.3, 1, timeout_s=5))
    await asyncio.sleep(0.05)
    given_up.cancel()

    assert await worker.run(sleep_then, 0.0, 2, timeout_s=5) == 2
    assert given_up.cancelled()


async def test_closing_ends_the_processes() -> None:
    worker = ParseWorker()
    pid = await worker.run(os.getpid, timeout_s=5)
    assert isinstance(pid, int)

    await worker.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES " + ",".join("(1, 'abc', 2.5)" for _ in range(20_000)),
        "SELECT " + "(" * 1_000 + "1" + ")" * 1_000 + " -- " + "x" * 5_000,
        "SELECT '" + "x" * 1_000_000 + "'",
    ],
    ids=["20,000 rows", "1,000 parentheses", "1 MB"],
)
async def test_the_event_loop_goes_on_while_long_texts_are_read(
    worker: ParseWorker, sql: str
) -> None:
    await worker.run(os.getpid, timeout_s=5)  # started
    gaps: list[float] = []
    done = False

    async def tick() -> None:
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    await shown_aside(worker, sql, "postgres", timeout_s=2)
    done = True
    await ticking

    assert statistics.median(gaps) < 0.02


async def test_short_texts_are_shown_in_place() -> None:
    worker = ParseWorker()
    try:
        assert await shown_aside(worker, "SELECT 1", "sqlite", timeout_s=1) == shown(
            "SELECT 1", "sqlite"
        )
    finally:
        await worker.close()
