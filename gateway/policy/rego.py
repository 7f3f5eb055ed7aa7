"""Rego in process: policies from a folder, hot reload that keeps what works, decisions that never
raise."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from watchfiles import awatch

from gateway.errors import PolicyInvalid, PreconditionFailed
from gateway.interfaces import Context
from gateway.model import Action, Call, Decision, Finding, Json
from gateway.policy.compiled import Compiled, EngineFailed, TestReport, compile_files, release
from gateway.policy.folder import check_file, read_folder, write_file
from gateway.policy.input import fault_of, policy_input
from gateway.policy.result import decision_from, unavailable

_log = logging.getLogger(__name__)
_MAX_INPUT = 8 * 1024 * 1024  # characters of the document as JSON
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_INLINE_VALUES = 2_000
_INLINE_TEXT = 64 * 1024


class EmbeddedPolicy:
    """``Policy`` over the ``*.rego`` files and the ``data.yaml`` (or ``data.json``) of ``folder``,
    which is also a valid OPA bundle root. A decision that takes longer than ``deadline_s`` is a
    denial."""

    def __init__(self, folder: Path, *, deadline_s: float = 0.25) -> None:
        self._folder = folder
        self._deadline_s = deadline_s
        self._active: Compiled | None = None
        self._passed = 0
        self._fault: str | None = None
        self._changing = asyncio.Lock()
        self._stop = asyncio.Event()
        # One thread for what takes long: checking edits, and judging large documents.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy")

    @property
    def revision(self) -> str:
        return "" if self._active is None else self._active.revision

    @property
    def fault(self) -> str | None:
        """Why the files on disk are not the ones in force; ``None`` when they are."""
        return self._fault

    async def open(self) -> None:
        """Loads the folder. Raises ``PolicyInvalid``."""
        await self.reload()

    async def close(self) -> None:
        """Ends ``watch``; the policy decides nothing any more."""
        self._stop.set()
        self._active = None
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def check(self) -> list[Finding]:
        if self._fault is not None:
            return [Finding(level="error", about="policy", message=self._fault)]
        message = f"revision {self.revision} active, {self._passed} tests passed"
        return [Finding(level="info", about="policy", message=message)]

    async def reload(self) -> str:
        """Compiles and tests the folder aside and swaps it in; returns the revision. Raises
        ``PolicyInvalid`` and keeps what was active."""
        async with self._changing:
            try:
                compiled, report = await self._checked(self._load)
            except PolicyInvalid as error:
                self._fault = error.detail
                raise
            self._activate(compiled, report)
            return compiled.revision

    async def _checked(
        self, work: Callable[[], tuple[Compiled, TestReport]]
    ) -> tuple[Compiled, TestReport]:
        def without_frames() -> tuple[Compiled, TestReport] | PolicyInvalid:
            # Raised anew outside: the frames of the worker hold engines that must die there.
            try:
                return work()
            except PolicyInvalid as error:
                return PolicyInvalid(error.detail, **error.extra)
            finally:
                release()

        found = await asyncio.get_running_loop().run_in_executor(self._worker, without_frames)
        if isinstance(found, PolicyInvalid):
            raise found
        return found

    def _load(self) -> tuple[Compiled, TestReport]:
        return compile_files(read_folder(self._folder), deadline_s=self._deadline_s)

    def _activate(self, compiled: Compiled, report: TestReport) -> None:
        self._active = compiled
        self._passed = report.passed
        self._fault = None
        _log.info("revision %s active, %d tests passed", compiled.revision, report.passed)

    async def watch(self) -> None:
        """Reloads whenever the folder changes, until ``close``. Run it as a task."""
        async for _ in awatch(self._folder, stop_event=self._stop, recursive=False):
            try:
                await self.reload()
            except PolicyInvalid as error:
                shown = (f"{f['file']}:{f['line']}: {f['message']}" for f in error.extra["faults"])
                _log.error("edit refused, revision %s stays: %s", self.revision, "; ".join(shown))

    # --- deciding ---------------------------------------------------------------------------

    def document(self, call: Call, action: Action, context: Context) -> dict[str, Json]:
        return policy_input(call, action, context)

    async def decide(self, document: Mapping[str, Json]) -> Decision:
        active = self._active
        if active is None:
            return unavailable("no policies are loaded")
        if not _is_small(document):
            # In a thread the checks of a large document leave the event loop its turns.
            return await self._decided_aside(active, document)
        # What it took by itself: that the machine was busy with others is not the policies' doing.
        began = time.thread_time()
        decision = _decided(active, document)
        if time.thread_time() - began > self._deadline_s:
            return unavailable("the decision took too long", active.revision)
        return decision

    async def _decided_aside(self, active: Compiled, document: Mapping[str, Json]) -> Decision:
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._worker, _decided_large, active, document)
            return await asyncio.wait_for(work, self._deadline_s)
        except (TimeoutError, RuntimeError):  # RuntimeError: closed meanwhile
            return unavailable("the decision took too long", active.revision)

    # --- editing ----------------------------------------------------------------------------

    def files(self) -> list[dict[str, Json]]:
        """``{"name", "text"}`` of every file in force, by name."""
        texts = {} if self._active is None else self._active.files.texts
        return [{"name": name, "text": text} for name, text in sorted(texts.items())]

    async def put(self, name: str, text: str, if_match: str | None = None) -> str:
        """Replaces or adds one file after checking and testing the whole set with it; returns the
        new revision. Raises ``PolicyInvalid``, or ``PreconditionFailed`` when ``if_match`` is not
        the revision in force."""
        async with self._changing:
            if if_match is not None and if_match != self.revision:
                raise PreconditionFailed(
                    f"The policies are at revision {self.revision} by now.", revision=self.revision
                )
            compiled, report = await self._checked(lambda: self._store(name, text))
            self._activate(compiled, report)
            return compiled.revision

    def _store(self, name: str, text: str) -> tuple[Compiled, TestReport]:
        check_file(name, text)
        files = read_folder(self._folder).with_file(name, text)
        checked = compile_files(files, deadline_s=self._deadline_s)
        write_file(self._folder, name, text)
        return checked

    async def test(self) -> TestReport:
        """Runs the tests of the policies in force."""
        active = self._active
        if active is None:
            return TestReport(passed=0)
        return await asyncio.get_running_loop().run_in_executor(self._worker, active.test)


def _decided(active: Compiled, document: Mapping[str, Json]) -> Decision:
    fault = fault_of(document)
    if fault is not None:
        return unavailable(fault, active.revision)
    try:
        result = active.decision(document, _text_of)
    except EngineFailed as error:
        return unavailable(f"the policies failed ({error})", active.revision)
    return decision_from(result, active.revision)


def _decided_large(active: Compiled, document: Mapping[str, Json]) -> Decision:
    if fault_of(document) is None:
        try:
            _text_of(document)  # also where an answer is remembered: what is huge is refused
        except _TooLarge:
            return unavailable("the policy input is too large", active.revision)
    return _decided(active, document)


class _TooLarge(Exception):
    pass


def _text_of(document: Mapping[str, Json]) -> str:
    text = _encode(document)
    if len(text) > _MAX_INPUT:
        raise _TooLarge
    return text


def _is_small(document: object) -> bool:
    """Whether checking and judging ``document`` takes well under a millisecond or two."""
    values, text = _INLINE_VALUES, _INLINE_TEXT
    waiting = [document]
    while waiting:
        value = waiting.pop()
        values -= 1
        kind = type(value)
        if kind is str:
            text -= len(value)  # type: ignore[arg-type] # known by its type
        elif value is None or kind is bool or kind is int:
            continue
        elif isinstance(value, Mapping):
            values -= len(value)
            waiting.extend(value.values() if values > 0 else ())
        elif isinstance(value, list | tuple):
            values -= len(value)
            waiting.extend(value if values > 0 else ())
        if values < 0 or text < 0:
            return False
    return True
