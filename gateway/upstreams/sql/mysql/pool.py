"""Sessions of one account, lent to the event loop: each call into one runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.failures import FAILURES, upstream_error
from gateway.upstreams.sql.mysql.session import Door, Session, Timeouts

T = TypeVar("T")


class Lent:
    """A session that belongs to one task for a while. A task that is cancelled while the server
    works leaves the work behind; whoever takes the session back ends it."""

    def __init__(self, session: Session, source: str) -> None:
        self.session = session
        self._source = source
        self._work: asyncio.Future[Any] | None = None

    async def do(self, work: Callable[[Session], T]) -> T:
        """``work`` in a thread. Raises ``UpstreamError`` for what the server or the connection
        has to say; other exceptions as they are."""
        return await self._wait(
            asyncio.get_running_loop().run_in_executor(None, work, self.session), (self,)
        )

    async def do_with(self, other: Lent, work: Callable[[Session, Session], T]) -> T:
        """``work`` on two sessions in one thread."""
        future = asyncio.get_running_loop().run_in_executor(None, work, self.session, other.session)
        return await self._wait(future, (self, other))

    async def _wait(self, future: asyncio.Future[T], both: tuple[Lent, ...]) -> T:
        for lent in both:
            lent._work = future
        try:
            return await asyncio.shield(future)
        except FAILURES as error:
            raise upstream_error(error, self._source) from error
        finally:
            if future.done():
                for lent in both:
                    lent._work = None

    async def rest(self) -> None:
        """Ends work that nobody waits for any more."""
        if self._work is None:
            return
        self.session.interrupt()
        await asyncio.wait([self._work])
        if not self._work.cancelled():
            self._work.exception()  # looked at: nobody else will
        self._work = None


class Pool:
    """At most ``size`` sessions. A session comes back clean or not at all."""

    def __init__(self, source: str, url: str, *, size: int, timeouts: Timeouts) -> None:
        self._source = source
        self._door = Door(source, url, timeouts)
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._closed = False

    @property
    def database(self) -> str:
        return self._door.database

    def __repr__(self) -> str:
        return f"Pool({self._source!r})"

    def verify(self, session: Session) -> None:
        """Raises ``UpstreamError`` when a session is no longer as it was lent. Blocks."""
        self._door.verify(session)

    @asynccontextmanager
    async def session(self, wait_s: float = 10.0) -> AsyncIterator[Lent]:
        """A session outside of a transaction. Raises ``UpstreamError`` (unreachable, timeout)."""
        try:
            await asyncio.wait_for(self._slots.acquire(), wait_s)
        except TimeoutError:
            raise UpstreamError(
                f"All connections to source {self._source!r} are busy.", reason="upstream.timeout"
            ) from None
        try:
            lent = Lent(await asyncio.to_thread(self._take), self._source)
            try:
                yield lent
            finally:
                await asyncio.shield(self._give_back(lent))
        finally:
            self._slots.release()

    def _take(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if self._door.usable(session):
                return session
            session.close()
        return self._door.connect()

    async def _give_back(self, lent: Lent) -> None:
        await lent.rest()
        await asyncio.to_thread(self._keep, lent.session)

    def _keep(self, session: Session) -> None:
        if self._closed or not session.open or not self._door.renew(session):
            session.close()
            if not session.variety.abandons:
                self._door.end(session)
            return
        self._idle.append(session)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await asyncio.to_thread(self._idle.pop().close)
