"""Sets of policies are tried before they decide, and engines stay in their threads."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.errors import PolicyInvalid
from gateway.policy.compiled import EngineFailed, compile_files, is_astral, parse_files
from gateway.policy.folder import Files
from tests.house.sources import ROOT

GOOD = """package gateway

decision := {"allow": false, "hold": false, "reasons": [], "obligations": {}}
"""


def _files(rego: str, **more: str) -> Files:
    others = {name.replace("__", "."): text for name, text in more.items()}
    return Files(texts={"gateway.rego": rego, **others})


def _faults(files: Files, deadline_s: float = 5) -> list[dict[str, object]]:
    with pytest.raises(PolicyInvalid) as caught:
        compile_files(files, deadline_s=deadline_s)
    found: list[dict[str, object]] = caught.value.extra["faults"]
    return found


def test_a_rule_that_fails_on_some_kind_of_call_is_found_at_load() -> None:
    (fault, *_) = _faults(_files(GOOD + "\nlong if count(input.action.http) > 2\n"))
    assert (fault["file"], fault["line"]) == ("gateway.rego", 5)
    assert "Stack" not in str(fault["message"])


def test_two_values_of_one_rule_are_found_at_load() -> None:
    rules = '\nn := 1 if input.version == 1\n\nn := 2 if input.subject.id == "sample"\n'
    assert _faults(_files(GOOD + rules))


def test_policies_that_are_too_slow_are_refused() -> None:
    (fault,) = _faults(_files(GOOD), deadline_s=0)[:1]
    assert "took" in str(fault["message"])


def test_a_decision_is_needed() -> None:
    (fault,) = _faults(_files("package gateway\n\ndecision(x) := x\n"))
    assert fault["message"] == "package gateway has no decision"


def test_tests_need_the_name_of_a_test_file() -> None:
    (fault,) = _faults(_files(GOOD, x__rego="package gateway_test\n\np := 1\n"))
    assert fault["file"] == "x.rego"


def test_an_evaluation_that_fails_says_why_in_one_line() -> None:
    compiled = parse_files(_files(GOOD + "\nbad := upper(input.version)\n"))
    with pytest.raises(EngineFailed) as caught:
        compiled.evaluate('{"version": 1}', "data.gateway.bad")
    assert "\n" not in str(caught.value)
    assert caught.value.fault.line == 5


@pytest.mark.parametrize("text", ["{", "", "[1,", '{"a":1}x', "\ufeff{}"])
def test_text_that_is_not_json_fails(text: str) -> None:
    with pytest.raises(EngineFailed):
        parse_files(_files(GOOD)).evaluate(text)


def test_one_set_serves_many_threads() -> None:
    compiled = parse_files(_files(GOOD + "\nid := input.subject.id\n"))

    def ask(n: int) -> object:
        return compiled.evaluate(json.dumps({"subject": {"id": n}}), "data.gateway.id")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(200))) == list(range(200))
    assert ask(7) == 7


def test_texts_beyond_the_basic_plane_are_counted_exactly_however_they_come_in() -> None:
    rules = "\nfrom_input := count(input.subject.id)\n\nfrom_data := count(data.word)\n"
    compiled = parse_files(_files(GOOD + rules, data__yaml='word: "x"\n'))
    for document in ('{"subject":{"id":"a😀"}}', '{"subject":{"id":"a\\ud83d\\ude00"}}'):
        assert compiled.evaluate(document, "data.gateway.from_input") == 2
    astral = parse_files(_files(GOOD + rules, data__yaml='word: "\\U0001f600"\n'))
    assert astral.evaluate("{}", "data.gateway.from_data") == 1
    constant = parse_files(_files(GOOD + '\nn := count("\\ud83d\\ude00")\n'))
    assert constant.evaluate("{}", "data.gateway.n") == 1
    assert [is_astral(text) for text in ("a", "é中", "😀", "\\uD83D")] == [False, False, True, True]


def test_failing_tests_are_listed() -> None:
    tests = (
        "package gateway_test\n\ntest_a := true\n\ntest_b := false\n\ntest_c if count(null) == 0\n"
    )
    compiled = parse_files(_files(GOOD, a_test__rego=tests))
    report = compiled.test()
    assert report.passed == 1
    assert [failure["line"] for failure in report.failed] == [5, 7]


def test_a_process_that_is_forked_has_no_engine_of_another_thread_to_drop() -> None:
    # uvloop forks with the interpreter's clean-up, which drops what other threads keep.
    program = """
import asyncio, sys
from pathlib import Path
import uvloop
from gateway.policy.rego import EmbeddedPolicy

async def main():
    policy = EmbeddedPolicy(Path("policies"), deadline_s=30)
    await policy.open()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await child.wait()
    await policy.close()

uvloop.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "unsendable" not in done.stderr
