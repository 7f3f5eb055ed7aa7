"""A coroutine that runs at once as far as it can: what is over then needs no deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """``over``: ``value`` is there already. Otherwise it is awaited, once, by the task that made
    it. What the coroutine raises at once is raised here."""

    __slots__ = ("_waits_for", "_work", "over", "value")

    def __init__(self, work: Awaitable[T]) -> None:
        assert isinstance(work, Coroutine)
        self._work: Coroutine[Any, Any, T] = work
        self.over = False
        self.value: Any = None
        try:
            self._waits_for = work.send(None)
        except StopIteration as end:
            self.over, self.value = True, end.value

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for if not self.over else None
        while not self.over:
            try:
                try:
                    answer = yield waits_for
                except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(answer)
            except StopIteration as end:
                self.over, self.value = True, end.value
        value: T = self.value
        return value
