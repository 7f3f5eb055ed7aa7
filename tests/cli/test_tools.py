from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.fixtures.forgetful import forgetful
from tests.fixtures.terminal import Terminal

CONFIG = """
identity: {admin_token: "${HOLDFAST_ADMIN_TOKEN}"}
tools:
  things:
    base_url: http://127.0.0.1:9
    routes:
      - {match: "GET /things"}
      - {match: "GET /things/{id}"}
      - match: "DELETE /things/{id}"
        before: "GET /things/{id}"
        undo: {call: "PUT /things/{id}", body: "$before.body"}
"""
OPENAPI = """
openapi: 3.1.0
paths:
  /things/{id}:
    get: {responses: {'200': {content: {application/json: {schema: &t {properties: {id: {}}}}}}}}
    put: {requestBody: {content: {application/json: {schema: *t}}}, responses: {'201': {}}}
    delete: {responses: {'204': {}}}
  /mails: {post: {responses: {'202': {}}}}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "api.yaml").write_text(OPENAPI)
    return tmp_path


def run(files: Path, *arguments: str) -> tuple[int, Terminal]:
    shell = Terminal()
    shell.environ["HOLDFAST_ADMIN_TOKEN"] = "a" * 40
    return shell.run("tools", *arguments, "--config", str(files / "config.yaml")), shell


def test_derived_routes_are_printed_to_be_pasted(files: Path) -> None:
    code, shell = run(files, "derive", "things", "--openapi", str(files / "api.yaml"))
    assert code == 0
    assert "# no undo derived: " in shell.out
    routes = {route["match"]: route for route in yaml.safe_load(shell.out)["routes"]}
    assert routes["DELETE /things/{id}"]["undo"]["call"] == "PUT /things/{id}"
    assert routes["POST /mails"]["reversibility"] == "irreversible"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("derive", "other"), 2, "no tool"),
        (("derive", "things"), 2, "OpenAPI"),
        (("derive", "things", "--openapi", "nowhere.json"), 1, "cannot be read"),
        (("derive", "things", "--openapi", "http://127.0.0.1:9/api"), 1, "cannot be read"),
    ],
)
def test_what_is_not_there_is_said(
    files: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, shell = run(files, *arguments)
    assert got == code
    assert said in shell.err


def test_a_rehearsal_tells_and_keeps_what_is_not_proven(files: Path) -> None:
    record = files / "kept" / "things.json"
    with forgetful() as url:
        code, shell = run(files, "rehearse", "things", "--sandbox", url, "--record", str(record))
    assert code == 1
    assert "DELETE /things/{id}" in shell.out
    (route,) = json.loads(record.read_text())["routes"]
    assert route["proven"] is False
    assert route["why"]
