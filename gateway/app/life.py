"""The life of a process: opening, background work, closing in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from gateway.app.parts import Parts
from gateway.app.places import shared_places
from gateway.config import Config
from gateway.demo.running import crm_running
from gateway.demo.shop import seed_shop
from gateway.errors import ConfigInvalid, StoreUnavailable
from gateway.interfaces import AuditStore, CallRecords, Clock, Store
from gateway.lifecycle import State
from gateway.model import Finding
from gateway.policy.rego import EmbeddedPolicy

log = structlog.get_logger("holdfast")

RECOVERY_EVERY_S = 5.0
EXPIRY_EVERY_S = 300.0
APPROVALS_EVERY_S = 30.0
CHECKPOINT_EVERY_S = 60.0
UNKNOWN_EVERY_S = 5.0


@contextlib.asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Parts]:
    """Opens every part, settles what a crash left open, keeps the background work going, and
    closes everything in reverse order."""
    seed_sources(parts.config)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(parts.store.close)
        await parts.store.open()
        stack.push_async_callback(parts.policy.close)
        await parts.policy.open()
        for tool in parts.config.tools.values():
            if tool.demo_data is not None:
                await stack.enter_async_context(crm_running(tool.base_url, Path(tool.demo_data)))
        for source in parts.targets.values():
            stack.push_async_callback(source.close)
            await source.open()
        await _report(parts)
        await _apart(parts)
        await parts.recovery.settle(everything=True)
        await parts.reverter.resume()
        tasks = [asyncio.create_task(work) for work in _background(parts)]
        stack.push_async_callback(_stop, tasks)
        stack.push_async_callback(parts.reverter.close, parts.config.server.drain_s)
        stack.push_async_callback(parts.pipeline.close, parts.config.server.drain_s)
        yield parts


async def _report(parts: Parts) -> None:
    for name, source in parts.sources.items():
        _tell(name, await source.check())


async def _report_servers(parts: Parts) -> None:
    """Beside everything else: a server that is slow to start must not hold up the gateway."""
    for name, server in parts.servers.items():
        _tell(name, await server.check())


def _tell(name: str, findings: list[Finding]) -> None:
    for finding in findings:
        write = {"error": log.error, "warning": log.warning}.get(finding.level, log.info)
        write("source.checked", source=name, about=finding.about, finding=finding.message)


async def _apart(parts: Parts) -> None:
    """Raises ``ConfigInvalid`` where images would be lost with their source and may not be."""
    shared = await shared_places(parts.config, parts.sources)
    for finding in shared:
        log.warning("images.endangered", about=finding.about, finding=finding.message)
    refused = [finding.message for finding in shared if finding.level == "error"]
    if refused:
        raise ConfigInvalid(" ".join(refused), faults=[])


def _background(parts: Parts) -> list[Coroutine[Any, Any, None]]:
    work = [
        _report_servers(parts),
        parts.recovery.watch(RECOVERY_EVERY_S),
        _every(EXPIRY_EVERY_S, lambda: parts.store.expire_snapshots(parts.clock.now())),
        _every(EXPIRY_EVERY_S, parts.purger.propose_expired),
        _every(APPROVALS_EVERY_S, lambda: expire_approvals(parts.store, parts.clock)),
        _every(UNKNOWN_EVERY_S, Unknowns(parts.store).look),
    ]
    if isinstance(parts.policy, EmbeddedPolicy) and parts.config.policy.watch:
        work.append(parts.policy.watch())
    if parts.config.audit.checkpoint_file is not None:
        file = Path(parts.config.audit.checkpoint_file)
        work.append(_every(CHECKPOINT_EVERY_S, Checkpoints(parts.store, file).write))
    return work


async def _every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await act()
        except StoreUnavailable as error:
            log.error("background.failed", reason=error.reason)
        await asyncio.sleep(seconds)


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def expire_approvals(store: Store, clock: Clock) -> None:
    """Refuses the held calls whose approval nobody gave in time."""
    held, _ = await store.calls(states=(State.HELD,), limit=1000)
    for record in held:
        approval = await store.approval(record.approval) if record.approval else None
        if approval is not None and approval.expires_at <= clock.now():
            # A decision that comes too late expires the approval, whatever it says.
            await store.decide_approval(approval.id, approve=False, by="gateway", note=None)


class Unknowns:
    """Raises the alarm about every call of unknown outcome, once."""

    def __init__(self, store: CallRecords) -> None:
        self._store = store
        self._known: frozenset[str] = frozenset()

    async def look(self) -> None:
        records, _ = await self._store.calls(states=(State.UNKNOWN,), limit=1000)
        for record in records:
            if record.call.id not in self._known:
                log.error(
                    "calls.unknown",
                    call=record.call.id,
                    tool=record.call.tool,
                    agent=record.call.subject.id,
                    unknown=len(records),
                )
        self._known = frozenset(record.call.id for record in records)


class Checkpoints:
    """Keeps the newest entry's number and hash in ``file``, whole or not at all."""

    def __init__(self, store: AuditStore, file: Path) -> None:
        self._store = store
        self._file = file
        self._seq = 0

    async def write(self) -> None:
        last = None
        while page := await self._store.entries(after=self._seq):
            last = page[-1]
            self._seq = last.seq
        if last is not None:
            text = json.dumps({"seq": last.seq, "hash": last.hash}) + "\n"
            await asyncio.to_thread(self._replace, text)

    def _replace(self, text: str) -> None:
        draft = self._file.with_name(self._file.name + ".new")
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)


def seed_sources(config: Config) -> None:
    """Fills the demo sources whose file does not exist."""
    for settings in config.sources.values():
        if settings.seed == "shop" and settings.path is not None:
            seed_shop(Path(settings.path))
