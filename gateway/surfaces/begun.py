"""A coroutine that runs at once as far as it can: what is over then needs no deadline."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generator[Any, Any, T], Generic[T]):
    """``over``: ``value`` is there already. Otherwise it is awaited, once, by the task that made
    it. What the coroutine raises at once is raised here."""

    __slots__ = ("_held", "_waits_for", "_work", "over", "value")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._held = True
        self.over = False
        self.value: Any = None
        try:
            self._waits_for = work.send(None)
        except StopIteration as end:
            self.over, self.value = True, end.value

    def __await__(self) -> Generator[Any, Any, T]:
        return self

    # --- what ``await`` asks of what it waits for

    def send(self, value: Any, /) -> Any:
        if self.over:
            raise StopIteration(self.value)
        if self._held:
            self._held = False
            return self._waits_for
        return self._work.send(value)

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        trace: TracebackType | None = None,
        /,
    ) -> Any:
        if value is None and trace is None:
            return self._work.throw(kind)
        return self._work.throw(kind, value, trace)

    def close(self) -> None:
        self._work.close()
