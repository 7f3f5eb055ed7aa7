"""Metrics: their names, and what is counted between two scrapes.

Counting is adding to plain numbers; ``prometheus_client`` is asked only when somebody scrapes. No
label has a value that an agent chooses: tools are those that are configured, reasons those of
``errors.REASONS``.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import __version__
from gateway.errors import REASONS, HoldfastError
from gateway.interfaces.metering import Meter
from gateway.model import Approval, Call, Reply, RevertJob
from gateway.pipeline import Pipeline

BUILD = "holdfast_build"
CALLS = "holdfast_calls"
CALL_SECONDS = "holdfast_call_seconds"
REFUSED = "holdfast_refused_requests"
OPEN_CALLS = "holdfast_open_calls"
FREEZES = "holdfast_freezes"
REVERTS = "holdfast_reverts"
REVERT_CONFLICTS = "holdfast_revert_conflicts"
SNAPSHOT_BYTES = "holdfast_snapshot_bytes"
STORE_SECONDS = "holdfast_store_write_seconds"
POLICY = "holdfast_policy"
POLICY_FAULT = "holdfast_policy_fault"
HELP: Mapping[str, str] = {
    BUILD: "The version that runs.",
    CALLS: "Calls answered, by surface, tool, the state that the answer told, and reason.",
    CALL_SECONDS: "From a call that was read to its answer.",
    REFUSED: "Requests that were refused before they were calls, by reason.",
    OPEN_CALLS: "Calls that have not ended, by state: held, executing, unknown and so on.",
    FREEZES: "Freezes in force.",
    REVERTS: "Reverts that ended, by state.",
    REVERT_CONFLICTS: "Rows and resources that reverts found changed by others.",
    SNAPSHOT_BYTES: "Bytes of images that were kept, before packing, by upstream.",
    STORE_SECONDS: "From a move that is to be written until it is durable.",
    POLICY: "The revision that decides.",
    POLICY_FAULT: "1 while an edit was refused or the policy server cannot be asked.",
}
OTHER = "other"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is looked up for one scrape."""

    open_calls: Mapping[str, int]
    freezes: int
    revision: str
    policy_fault: bool


class Histogram:
    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulated(self) -> list[tuple[str, int]]:
        found, count = [], 0
        for bound, here in zip((*map(str, BOUNDS), "+Inf"), self.buckets, strict=True):
            count += here
            found.append((bound, count))
        return found


class Telemetry:
    """A ``Meter``. ``tools`` are the names that may be labels."""

    def __init__(self, tools: Iterable[str]) -> None:
        self._tools = frozenset(tools)
        self.calls: dict[tuple[str, ...], int] = {}
        self.turned_away: dict[str, int] = {}
        self.latency: dict[tuple[str, ...], Histogram] = {}
        self.reverts: dict[str, int] = {}
        self.conflicts = 0
        self.bytes: dict[str, int] = {}
        self.writes = Histogram()

    def called(
        self, surface: str, tool: str, state: str, reason: str | None, seconds: float
    ) -> None:
        tool = tool if tool in self._tools else OTHER
        named = "" if reason is None else reason if reason in REASONS else OTHER
        key = (surface, tool, state, named)
        self.calls[key] = self.calls.get(key, 0) + 1
        latency = self.latency.get((surface, tool))
        if latency is None:
            latency = self.latency[(surface, tool)] = Histogram()
        latency.add(seconds)

    def refused(self, reason: str) -> None:
        """A request that was no call yet."""
        named = reason if reason in REASONS else OTHER
        self.turned_away[named] = self.turned_away.get(named, 0) + 1

    def wrote(self, seconds: float) -> None:
        self.writes.add(seconds)

    def kept(self, upstream: str, size: int) -> None:
        name = upstream if upstream in self._tools else OTHER
        self.bytes[name] = self.bytes.get(name, 0) + size

    def reverted(self, job: RevertJob) -> None:
        self.reverts[job.state] = self.reverts.get(job.state, 0) + 1
        self.conflicts += sum(len(step.conflicts) for step in job.steps)

    def text(self, standing: Standing) -> bytes:
        """Everything, as the text that Prometheus reads."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(_Told(self, standing)))  # type: ignore[arg-type] # collects


class _Told:
    """One scrape, as ``prometheus_client`` collects it."""

    def __init__(self, counted: Telemetry, standing: Standing) -> None:
        self._counted = counted
        self._standing = standing

    def collect(self) -> Iterator[object]:
        counted, now = self._counted, self._standing
        yield _info(BUILD, "version", __version__)
        yield _counter(CALLS, ("surface", "tool", "state", "reason"), counted.calls)
        yield _histogram(CALL_SECONDS, ("surface", "tool"), counted.latency)
        yield _counter(REFUSED, ("reason",), {(k,): v for k, v in counted.turned_away.items()})
        yield _gauge(OPEN_CALLS, ("state",), {(k,): v for k, v in now.open_calls.items()})
        yield _gauge(FREEZES, (), {(): now.freezes})
        yield _counter(REVERTS, ("state",), {(k,): v for k, v in counted.reverts.items()})
        yield _counter(REVERT_CONFLICTS, (), {(): counted.conflicts})
        yield _counter(SNAPSHOT_BYTES, ("upstream",), {(k,): v for k, v in counted.bytes.items()})
        yield _histogram(STORE_SECONDS, (), {(): counted.writes})
        yield _info(POLICY, "revision", now.revision)
        yield _gauge(POLICY_FAULT, (), {(): int(now.policy_fault)})


def _info(name: str, label: str, value: str) -> object:
    from prometheus_client.core import InfoMetricFamily

    return InfoMetricFamily(name, HELP[name], {label: value})


def _counter(name: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> object:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, HELP[name], labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> object:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, HELP[name], labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], Histogram]
) -> object:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, HELP[name], labels=labels)
    for key, value in values.items():
        family.add_metric(key, value.cumulated(), value.total)
    return family


class MeteredWalk:
    """``surfaces.wiring.Walk`` over another one, every answer counted."""

    def __init__(self, walk: Pipeline, meter: Meter) -> None:
        self._walk = walk
        self._meter = meter
        self.decide = walk.decide
        self.cancel = walk.cancel

    async def handle(self, call: Call) -> Reply:
        return await self._counted(str(call.surface), call.tool, self._walk.handle(call))

    async def resume(self, approval: Approval) -> Reply:
        return await self._counted("approval", OTHER, self._walk.resume(approval))

    async def _counted(self, surface: str, tool: str, walk: Coroutine[Any, Any, Reply]) -> Reply:
        began = time.monotonic()
        try:
            reply = await walk
        except HoldfastError as error:
            took = time.monotonic() - began
            self._meter.called(surface, tool, "error", error.reason, took)
            raise
        refusal, took = reply.outcome.refusal, time.monotonic() - began
        why = None if refusal is None else refusal.reason
        self._meter.called(surface, tool, str(reply.state), why, took)
        return reply
