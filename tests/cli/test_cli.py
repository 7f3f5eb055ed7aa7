from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fixtures.terminal import Terminal

COMMANDS = (
    "serve",
    "demo",
    "check",
    "explain",
    "freeze",
    "unfreeze",
    "freezes",
    "calls",
    "show",
    "revert",
    "approvals",
    "approve",
    "reject",
    "audit verify",
    "audit export",
    "audit checkpoint",
    "policy test",
    "policy replay",
    "agent add",
    "agent revoke",
    "agent list",
    "version",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Terminal(environ={})
    assert shell.run(*command.split(), "--help") == 0
    assert f"holdfast {command}" in capsys.readouterr().out
    assert shell.requests == []


@pytest.mark.parametrize("arguments", [("nonsense",), ("audit", "nonsense"), ("calls", "--nope")])
def test_what_is_not_a_command_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert Terminal().run(*arguments) == 2


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "version", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stdout.startswith('{"version": ')
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "nonsense"], timeout=60, stderr=subprocess.DEVNULL
    )
    assert done.returncode == 2
