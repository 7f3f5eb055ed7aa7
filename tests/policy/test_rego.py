"""Policies in process: decisions never raise, and a bad edit never replaces what works."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.errors import PolicyInvalid, PreconditionFailed
from gateway.model import Allow, Deny
from gateway.policy.rego import EmbeddedPolicy
from tests.policy.conftest import POLICIES
from tests.policy.decisions import document

READ = document(**{"class": "read", "does": ["select main.orders"]})
SMALL = """package gateway

default decision := {"allow": false, "hold": false, "reasons": [], "obligations": {}}

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {}} if {
	input.subject.id == "demo"
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "policies"
    target.mkdir()
    (target / "gateway.rego").write_text(SMALL)
    return target


@pytest_asyncio.fixture
async def policy(folder: Path) -> AsyncIterator[EmbeddedPolicy]:
    made = EmbeddedPolicy(folder, deadline_s=5)
    await made.open()
    yield made
    await made.close()


async def _allows(policy: EmbeddedPolicy, asked: dict[str, Any] = READ) -> bool:
    return isinstance(await policy.decide(asked), Allow)


async def test_a_decision_carries_the_revision(policy: EmbeddedPolicy) -> None:
    decision = await policy.decide(READ)
    assert isinstance(decision, Allow)
    assert decision.revision == policy.revision
    assert len(policy.revision) == 16


async def test_without_policies_everything_is_denied(tmp_path: Path) -> None:
    policy = EmbeddedPolicy(tmp_path)
    decision = await policy.decide(READ)
    assert isinstance(decision, Deny)
    assert decision.reason == "policy.unavailable"
    with pytest.raises(PolicyInvalid):
        await policy.open()
    await policy.close()


@pytest.mark.parametrize(
    "tool", ["a\x00b", "\ud800", float("nan"), 2**70, object(), {1: 2}, [[[]] * 3] * 3]
)
async def test_a_strange_document_never_raises(policy: EmbeddedPolicy, tool: object) -> None:
    decision = await policy.decide({**READ, "action": {**READ["action"], "tool": tool}})
    assert isinstance(decision, Allow | Deny)
    if not isinstance(tool, list):
        assert isinstance(decision, Deny)
        assert decision.reason == "policy.unavailable"


async def test_a_large_document_is_judged_aside_and_a_huge_one_is_denied(
    policy: EmbeddedPolicy,
) -> None:
    sql = {**READ["action"]["sql"], "params": [["x", 1]] * 10_000}
    assert await _allows(policy, {**READ, "action": {**READ["action"], "sql": sql}})
    huge = {**sql, "text": "x" * 9_000_000}
    decision = await policy.decide({**READ, "action": {**READ["action"], "sql": huge}})
    assert isinstance(decision, Deny)
    assert "too large" in decision.detail


async def test_a_decision_over_the_deadline_is_denied(folder: Path) -> None:
    policy = EmbeddedPolicy(folder, deadline_s=5)
    await policy.open()
    policy._deadline_s = 0.0
    decision = await policy.decide(READ)
    await policy.close()
    assert isinstance(decision, Deny)
    assert decision.reason == "policy.unavailable"


async def test_a_rule_that_fails_while_deciding_denies(folder: Path) -> None:
    (folder / "gateway.rego").write_text(
        SMALL + '\nlong if { some p in input.action.sql.params; upper(p) == "X" }\n\n'
        'decision := {"allow": false, "hold": false, "reasons": ["x"], "obligations": {}} if {\n'
        '\tinput.resource.id == "elsewhere"\n\tlong\n}\n'
    )
    policy = EmbeddedPolicy(folder, deadline_s=5)
    with pytest.raises(PolicyInvalid) as caught:
        await policy.open()
    await policy.close()
    (fault, *_) = caught.value.extra["faults"]
    assert (fault["file"], fault["line"]) == ("gateway.rego", 9)
    assert "Stack backtrace" not in fault["message"]


async def test_many_decisions_at_once_do_not_mix(policy: EmbeddedPolicy) -> None:
    stranger = {**READ, "subject": {**READ["subject"], "id": "stranger"}}
    answers = await asyncio.gather(
        *(_allows(policy, READ if n % 2 else stranger) for n in range(200))
    )
    assert answers == [bool(n % 2) for n in range(200)]


async def test_a_reload_takes_up_an_edit(policy: EmbeddedPolicy, folder: Path) -> None:
    before = policy.revision
    (folder / "gateway.rego").write_text(SMALL.replace('"demo"', '"other"'))
    assert await policy.reload() == policy.revision != before
    assert not await _allows(policy)


BROKEN = {
    "syntax": ("gateway.rego", SMALL + "\np { true }\n", 8),
    "unsafe variable": ("gateway.rego", SMALL + "\np if { x }\n", 9),
    "no decision": ("gateway.rego", "package gateway\n\np := 1\n", 1),
    "another package": ("other.rego", "package other\n\np := 1\n", 1),
    "failing test": ("a_test.rego", "package gateway_test\n\ntest_no if { 1 in [2] }\n", 3),
    "failing test that raises": (
        "a_test.rego",
        "package gateway_test\n\ntest_no if count(null) == 1\n",
        3,
    ),
    "bad data": ("data.yaml", "a: 1\na: 2\n", 2),
    "misspelt field": ("gateway.rego", SMALL.replace("subject.id", "subjet.id"), 6),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_edit_keeps_the_old_policies(
    policy: EmbeddedPolicy, folder: Path, name: str
) -> None:
    file, text, line = BROKEN[name]
    before = policy.revision
    (folder / file).write_text(text)
    with pytest.raises(PolicyInvalid) as caught:
        await policy.reload()
    fault = caught.value.extra["faults"][0]
    assert (fault["file"], fault["line"]) == (file, line) or name == "syntax"
    assert policy.revision == before
    assert policy.fault is not None
    assert await _allows(policy)
    assert [finding.level for finding in await policy.check()] == ["error"]
    (folder / file).unlink()
    (folder / "gateway.rego").write_text(SMALL)
    await policy.reload()
    assert policy.fault is None


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_put_is_refused_and_not_written(
    policy: EmbeddedPolicy, folder: Path, name: str
) -> None:
    file, text, _ = BROKEN[name]
    with pytest.raises(PolicyInvalid):
        await policy.put(file, text)
    assert (folder / "gateway.rego").read_text() == SMALL
    assert os.listdir(folder) == ["gateway.rego"]
    assert await _allows(policy)


async def test_a_put_is_written_and_takes_effect(policy: EmbeddedPolicy, folder: Path) -> None:
    before, text = policy.revision, SMALL.replace('"demo"', '"other"')
    revision = await policy.put("gateway.rego", text, before)
    assert revision == policy.revision != before
    assert (folder / "gateway.rego").read_text() == text
    assert policy.files() == [{"name": "gateway.rego", "text": text}]
    assert not await _allows(policy)


async def test_a_put_on_an_old_revision_is_refused(policy: EmbeddedPolicy, folder: Path) -> None:
    old = policy.revision
    await policy.put("gateway.rego", SMALL + "\n# more\n", old)
    with pytest.raises(PreconditionFailed):
        await policy.put("gateway.rego", SMALL, old)
    assert (folder / "gateway.rego").read_text().endswith("# more\n")


async def test_two_puts_at_once_do_not_lose_one(policy: EmbeddedPolicy) -> None:
    old = policy.revision
    answers = await asyncio.gather(
        *(policy.put("more.rego", f"package gateway\n\nn := {n}\n", old) for n in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, str) for answer in answers) == 1
    assert sum(isinstance(answer, PreconditionFailed) for answer in answers) == 3


async def test_watching_takes_up_good_edits_and_reports_bad_ones(
    policy: EmbeddedPolicy, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="gateway.policy.rego")
    task = asyncio.create_task(policy.watch())
    try:
        before = policy.revision
        await _until(lambda: _touched(folder, SMALL + "\n# edited\n") and policy.revision != before)
        after = policy.revision
        await _until(lambda: _touched(folder, "package gateway\n") and policy.fault is not None)
        assert policy.revision == after
        assert await _allows(policy)
        messages = [record.getMessage() for record in caplog.records]
        assert any("tests passed" in message for message in messages)
        assert any("gateway.rego:1: " in message for message in messages)
    finally:
        await policy.close()
        await asyncio.wait_for(task, 10)


def _touched(folder: Path, text: str) -> bool:
    (folder / "gateway.rego").write_text(text)
    return True


async def _until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the file system has no event to wait for
            await asyncio.sleep(0.2)


async def test_tests_are_run_and_todo_is_not(policy: EmbeddedPolicy) -> None:
    text = "package gateway_test\n\ntest_a if 1 in [1]\n\ntest_b := true\n\ntodo_test_c := false\n"
    await policy.put("a_test.rego", text)
    report = await policy.test()
    assert (report.passed, report.failed) == (2, [])


async def test_reloading_leaves_no_engine_for_another_thread_to_drop(folder: Path) -> None:
    faults: list[object] = []
    hook, threading.excepthook = threading.excepthook, faults.append
    try:
        policy = EmbeddedPolicy(folder, deadline_s=5)
        await policy.open()
        for n in range(6):
            (folder / "gateway.rego").write_text(SMALL + f"\n# {n}\n" + "p {" * (n % 2))
            if n % 2:
                with pytest.raises(PolicyInvalid):
                    await policy.reload()
            else:
                await policy.reload()
            assert await _allows(policy)
            gc.collect()
        await policy.close()
    finally:
        threading.excepthook = hook
    assert faults == []


async def test_the_shipped_policies_load_with_their_tests(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    shutil.copytree(POLICIES, target)
    policy = EmbeddedPolicy(target, deadline_s=5)
    await policy.open()
    report = await policy.test()
    await policy.close()
    assert report.passed >= 25
    assert report.failed == []
