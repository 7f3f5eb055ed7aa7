from __future__ import annotations

import json
from pathlib import Path

from gateway.app.parts import assemble
from gateway.app.proofs import declaration_of, proof_findings, routes_of
from gateway.config import Config, RouteSettings, parse
from gateway.upstreams.openapi.derive import derive
from gateway.upstreams.openapi.document import digest_of_document, read
from tests.house.sources import ROOT

ENVIRON = {"HOLDFAST_ADMIN_TOKEN": "a" * 40, "HOLDFAST_AGENT_TOKEN": "b" * 40}


def keeping(record: Path | None) -> Config:
    text = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    named = "null" if record is None else json.dumps(str(record))
    return parse(text.replace("rehearsed: null", f"rehearsed: {named}"), ENVIRON)


def unproven(config: Config) -> list[str]:
    return [finding.message for finding in proof_findings(config)]


def write(record: Path, config: Config, *, proven: bool = True) -> None:
    routes = [
        {"route": r.match, "proven": proven, "declaration": declaration_of(r)}
        for r in config.tools["crm"].routes
        if r.undo is not None
    ]
    record.write_text(json.dumps({"routes": routes}))


def test_a_tool_without_a_record_is_not_spoken_of() -> None:
    assert unproven(keeping(None)) == []


def test_a_whole_record_is_enough(tmp_path: Path) -> None:
    record = tmp_path / "crm.json"
    write(record, keeping(record))
    assert unproven(keeping(record)) == []


def test_routes_that_failed_or_changed_since_are_named(tmp_path: Path) -> None:
    record = tmp_path / "crm.json"
    config = keeping(record)
    write(record, config, proven=False)
    assert len(unproven(config)) == 4
    write(record, config)
    changed = json.loads(record.read_text())
    changed["routes"][0]["declaration"] = "0" * 64
    record.write_text(json.dumps(changed))
    (message,) = unproven(config)
    assert changed["routes"][0]["route"] in message


def test_a_record_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    record = tmp_path / "crm.json"
    assert len(unproven(keeping(record))) == 1
    record.write_text("[]")
    assert len(unproven(keeping(record))) == 1


# --- derived routes -------------------------------------------------------------------------

OPENAPI = """
openapi: 3.1.0
paths:
  /things:
    get: {responses: {'200': {content: {application/json: {schema: {type: array}}}}}}
  /things/{id}:
    get: {responses: {'200': {content: {application/json: {schema: &t {properties: {id: {}}}}}}}}
    put: {requestBody: {content: {application/json: {schema: *t}}}, responses: {'201': {}}}
    delete: {responses: {'204': {}}}
  /mails: {post: {responses: {'202': {}}}}
"""


def described(folder: Path, routes: str = "[]", openapi: str | None = None) -> Config:
    (folder / "api.yaml").write_text(OPENAPI)
    return parse(
        f"""
identity: {{admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"}}
store: {{url: "sqlite:///{folder}/store.db"}}
tools:
  things:
    base_url: http://127.0.0.1:9
    openapi: {openapi or folder / "api.yaml"}
    rehearsed: {folder / "things.json"}
    routes: {routes}
""",
        ENVIRON,
    )


def rehearsed(folder: Path, *proven: str, document: str = OPENAPI) -> None:
    derived = {found.match: found.route for found in derive(read(OPENAPI))}
    routes = [
        {
            "route": match,
            "proven": True,
            "declaration": declaration_of(RouteSettings.model_validate(dict(derived[match]))),
            "openapi": digest_of_document(document),
        }
        for match in proven
    ]
    (folder / "things.json").write_text(json.dumps({"routes": routes}))


def used(config: Config) -> list[str]:
    return [route.match for route in routes_of(config.tools["things"])]


def test_a_derived_route_is_used_once_it_is_proven_and_others_are_not(tmp_path: Path) -> None:
    config = described(tmp_path)
    assert used(config) == []
    rehearsed(tmp_path, "DELETE /things/{id}")
    assert used(config) == ["DELETE /things/{id}"]
    assert assemble(config).tools["things"].name == "things"
    told = unproven(config)
    assert any(said.startswith("DELETE /things/{id} is derived and proven") for said in told)
    for match, why in (
        ("PUT /things/{id}", "no rehearsal proved it"),
        ("POST /mails", "not the POST of a collection"),
        ("GET /things/{id}", "proves nothing"),
    ):
        assert any(said.startswith(f"{match} stays undeclared") and why in said for said in told)


def test_a_document_that_changed_proves_nothing(tmp_path: Path) -> None:
    rehearsed(tmp_path, "DELETE /things/{id}", document=OPENAPI + "# another\n")
    assert used(described(tmp_path)) == []


def test_a_proof_of_a_pasted_route_is_none_of_the_derived_one(tmp_path: Path) -> None:
    config = described(tmp_path)
    rehearsed(tmp_path, "DELETE /things/{id}")
    record = json.loads((tmp_path / "things.json").read_text())
    record["routes"][0]["openapi"] = None
    (tmp_path / "things.json").write_text(json.dumps(record))
    assert used(config) == []


def test_what_a_person_declared_is_what_counts(tmp_path: Path) -> None:
    rehearsed(tmp_path, "DELETE /things/{id}")
    declared = '[{match: "DELETE /things/{it}", reversibility: irreversible}]'
    assert used(described(tmp_path, declared)) == ["DELETE /things/{it}"]


def test_a_document_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    rehearsed(tmp_path, "DELETE /things/{id}")
    config = described(tmp_path, openapi="http://127.0.0.1:9/openapi.yaml")
    assert used(config) == []
    assert any("keep a copy" in said for said in unproven(config))
