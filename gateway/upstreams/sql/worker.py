"""Parsing of long texts in processes of their own: what takes too long is killed, what crashes
takes only its process along, and the event loop is never held up."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import pickle
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from gateway.model import Deny

# Characters; shorter texts are parsed in place. That takes a few milliseconds, and a fourth of a
# thread's usual stack however deep the text nests.
SMALL_TEXT = 2000

_START_TIMEOUT_S = 30.0
_MAX_WAITING = 32
_MEMORY = 4 << 30  # bytes of address space for one process
_OK, _FAILED = "ok", "failed"

T = TypeVar("T")


class ParseWorker:
    """A few processes, started when first needed. ``preload``: modules that each process imports
    before its clock runs. Close it: ``await worker.close()``."""

    def __init__(self, *, size: int = 1, preload: tuple[str, ...] = ()) -> None:
        self._preload = preload
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="parse")
        self._idle: SimpleQueue[_Parser] = SimpleQueue()
        self._waiting = 0

    async def run(self, fn: Callable[..., T], *args: object, timeout_s: float) -> T | Deny:
        """``fn(*args)`` in a process; function, arguments and result must pickle.

        ``Deny``: ``too_large`` when it took longer than ``timeout_s``, ``sql.unparsable`` when it
        raised or its process died, ``overloaded`` when too many wait.
        """
        if self._waiting >= _MAX_WAITING:
            return Deny(reason="overloaded", detail="Too many long texts wait to be parsed.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._exchange, fn, args, timeout_s)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Ends the processes; waits for what is being parsed, for its timeout at most."""
        await asyncio.get_running_loop().run_in_executor(None, self._shut_down)

    def _shut_down(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        while True:
            try:
                self._idle.get_nowait().end()
            except Empty:
                return

    def _exchange(self, fn: Callable[..., T], args: tuple[object, ...], timeout_s: float) -> Any:
        # Runs in one of the threads: as many processes as threads can be in use.
        try:
            parser = self._idle.get_nowait()
        except Empty:
            parser = _Parser(self._preload)
        answer = parser.ask(fn, args, timeout_s)
        if parser.alive:
            self._idle.put(parser)
        return answer


class _Parser:
    """One process and the pipe to it."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, preload), daemon=True, name="holdfast-parse"
        )
        self._process.start()
        theirs.close()
        self.alive = True
        self._ready = False

    def ask(self, fn: Callable[..., Any], args: tuple[object, ...], timeout_s: float) -> Any:
        try:
            if not self._ready:
                if not self._pipe.poll(_START_TIMEOUT_S):
                    self.end()
                    return Deny(reason="overloaded", detail="The parser did not start in time.")
                self._pipe.recv()
                self._ready = True
            self._pipe.send((fn, args))
            if not self._pipe.poll(timeout_s):
                self.end()
                return Deny(
                    reason="too_large", detail=f"The SQL could not be read within {timeout_s:g} s."
                )
            kind, answer = self._pipe.recv()
        except (EOFError, OSError):
            self.end()
            return Deny(reason="sql.unparsable", detail="The SQL brought the parser down.")
        if kind == _FAILED:
            return Deny(reason="sql.unparsable", detail=f"The parser failed on the SQL: {answer}.")
        return answer

    def end(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


def _serve(pipe: Connection, preload: tuple[str, ...]) -> None:
    """The life of a process: until its pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which closes us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for module in preload:
        importlib.import_module(module)
    pipe.send(_OK)
    while True:
        try:
            fn, args = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(_answer(fn, args))


def _answer(fn: Callable[..., Any], args: tuple[object, ...]) -> bytes:
    try:
        return pickle.dumps((_OK, fn(*args)))
    except Exception as error:  # noqa: BLE001 - whatever it is becomes a refusal over there
        return pickle.dumps((_FAILED, type(error).__name__))
