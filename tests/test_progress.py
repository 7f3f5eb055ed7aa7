from __future__ import annotations

from contextlib import closing

from gateway.model import Conflict, Step
from gateway.progress import Progress, Told
from gateway.store.memory import MemoryStore
from tests.fixtures.fakes import FakeClock


def conflict(key: int) -> Conflict:
    return Conflict(resource="t", key=key, before={"v": "é"}, after=None, now=[1, 2.5])


def step(*conflicts: Conflict) -> Step:
    return Step(call="c", upstream="u", action="restore", state="conflict", conflicts=conflicts)


async def everything(store: MemoryStore) -> list[tuple[str, Conflict]]:
    found: list[tuple[str, Conflict]] = []
    cursor: str | None = None
    while True:
        page, cursor = await store.conflicts("rev", limit=700, cursor=cursor)
        found += page
        if cursor is None:
            return found


async def test_every_conflict_reaches_the_store_once_and_in_order() -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    for _ in range(2):  # as after a crash, when the revert runs again
        with closing(Told(Progress())) as told:
            for key in range(1500):
                told.conflict("c", conflict(key))
            await told.keep(store, "rev", [step(conflict(0))])
    assert await everything(store) == [("c", conflict(key)) for key in range(1500)]


async def test_an_upstream_that_tells_nothing_has_its_conflicts_in_the_steps() -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    with closing(Told(Progress())) as told:
        await told.keep(store, "rev", [step(conflict(1), conflict(2))])
    assert await everything(store) == [("c", conflict(1)), ("c", conflict(2))]


def test_progress_is_what_was_told_last() -> None:
    progress = Progress()
    with closing(Told(progress)) as told:
        told.progress(3, 9)
        told.progress(5, 9)
    assert (progress.done, progress.total) == (5, 9)
