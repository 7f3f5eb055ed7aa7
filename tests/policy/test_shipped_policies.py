"""The policies that are shipped, decided by the embedded engine and by a real OPA server."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Allow, Decision, Deny, Hold
from gateway.policy.opa import OpaPolicy
from gateway.policy.rego import EmbeddedPolicy
from gateway.policy.result import decision_from
from gateway.policy.samples import samples
from tests.policy.conftest import POLICIES, OpaServer
from tests.policy.decisions import CASES, document

DOCUMENTATION = POLICIES.parent / "docs" / "policies.md"


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedPolicy]:
    policy = EmbeddedPolicy(POLICIES, deadline_s=5)
    asyncio.run(policy.open())
    yield policy
    asyncio.run(policy.close())


def _name(decision: Decision) -> str:
    if isinstance(decision, Deny):
        return "deny" if decision.reason == "policy.denied" else "unavailable"
    return "allow" if isinstance(decision, Allow) else "hold"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_a_shipped_decision_is_as_recorded(
    case: dict[str, Any], embedded: EmbeddedPolicy
) -> None:
    decision = await embedded.decide(document(**case))
    assert _name(decision) == case["expect"], decision
    assert case.get("says", "") in "; ".join(decision.reasons)
    if isinstance(decision, Allow | Hold):
        obligations = case.get("obligations", {})
        assert {n: getattr(decision.obligations, n) for n in obligations} == obligations


@pytest.mark.opa
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_opa_comes_to_the_same_decision(
    case: dict[str, Any], embedded: EmbeddedPolicy, shipped_opa_server: OpaServer
) -> None:
    ours = await embedded.decide(document(**case))
    if case["expect"] == "unavailable":
        assert _name(ours) == "unavailable"  # the gate stands before either engine
        return
    body = {"input": document(**case)}
    theirs = shipped_opa_server.client.post("/v1/data/gateway/decision", json=body).json()
    assert decision_from(theirs["result"], ours.revision) == ours


@pytest.mark.opa
async def test_opa_behind_the_client_decides_alike(
    embedded: EmbeddedPolicy, shipped_opa_server: OpaServer
) -> None:
    policy = OpaPolicy(shipped_opa_server.url, deadline_s=5)
    await policy.open()
    try:
        for sample in samples():
            ours, theirs = await embedded.decide(sample), await policy.decide(sample)
            assert _name(theirs) == _name(ours)
            assert theirs.reasons == ours.reasons
        assert len(policy.revision) == 16
        assert policy.fault is None
    finally:
        await policy.close()


def test_there_are_enough_cases_and_each_has_its_name_once() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) >= 60
    assert len(set(names)) == len(names)


@pytest.mark.opa
@pytest.mark.parametrize("command", [["check", "--strict"], ["test"], ["fmt", "--fail", "--list"]])
def test_opa_accepts_the_shipped_policies(opa: str, command: list[str]) -> None:
    done = subprocess.run(
        [opa, *command, str(POLICIES)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.opa
def test_opa_runs_as_many_tests_as_we_do(opa: str, embedded: EmbeddedPolicy) -> None:
    done = subprocess.run(
        [opa, "test", str(POLICIES)], capture_output=True, text=True, timeout=60, check=True
    )
    passed = asyncio.run(embedded.test()).passed
    assert f"PASS: {passed}/{passed}" in done.stdout


def test_every_policy_file_has_its_tests() -> None:
    names = {path.name for path in POLICIES.glob("*.rego")}
    policies = {name for name in names if not name.endswith("_test.rego")} - {"environments.rego"}
    assert {name.replace(".rego", "_test.rego") for name in policies} <= names


@pytest.mark.parametrize(("name", "tests"), [("hours", 1), ("pace", 2)])
async def test_an_example_of_the_documentation_loads_and_passes(
    tmp_path: Path, name: str, tests: int
) -> None:
    text = DOCUMENTATION.read_text()
    rule, its_test = re.findall(
        r"```rego\n(.*?)```", text[text.index(f"`{name}.rego`") :], re.DOTALL
    )[:2]
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder)
    (folder / f"{name}.rego").write_text(rule)
    policy = EmbeddedPolicy(folder, deadline_s=5)
    await policy.open()
    before = (await policy.test()).passed
    await policy.put(f"{name}_test.rego", its_test)
    assert (await policy.test()).passed == before + tests
    await policy.close()
