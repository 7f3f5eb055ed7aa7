"""The load check against a real OPA: every snippet is judged alike, or refused out loud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import PolicyInvalid
from gateway.policy.compiled import Compiled, EngineFailed, is_astral
from gateway.policy.folder import Files
from gateway.policy.input import MAX_DEPTH, _plain, _value_fault
from gateway.policy.vet import faults_of
from tests.policy.conftest import OpaServer
from tests.policy.snippets import parsed

SNIPPETS = yaml.safe_load(
    (Path(__file__).parents[1] / "fixtures" / "decisions" / "snippets.yaml").read_text()
)
UNDEFINED = ("undefined",)


def _source(snippet: dict[str, Any]) -> str:
    return f"package snippet\n\nimport rego.v1\n\n{snippet['rego']}"


def _input(snippet: dict[str, Any]) -> Any:
    return _plain(json.loads(snippet["input"]))


def _ours(snippet: dict[str, Any]) -> tuple[str, ...]:
    """``refused``, ``loud``, ``undefined`` or ``value`` with its JSON."""
    files = Files(texts={snippet.get("file", "s.rego"): _source(snippet)})
    try:
        modules, ast = parsed(files)
    except PolicyInvalid:
        return ("refused",)
    if faults_of(modules, {"zzz"}):
        return ("refused",)
    document = _input(snippet)
    fault = _value_fault(document, MAX_DEPTH, "input")
    # The gate refuses NUL as well; here the engine has to show that it reads past one.
    if fault is not None and "NUL" not in fault:
        return ("loud",)
    compiled = Compiled(files, modules, always_astral=is_astral(ast))
    try:
        value = compiled.evaluate(json.dumps(document), "data.snippet.p", with_tests=True)
    except EngineFailed:
        return ("loud",)
    return UNDEFINED if value is None else ("value", json.dumps(value, sort_keys=True))


def _opa(server: OpaServer, snippet: dict[str, Any]) -> tuple[str, ...]:
    put = server.client.put("/v1/policies/snippet", content=_source(snippet).encode())
    try:
        if put.status_code != 200:
            return ("refused",)
        answer = server.client.post("/v1/data/snippet/p", json={"input": _input(snippet)})
    finally:
        server.client.delete("/v1/policies/snippet")
    if answer.status_code != 200:
        return ("failed",)
    body = json.loads(answer.text)
    if body.get("result") is None:
        return UNDEFINED
    return ("value", json.dumps(_plain(body["result"]), sort_keys=True))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet["name"])
def test_a_snippet_is_judged_as_recorded(snippet: dict[str, Any]) -> None:
    verdict = _ours(snippet)[0]
    assert {"value": "same", "undefined": "same"}.get(verdict, verdict) == snippet["ours"]


@pytest.mark.opa
@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s["ours"] == "same"], ids=lambda snippet: snippet["name"]
)
def test_what_is_not_refused_is_what_opa_says(
    snippet: dict[str, Any], opa_server: OpaServer
) -> None:
    assert _ours(snippet) == _opa(opa_server, snippet)


@pytest.mark.opa
def test_what_opa_refuses_to_load_never_gives_a_value(opa_server: OpaServer) -> None:
    refused = [s for s in SNIPPETS if _opa(opa_server, s) == ("refused",)]
    assert len(refused) >= 60
    assert [s["name"] for s in refused if _ours(s)[0] not in ("refused", "loud")] == []


def test_the_snippets_are_many_and_each_has_its_name_once() -> None:
    names = [snippet["name"] for snippet in SNIPPETS]
    assert len(names) >= 500
    assert len(set(names)) == len(names)
    assert sum(snippet["ours"] == "same" for snippet in SNIPPETS) >= 200


FAULTS = [
    ("v0 syntax", "p { true }", 3, "`if` keyword"),
    ("v0 set", "ok := 1\np[x]", 4, ""),
    ("unsafe variable", "\n\np if { input.a; x }", 5, "x is neither"),
    ("unsafe variable in a rule that nothing reaches", "p := 1\nq if { input.b; x }", 4, "x is"),
    ("unsafe variable in a function", "f(x) := y if { x }", 3, "y is neither"),
    ("unsafe variable in a head", "p contains x if { input.a }", 3, "x is neither"),
    ("variable that is never indexed", "p if { some i; input.a }", 3, "never gets a value"),
    ("unknown function", "p := 1\nq := nope(1) if input.a", 4, "nope is not accepted"),
    ("http.send", "p := http.send({})", 3, "do not reach out"),
    ("opa.runtime", "p := opa.runtime()", 3, "environment"),
    ("time.now_ns", "p := time.now_ns()", 3, "input.context.time"),
    ("io.jwt", "p := io.jwt.decode(input.a)", 3, "io.jwt.decode is not accepted"),
    ("net", "p := net.cidr_contains(input.a, input.b)", 3, "not accepted"),
    ("rand", "p := rand.intn(input.a, 5)", 3, "replayed"),
    ("print", "p if { print(input.a) }", 3, "trace"),
    ("with outside tests", "q := input.a\np if { q with input.a as 1 }", 4, "for tests"),
    ("import of data", "import data.snippet.q\np := 1", 3, "import only rego.v1"),
    ("misspelt rule", "p := data.snippet.denny", 3, "data.snippet.denny is neither"),
    ("misspelt data", "p := data.rolls", 3, "data.rolls is neither"),
    ("recursion", "p if q\nq if p", 3, "depends on itself"),
    ("two kinds of one rule", "p := 1\np contains 2", 4, "another way"),
    ("float arithmetic", "p := 0.1 + 0.2", 3, "arithmetic"),
    ("order of unknown types", "p if { input.a < input.b }", 3, "is_number"),
    (
        "undefined operand of not",
        "p if { not is_string(input.a) }",
        3,
        "before `not`",
    ),
    ("pattern from the input", "p := regex.match(input.a, input.b)", 3, "written out"),
    ("unify", "p if { x = input.a; x }", 3, "use :="),
]


@pytest.mark.parametrize(("about", "rego", "line", "message"), FAULTS)
def test_a_fault_names_its_file_and_line(about: str, rego: str, line: int, message: str) -> None:
    files = Files(texts={"s.rego": f"package snippet\n\n{rego}\n"})
    try:
        modules, _ = parsed(files)
        faults = [fault.as_json() for fault in faults_of(modules, frozenset())]
    except PolicyInvalid as error:
        faults = error.extra["faults"]
    found = [fault for fault in faults if message in fault["message"]]
    assert found, (about, faults)
    assert (found[0]["file"], found[0]["line"]) == ("s.rego", line)


def test_a_misspelt_field_of_the_input_is_found() -> None:
    modules, _ = parsed(Files(texts={"s.rego": "package snippet\n\np if input.actoin.name\n"}))
    fields = {"action": frozenset({"name"})}
    assert [f.message for f in faults_of(modules, frozenset(), fields)] == [
        "input has no field actoin"
    ]
