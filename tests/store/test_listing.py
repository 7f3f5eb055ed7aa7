"""Pages of calls and snapshots, in both stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.errors import Malformed
from gateway.interfaces import Store
from gateway.lifecycle import State
from gateway.model import Deny
from tests.fixtures.fakes import START, a_call
from tests.fixtures.stores import DONE, FAILED, done, permitted, running


async def ids(store: Store, **wanted: object) -> list[str]:
    records, cursor = await store.calls(**wanted)  # type: ignore[arg-type]
    assert cursor is None
    return [r.call.id for r in records]


async def test_pages_hold_every_call_once_newest_first(store: Store) -> None:
    made = [(await done(store)).id for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        page, cursor = await store.calls(limit=3, cursor=cursor)
        seen += [r.call.id for r in page]
        pages += 1
        if cursor is None:
            break
    assert (seen, pages) == (made[::-1], 3)


async def test_newest_is_by_the_order_of_the_permits(store: Store) -> None:
    early, late = a_call(), a_call()
    first, second = await running(store, early), await running(store, late)
    await permitted(store, second, late)
    await permitted(store, first, early)
    await store.settle(first, DONE)
    await store.settle(second, DONE)
    assert await ids(store) == [early.id, late.id]


async def test_each_filter_keeps_what_it_names(store: Store) -> None:
    one = await done(store, a_call(session="s1"))
    two = await done(store, a_call(session="s2", agent="b1", received_at=START + timedelta(1)))
    three = a_call(tool="other", received_at=START + timedelta(2))
    await store.refuse(three, Deny(reason="policy.denied", detail="x"))
    back = replace(a_call(session="s3", agent="admin"), reverts=(one.id,))
    await store.settle(await running(store, back), FAILED)
    assert await ids(store, session="s2") == [two.id]
    assert await ids(store, agent="b1") == [two.id]
    assert await ids(store, agent="b1", session="s1") == []
    assert await ids(store, tool="other") == [three.id]
    assert await ids(store, since=START + timedelta(1)) == [three.id, two.id]
    assert await ids(store, until=START + timedelta(1), reverts=False) == [one.id]
    assert await ids(store, reverts=True) == [back.id]
    assert await ids(store, states=[State.DENIED]) == [three.id]
    assert len(await ids(store, states=[State.DENIED, State.SUCCEEDED])) == 3


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "١"])
async def test_a_cursor_that_was_never_given_is_malformed(store: Store, cursor: str) -> None:
    with pytest.raises(Malformed):
        await store.calls(cursor=cursor)
    with pytest.raises(Malformed):
        await store.snapshots(cursor=cursor)


async def test_snapshots_are_listed_newest_first(store: Store) -> None:
    made = [(await done(store)).id for _ in range(3)]
    first, cursor = await store.snapshots(limit=2)
    rest, end = await store.snapshots(limit=2, cursor=cursor)
    assert [s.call for s in (*first, *rest)] == made[::-1]
    assert end is None
    [only] = (await store.snapshots(call=made[0]))[0]
    assert (only.upstream, only.kind, only.bytes, only.reversibility) == ("box", "fake", 6, "exact")
