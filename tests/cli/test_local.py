from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import __version__
from tests.fixtures.terminal import Terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"store: {{url: 'sqlite:///{tmp_path}/store.db'}}\n"
        f"snapshots: {{path: '{tmp_path}/snapshots'}}\n"
        f"policy: {{path: '{ROOT}/policies', deadline_ms: 5000}}\n"
        'identity:\n  admin_token: "${HOLDFAST_ADMIN_TOKEN}"\n'
        '  agents: [{name: demo, token: "${HOLDFAST_AGENT_TOKEN}", roles: [developer]}]\n'
        f"sources:\n  shop: {{url: 'sqlite:///{tmp_path}/shop.db', seed: shop}}\n"
    )
    return file


def test_the_version_is_printed() -> None:
    shell = Terminal()
    assert shell.run("version") == 0
    assert shell.out == f"holdfast {__version__}\n"
    assert shell.run("version", "--json") == 0
    assert json.loads(shell.out) == {"version": __version__}


def test_a_sound_gateway_is_in_order(config: Path) -> None:
    shell = Terminal()
    assert shell.run("check", "--config", str(config)) == 0
    assert "Everything is in order." in shell.out


def test_every_fault_of_a_configuration_is_printed_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("server:\n  port: x\nstores: {}\nidentity:\n  admin_token: ${NOT_SET}\n")
    shell = Terminal()
    assert shell.run("check", "--config", str(file)) == 1
    for line, part in ((2, "server.port"), (3, "stores"), (5, "NOT_SET")):
        assert any(f"{file}:{line}: " in got and part in got for got in shell.out.splitlines())
    assert shell.run("check", "--config", str(file), "--json") == 1
    document = json.loads(shell.out)
    assert document["ok"] is False
    assert [f["line"] for f in document["findings"]] == [2, 3, 5]


def test_a_fault_of_a_policy_is_found(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "gateway.rego").write_text("package gateway\n\nimport rego.v1\n\ndecision := x\n")
    config.write_text(config.read_text().replace(f"{ROOT}/policies", str(folder)))
    shell = Terminal()
    assert shell.run("check", "--config", str(config)) == 1
    assert "gateway.rego:5" in shell.out


@pytest.mark.parametrize("command", [("serve",), ("demo",), ("explain", "--source", "a", "SELECT")])
def test_a_configuration_that_is_not_valid_exits_with_2(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("server:\n  prt: 1\nidentity: {admin_token: '${HOLDFAST_ADMIN_TOKEN}'}\n")
    shell = Terminal()
    assert shell.run(*command, "--config", str(file)) == 2
    assert f"{file}:2: server.prt: unknown key" in shell.err
    assert shell.run(*command[:1], "--config", str(tmp_path / "none.yaml"), *command[1:]) == 2


def test_a_statement_is_explained_and_not_run(config: Path) -> None:
    shell = Terminal()
    sql = "DELETE FROM customers WHERE id = 7"
    assert shell.run("explain", "--config", str(config), "--source", "shop", sql, "--json") == 0
    document = json.loads(shell.out)
    assert document["decision"]["decision"] == "allow"
    names = {effect["name"] for effect in document["action"]["effects"]}
    assert {"main.customers", "main.orders", "main.invoices"} <= names
    assert shell.run("explain", "--config", str(config), "--source", "shop", sql) == 0
    assert "main.invoices" in shell.out


def test_a_statement_that_would_be_refused_is_explained(config: Path) -> None:
    shell = Terminal()
    arguments = ("explain", "--config", str(config), "--source", "shop", "--json")
    assert shell.run(*arguments, "DELETE FROM customers") == 0
    assert json.loads(shell.out)["decision"]["decision"] == "deny"


def test_an_unknown_source_is_a_usage_error(config: Path) -> None:
    shell = Terminal()
    assert shell.run("explain", "--config", str(config), "--source", "shp", "SELECT 1") == 2
    assert "there are: shop" in shell.err
