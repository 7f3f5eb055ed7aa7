"""From running to settled, reverted and recovered, in both stores."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ImageDamaged
from gateway.interfaces import Pace, StaleGeneration, Store
from gateway.lifecycle import IllegalMove, State
from gateway.model import (
    Call,
    CallRecord,
    Deny,
    EffectState,
    Hold,
    Intent,
    Measured,
    Outcome,
    Permit,
    Reversibility,
    RowCounts,
    Running,
    Scope,
    Step,
)
from gateway.store import keeping
from gateway.store.binding import find_answer
from gateway.store.sealing import Keys
from tests.fixtures.fakes import FakeClock, a_call
from tests.fixtures.stores import (
    DONE,
    FAILED,
    LEASE,
    UNKNOWN,
    begun,
    done,
    freeze,
    intended,
    permitted,
    reach,
    reverted,
    running,
    undo,
)

CONFLICT = Outcome(state=State.CONFLICT, effect=EffectState.NONE)


async def record_of(store: Store, call: Call) -> CallRecord:
    record = await store.call(call.id)
    assert record is not None
    return record


def a_revert(*targets: Call) -> Call:
    return replace(a_call(verb="revert"), reverts=tuple(t.id for t in targets))


async def take_back(store: Store, *targets: Call) -> Call:
    call = a_revert(*targets)
    token = await running(store, call)
    assert isinstance(await permitted(store, token, call), Permit)
    await store.settle(token, reverted(*(t.id for t in targets)))
    return call


async def test_a_permit_keeps_image_receipt_and_extent(store: Store, clock: FakeClock) -> None:
    call = a_call()
    token = await running(store, call)
    until = clock.now() + timedelta(days=1)
    assert isinstance(await permitted(store, token, call, expires_at=until), Permit)
    record = await record_of(store, call)
    assert (record.permitted, record.receipt) == (True, f"receipt {call.id}")
    assert record.measured is not None
    assert record.measured["rows"] == 2
    assert await store.undo_of(call.id) == undo()
    assert not record.undo.available  # nothing has landed yet
    settled = await store.settle(token, DONE)
    assert settled.undo.available
    assert (settled.undo.reversibility, settled.undo.expires_at) == (Reversibility.EXACT, until)
    entry = json.loads((await store.entries())[2].body)
    assert entry["event"] == "call.permit"
    assert entry["snapshot"]["bytes"] == 6
    assert len(entry["snapshot"]["sha256"]) == 64


@pytest.mark.parametrize("size", [0, 1, 1024, 1025, 300_000])
async def test_images_of_any_size_come_back_as_they_were(store: Store, size: int) -> None:
    image = bytes(n * n % 251 for n in range(size))
    call = await done(store, way_back=undo(image))
    back = await store.undo_of(call.id)
    assert back is not None
    assert back.image == image


async def test_an_effect_without_rows_needs_no_snapshot(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    permit = await store.permit(
        token,
        undo=None,
        receipt="r",
        measured=Measured(),
        reach=(await record_of(store, call)).reach,  # type: ignore[arg-type]
        windows=(),
        expires_at=None,
    )
    assert isinstance(permit, Permit)
    record = await store.settle(token, DONE)
    assert (record.snapshot, record.undo.available) == (None, False)
    assert await store.undo_of(call.id) is None
    assert await store.undo_of("call_none") is None


async def test_a_freeze_between_begin_and_permit_stops_the_landing(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    answer = await store.freeze(freeze())
    assert answer.in_flight == (call.id,)
    refused = await permitted(store, token, call, way_back=undo(b"x" * 5000))
    assert isinstance(refused, Deny)
    assert refused.reason == "frozen"
    record = await record_of(store, call)
    assert (record.state, record.permitted) == (State.EXECUTING, False)
    assert (await store.snapshots())[0] == []
    assert (await store.settle(token, FAILED)).state is State.FAILED


async def test_a_permit_is_judged_by_the_tables_that_were_measured(store: Store) -> None:
    await store.freeze(freeze(scope=Scope(tables=("audit_trail",))))
    call = a_call()
    token = await running(store, call)
    refused = await permitted(store, token, call, tables=("main.audit_trail",))
    assert isinstance(refused, Deny)


async def test_a_call_gets_one_permit(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    with pytest.raises(IllegalMove):
        await permitted(store, token, call)


async def test_a_call_settles_once(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    await store.settle(token, DONE)
    before = await record_of(store, call)
    for outcome in (DONE, FAILED, UNKNOWN):
        with pytest.raises(StaleGeneration):
            await store.settle(token, outcome)
    assert await record_of(store, call) == before
    refused = await permitted(store, token, call)
    assert isinstance(refused, Deny)


@pytest.mark.parametrize(
    "outcome",
    [
        DONE,  # an effect without a permit
        replace(FAILED, effect=EffectState.APPLIED),
        replace(FAILED, effect=EffectState.UNKNOWN),
        replace(UNKNOWN, effect=EffectState.NONE),
        replace(DONE, state=State.REVERTED, effect=EffectState.NONE),
        replace(CONFLICT),
        replace(DONE, state=State.DENIED, effect=EffectState.NONE),
        replace(DONE, state=State.EXECUTING, effect=EffectState.NONE),
    ],
)
async def test_an_outcome_that_cannot_be_true_is_not_written(
    store: Store, outcome: Outcome
) -> None:
    call = a_call()
    token = await running(store, call)
    with pytest.raises(IllegalMove):
        await store.settle(token, outcome)
    assert (await record_of(store, call)).state is State.EXECUTING
    assert len(await store.entries()) == 2


async def test_a_call_that_failed_drops_its_images(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call, way_back=undo(b"y" * 9000))
    record = await store.settle(token, FAILED)
    assert not record.undo.available
    assert await store.undo_of(call.id) is None
    [info] = (await store.snapshots())[0]
    assert info.deleted_at is not None
    settled, erased = [json.loads(e.body) for e in (await store.entries())[-2:]]
    assert settled["dropped"] == erased["sha256"] == info.sha256
    assert erased["event"] == "snapshot.erase"


async def test_an_unknown_outcome_is_settled_later_by_whoever_asked(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    assert (await store.settle(token, UNKNOWN)).state is State.UNKNOWN
    assert await store.undo_of(call.id) == undo()
    assert (await store.settle(token, DONE)).state is State.SUCCEEDED


async def test_the_outcome_comes_back_as_it_was_given(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    outcome = Outcome(
        state=State.SUCCEEDED,
        effect=EffectState.NONE,
        result={"rows": [[1, "é\ud800", None, 2**70, 0.1, {"a": []}]]},
    )
    record = await store.settle(token, outcome)
    assert record.outcome == outcome
    assert await store.call(call.id) == record


# --- reverts -------------------------------------------------------------------------------


async def test_a_revert_claims_its_targets_and_keeps_them(store: Store) -> None:
    target = await done(store)
    back = await take_back(store, target)
    record = await record_of(store, target)
    assert (record.state, record.reverted_by) == (State.SUCCEEDED, back.id)
    assert (await record_of(store, back)).state is State.REVERTED
    again = await begun(store, a_revert(target))
    assert isinstance(again, Deny)
    assert again.reason == "revert.not_revertible"
    assert again.extra["call"] == target.id


async def test_a_revert_can_be_reverted_and_its_own_targets_stay_reverted(store: Store) -> None:
    target = await done(store)
    back = await take_back(store, target)
    redo = await take_back(store, back)
    assert (await record_of(store, back)).reverted_by == redo.id
    assert (await record_of(store, target)).reverted_by == back.id


async def test_one_bad_target_claims_none(store: Store) -> None:
    good, open_ = await done(store), a_call()
    await running(store, open_)
    failed = a_call()
    await store.settle(await running(store, failed), FAILED)
    no_way = await done(store, way_back=undo(b"", Reversibility.IRREVERSIBLE))
    for bad in (open_, failed, no_way, a_call()):
        answer = await intended(store, a_revert(good, bad))
        assert isinstance(answer, Deny)
        assert answer.reason == "revert.not_revertible"
        assert (answer.extra["call"], "why" in answer.extra) == (bad.id, True)
        assert (await record_of(store, good)).reverted_by is None


async def test_expired_or_deleted_images_cannot_be_reverted(store: Store, clock: FakeClock) -> None:
    expired = await done(store, expires_at=clock.now() + timedelta(hours=1))
    deleted = await done(store)
    clock.advance(hours=2)
    [*infos] = (await store.snapshots(call=deleted.id))[0]
    assert await store.delete_snapshot(infos[0].id, by="ann")
    for target in (expired, deleted):
        assert not (await record_of(store, target)).undo.available
        assert isinstance(await intended(store, a_revert(target)), Deny)


@pytest.mark.parametrize("outcome", [CONFLICT, FAILED])
async def test_a_revert_without_effect_gives_up_its_claims(store: Store, outcome: Outcome) -> None:
    target = await done(store)
    call = a_revert(target)
    await store.settle(await running(store, call), outcome)
    assert (await record_of(store, target)).reverted_by is None
    await take_back(store, target)


async def test_a_revert_keeps_only_what_it_took_back(store: Store) -> None:
    one, two = await done(store), await done(store)
    call = a_revert(two, one)
    token = await running(store, call)
    await permitted(store, token, call)
    steps = tuple(
        Step(call=c.id, upstream="box", action="restore", state=s)
        for c, s in ((two, "reverted"), (one, "partial"))
    )
    await store.settle(
        token, Outcome(state=State.REVERTED, effect=EffectState.APPLIED, steps=steps)
    )
    assert (await record_of(store, two)).reverted_by == call.id
    assert (await record_of(store, one)).reverted_by is None


async def test_an_unknown_revert_keeps_its_claims_until_it_is_known(store: Store) -> None:
    target = await done(store)
    call = a_revert(target)
    token = await running(store, call)
    await permitted(store, token, call)
    await store.settle(token, UNKNOWN)
    assert (await record_of(store, target)).reverted_by == call.id
    settled = await store.settle(token, reverted(target.id))
    assert settled.state is State.SUCCEEDED
    assert (await record_of(store, target)).reverted_by == call.id


async def test_a_freeze_does_not_stop_a_revert(store: Store) -> None:
    target = await done(store)
    await store.freeze(freeze())
    back = await take_back(store, target)
    assert (await record_of(store, target)).reverted_by == back.id


async def test_a_revert_that_is_denied_at_its_beginning_gives_up_its_claims(store: Store) -> None:
    target = await done(store)
    intent = await intended(store, a_revert(target))
    assert isinstance(intent, Intent)
    assert isinstance(await store.begin(intent, windows=(), revision="r2", lease=LEASE), Deny)
    assert (await record_of(store, target)).reverted_by is None


# --- recovery ------------------------------------------------------------------------------


async def test_recovery_takes_what_is_overdue_with_the_next_generation(
    store: Store, clock: FakeClock
) -> None:
    call, target = a_call(), await done(store)
    token = await running(store, call)
    back = a_revert(target)
    intent = await intended(store, back)
    assert isinstance(intent, Intent)
    assert await store.take_over(everything=False, lease=LEASE) == []
    clock.advance(seconds=61)
    taken = {r.call.id: (r, t) for r, t in await store.take_over(everything=False, lease=LEASE)}
    record, fresh = taken[call.id]
    assert fresh is not None
    assert (record.state, record.generation, fresh.generation) == (State.EXECUTING, 2, 2)
    record, none = taken[back.id]
    assert (record.state, record.effect, none) == (State.FAILED, EffectState.NONE, None)
    assert (await record_of(store, target)).reverted_by is None
    with pytest.raises(StaleGeneration):
        await store.settle(token, FAILED)
    stale = await permitted(store, token, call)
    assert isinstance(stale, Deny)
    late = await store.begin(intent, windows=(), revision="r1", lease=LEASE)
    assert isinstance(late, Deny)
    assert await store.take_over(everything=False, lease=LEASE) == []
    assert (await store.settle(fresh, FAILED)).generation == 2


async def test_a_fresh_process_takes_everything_that_is_open(store: Store) -> None:
    unknown, held_, executing = a_call(), a_call(), a_call()
    token = await running(store, unknown)
    await permitted(store, token, unknown)
    await store.settle(token, UNKNOWN)
    await running(store, executing)
    await store.hold(held_, Hold(), action={}, reach=reach(held_))
    taken: list[Any] = await store.take_over(everything=True, lease=LEASE)
    assert {r.call.id for r, _ in taken} == {executing.id, unknown.id}
    for record, running_ in taken:
        assert isinstance(running_, Running)
        assert running_.generation == record.generation
        await store.settle(running_, DONE if record.call.id == unknown.id else FAILED)
    assert (await record_of(store, held_)).state is State.HELD


def files_under(folder: Path) -> list[Path]:
    return [found for found in folder.rglob("image-*") if found.is_file()]


@pytest.mark.parametrize("size", [100, 50_000])
async def test_a_spooled_image_comes_back_in_pieces(store: Store, size: int) -> None:
    images = store._images  # type: ignore[attr-defined]
    call = a_call()
    token = await running(store, call)
    image = os.urandom(size)
    with images.spool(most=size) as spool:
        spool.write(image)
        way_back = replace(undo(b""), spooled=spool.finish())
        await permitted(store, token, call, way_back=way_back)
    await store.settle(token, DONE)
    kept = await store.undo_of(call.id)
    assert kept is not None
    assert (kept.image, kept.spooled) == (b"", way_back.spooled)
    assert b"".join(images.read(kept)) == image


async def test_a_spooled_image_that_gets_no_permit_is_removed(store: Store, tmp_path: Path) -> None:
    images = store._images  # type: ignore[attr-defined]
    call = a_call()
    token = await running(store, call)
    await store.freeze(freeze())
    with images.spool(most=50_000) as spool:
        spool.write(os.urandom(50_000))
        way_back = replace(undo(b""), spooled=spool.finish())
        refused = await permitted(store, token, call, way_back=way_back)
    assert isinstance(refused, Deny)
    assert files_under(tmp_path) == []


# --- outcomes without transactions ----------------------------------------------------------


@pytest.mark.parametrize("size", [10, 20_000])
async def test_what_the_answer_told_is_kept_with_the_images_and_goes_with_them(
    store: Store, tmp_path: Path, size: int
) -> None:
    kept = {"after": os.urandom(size).hex(), "seen": True}
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    record = await store.settle(token, replace(DONE, kept=kept))
    assert record.outcome == DONE, "kept for the way back alone"
    found = await store.undo_of(call.id)
    assert found is not None
    assert found.answer == kept

    [info] = (await store.snapshots())[0]
    assert await store.delete_snapshot(info.id, by="ann")

    assert await store.undo_of(call.id) is None
    assert files_under(tmp_path / "images") == []


async def test_an_unknown_outcome_is_resolved_once_and_by_name(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    assert await store.resolve(call.id, DONE, by="ann", note="n") is None, "it still runs"
    await store.settle(token, UNKNOWN)

    record = await store.resolve(call.id, replace(DONE, kept={"seen": False}), by="ann", note="n")

    assert record is not None
    assert record.state is State.SUCCEEDED
    entry = json.loads((await store.entries())[-1].body)
    assert (entry["by"], entry["note"], entry["to"]) == ("ann", "n", "succeeded")
    assert await store.resolve(call.id, FAILED, by="bob", note=None) is None
    assert await store.resolve("call_none", FAILED, by="bob", note=None) is None


async def test_a_person_who_finds_no_effect_drops_the_images(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    await store.settle(token, UNKNOWN)
    record = await store.resolve(call.id, FAILED, by="ann", note=None)
    assert record is not None
    assert not record.undo.available
    assert await store.undo_of(call.id) is None


async def test_a_lease_is_renewed_by_its_owner_alone(store: Store, clock: FakeClock) -> None:
    call = a_call()
    token = await running(store, call)
    clock.advance(seconds=50)
    assert await store.renew(token, lease=LEASE)
    clock.advance(seconds=50)
    assert await store.take_over(everything=False, lease=LEASE) == []
    clock.advance(seconds=LEASE.total_seconds())
    [(_, taken)] = await store.take_over(everything=False, lease=LEASE)
    assert taken is not None
    assert not await store.renew(token, lease=LEASE)
    assert await store.renew(taken, lease=LEASE)


async def test_only_who_holds_a_permitted_call_gets_its_permit_again(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    assert await store.permitted(token) is None
    await permitted(store, token, call)
    [(_, taken)] = await store.take_over(everything=True, lease=LEASE)
    assert taken is not None
    assert await store.permitted(token) is None
    again = await store.permitted(taken)
    assert isinstance(again, Permit)
    assert (again.call, again.generation) == (call.id, taken.generation)
    await store.settle(taken, UNKNOWN)
    assert await store.permitted(taken) is None, "what is unknown is not sent again"


async def test_an_unknown_call_is_offered_to_recovery_every_time(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    await store.settle(token, UNKNOWN)
    for _ in range(2):
        [(record, same)] = await store.take_over(everything=False, lease=LEASE)
        assert record.state is State.UNKNOWN
        assert same is not None
        assert same.generation == token.generation


async def test_an_answer_is_sealed_with_the_key_of_its_image(store: Store) -> None:
    images = store._images  # type: ignore[attr-defined]
    images.keys = keys = Keys({"k1": bytes(32)}, active="k1")
    first, second = a_call(), a_call()
    for call in (first, second):
        token = await running(store, call)
        await permitted(store, token, call)
        await store.settle(token, replace(DONE, kept={"after": "secret"}))
    found = await store.undo_of(first.id)
    assert found is not None
    assert found.answer == {"after": "secret"}
    rows = [await store._read(lambda t, c=c: keeping.kept(t, c.id)) for c in (first, second)]  # type: ignore[attr-defined]
    assert "secret" not in rows[0].answer
    assert find_answer(keys, rows[0]) == {"after": "secret"}
    with pytest.raises(ImageDamaged):
        find_answer(keys, rows[0]._replace(answer=rows[1].answer))


async def test_an_outcome_is_recorded_even_where_its_answer_cannot_be_sealed(store: Store) -> None:
    images = store._images  # type: ignore[attr-defined]
    images.keys = keys = Keys({"k1": bytes(32)}, active="k1")
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call)
    images.keys = None
    record = await store.settle(token, replace(DONE, kept={"seen": True}))
    assert record.state is State.SUCCEEDED
    images.keys = keys
    found = await store.undo_of(call.id)
    assert found is not None
    assert found.answer is None


async def test_the_rows_of_an_agent_within_a_window_have_a_budget(
    store: Store, clock: FakeClock
) -> None:
    pace = Pace(rows=5, within=timedelta(seconds=60))

    async def asked(agent: str = "a7", *, rows: int = 2, verb: str = "update") -> Any:
        call = a_call(agent=agent, received_at=clock.now(), verb=verb)
        token = await running(store, call)
        measured = Measured(tables={"t": RowCounts(updated=rows)})
        answer = await store.permit(
            token, undo=undo(), receipt=call.id, measured=measured, reach=reach(call),
            windows=(), expires_at=None, pace=pace,
        )  # fmt: skip
        return token, answer

    first, given = await asked()
    assert isinstance(given, Permit)
    assert isinstance((await asked())[1], Permit)
    _, refused = await asked()
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.extra["changed"]) == ("limit.budget", 4)
    assert isinstance((await asked(rows=1))[1], Permit)
    assert isinstance((await asked("b8"))[1], Permit), "another agent has its own"
    await store.settle(first, FAILED)
    assert isinstance((await asked())[1], Permit), "what had no effect gives its rows back"
    clock.advance(seconds=61)
    assert isinstance((await asked(rows=5))[1], Permit)


async def test_a_call_that_runs_under_a_permit_may_have_landed(store: Store) -> None:
    call = a_call()
    token = await running(store, call)
    assert (await record_of(store, call)).effect is EffectState.NONE
    await permitted(store, token, call)
    assert (await record_of(store, call)).effect is EffectState.UNKNOWN
    await store.settle(token, DONE)
    assert (await record_of(store, call)).effect is EffectState.APPLIED
