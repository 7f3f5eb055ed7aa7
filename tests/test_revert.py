from __future__ import annotations

import pytest

from gateway.errors import Malformed, NotFound
from gateway.lifecycle import State
from gateway.model import EffectState, OnConflict
from gateway.revert import RevertRequest
from tests.fixtures.fakes import FakeUpstream, a_call
from tests.fixtures.walks import Walks, walks


async def done(w: Walks, key: str, value: str | None, **kwargs: str) -> str:
    reply = await w.pipeline.handle(a_call(key, value, received_at=w.clock.now(), **kwargs))  # type: ignore[arg-type]
    assert reply.effect is EffectState.APPLIED
    return reply.call


def request(on_conflict: OnConflict = OnConflict.ABORT, **target: object) -> RevertRequest:
    plan = bool(target.pop("plan", False))
    return RevertRequest(target=target, by="admin", plan=plan, on_conflict=on_conflict)


async def test_a_reverted_call_leaves_the_state_before_it() -> None:
    w = await walks()
    call = await done(w, "a", "1")
    job = await w.reverter.revert(request(call=call))
    assert job.state == "reverted"
    assert [(s.call, s.state, s.restored) for s in job.steps] == [(call, "reverted", 1)]
    assert w.box.data == {"a": "0", "b": "0"}
    record = await w.store.call(call)
    assert record is not None
    assert record.state is State.SUCCEEDED  # settled states never change
    assert record.reverted_by is not None


async def test_a_second_revert_of_the_same_call_is_refused() -> None:
    w = await walks()
    call = await done(w, "a", "1")
    await w.reverter.revert(request(call=call))
    again = await w.reverter.revert(request(call=call))
    assert again.state == "failed"
    assert again.steps[0].reason == "revert.not_revertible"
    assert len(w.box.effects) == 2


async def test_a_revert_can_itself_be_reverted() -> None:
    w = await walks()
    call = await done(w, "a", "1")
    await w.reverter.revert(request(call=call))
    record = await w.store.call(call)
    assert record is not None
    redo = await w.reverter.revert(request(call=record.reverted_by))
    assert redo.state == "reverted"
    assert w.box.data["a"] == "1"


async def test_a_conflict_lists_before_after_and_now_and_changes_nothing() -> None:
    w = await walks()
    call = await done(w, "a", "1")
    w.box.data["a"] = "theirs"
    job = await w.reverter.revert(request(call=call))
    assert job.state == "conflict"
    [conflict] = job.steps[0].conflicts
    assert (conflict.before, conflict.after, conflict.now) == ("0", "1", "theirs")
    assert w.box.data["a"] == "theirs"
    w.box.data["a"] = "1"
    assert (await w.reverter.revert(request(call=call))).state == "reverted"


async def test_force_overwrites_and_keeps_the_list() -> None:
    w = await walks()
    call = await done(w, "a", "1")
    w.box.data["a"] = "theirs"
    job = await w.reverter.revert(request(OnConflict.FORCE, call=call))
    assert w.box.data["a"] == "0"
    assert len(job.steps[0].conflicts) == 1


async def test_a_plan_shows_all_and_changes_nothing() -> None:
    w = await walks()
    call = await done(w, "a", "1")
    job = await w.reverter.revert(request(call=call, plan=True))
    assert job.state == "planned"
    assert [(s.state, s.restored) for s in job.steps] == [("planned", 1)]
    assert w.box.data["a"] == "1"
    assert await w.store.revert(job.id) is None


async def test_a_session_comes_back_newest_first_as_a_whole() -> None:
    w = await walks()
    first = await done(w, "a", "1")
    second = await done(w, "a", "2")
    third = await done(w, "b", None, verb="delete")
    await done(w, "a", "3", session="other")
    w.box.data["a"] = "2"
    job = await w.reverter.revert(request(session="s1"))
    assert job.state == "reverted"
    assert [s.call for s in job.steps] == [third, second, first]
    assert w.box.data == {"a": "0", "b": "0"}


async def test_one_conflict_in_a_session_restores_nothing_with_abort() -> None:
    w = await walks()
    await done(w, "a", "1")
    await done(w, "b", "1")
    w.box.data["a"] = "theirs"
    job = await w.reverter.revert(request(session="s1"))
    assert job.state == "conflict"
    assert w.box.data == {"a": "theirs", "b": "1"}
    assert {s.state for s in job.steps} == {"conflict", "skipped"}


async def test_skip_restores_the_rest_and_leaves_the_skipped_call_revertible() -> None:
    w = await walks()
    conflicted = await done(w, "a", "1")
    await done(w, "b", "1")
    w.box.data["a"] = "theirs"
    job = await w.reverter.revert(request(OnConflict.SKIP, session="s1"))
    assert job.state == "partial"
    assert w.box.data == {"a": "theirs", "b": "0"}
    w.box.data["a"] = "1"
    assert (await w.reverter.revert(request(call=conflicted))).state == "reverted"


async def test_a_conflict_in_one_source_stops_the_others_with_abort() -> None:
    other = FakeUpstream(name="app", data={"x": "0"})
    w = await walks(others=(other,))
    await done(w, "a", "1")
    await done(w, "x", "1", tool="app")
    w.box.data["a"] = "theirs"
    job = await w.reverter.revert(request(session="s1"))
    assert job.state == "conflict"
    assert other.data == {"x": "1"}


async def test_an_agents_calls_since_a_time_come_back_and_earlier_ones_stay() -> None:
    w = await walks()
    await done(w, "a", "1")
    w.clock.advance(hours=1)
    since = w.clock.now()
    await done(w, "b", "1")
    job = await w.reverter.revert(request(agent="a7", since=since))
    assert job.state == "reverted"
    assert w.box.data == {"a": "1", "b": "0"}


async def test_reads_and_refusals_are_no_steps_of_a_session_revert() -> None:
    w = await walks()
    await w.pipeline.handle(a_call("a", verb="select"))
    await w.pipeline.handle(a_call(verb="gibberish"))
    job = await w.reverter.revert(request(session="s1"))
    assert (job.state, job.steps) == ("reverted", ())


async def test_a_call_of_unknown_outcome_is_reported_and_left_alone() -> None:
    w = await walks(box=FakeUpstream(data={"a": "0"}, lose_commit_reply=True))
    await w.pipeline.handle(a_call("a", "1"))
    job = await w.reverter.revert(request(session="s1"))
    assert job.steps[0].reason == "outcome.unknown"
    assert w.box.data["a"] == "1"


async def test_a_target_that_names_nothing_is_malformed() -> None:
    w = await walks()
    with pytest.raises(Malformed):
        await w.reverter.revert(request(agent="a7"))
    with pytest.raises(NotFound):
        await w.reverter.revert(request(call="call_nowhere"))


async def test_a_freeze_does_not_stop_people_from_taking_back() -> None:
    from gateway.model import Freeze, Scope

    w = await walks()
    call = await done(w, "a", "1")
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    assert (await w.reverter.revert(request(call=call))).state == "reverted"
