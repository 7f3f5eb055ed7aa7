"""Rules about what code may say. Every exception has a reason, and one that is not needed any more
fails."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest

from tests.house.sources import Function, Source, dotted, functions, placed, python, source

Found = Iterator[tuple[str, str]]  # the place as "path:function", and what stands there

FORBIDDEN_NAMES = {
    "utils", "util", "helpers", "helper", "common", "core", "base", "manager", "service",
    "services", "engine", "handler", "handlers", "misc", "lib",
}  # fmt: skip

CLOCKS_AND_IDS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "datetime.datetime.now", "date.today",
    "time.time", "time.time_ns", "uuid4", "uuid1", "uuid.uuid4", "uuid.uuid1", "ULID", "ulid.ULID",
    "ULID.from_datetime", "time.localtime", "time.gmtime",
}  # fmt: skip

MAY_CATCH_EVERYTHING = {
    "gateway/policy/compiled.py:_guarded": "a panic of the engine has to become a denial",
    "gateway/store/writer.py:Writer._carry_out": "every caller of the batch is told what it was",
    "gateway/store/writer.py:Writer._one": "handed to the caller, whose savepoint is rolled back",
    "gateway/surfaces/endpoint.py:serve": "the last frame that can still answer, with 500",
    "gateway/surfaces/health.py:_state": "whatever fails in a check, the part is not ready",
    "gateway/upstreams/sql/display.py:shown": "the parser raises any type; None is a refusal",
    "gateway/upstreams/sql/mysql/grammar.py:_parsed": "the parser raises any type: a refusal",
    "gateway/upstreams/sql/worker.py:_answer": "crosses a process; a refusal over there",
}
MAY_READ_CLOCK_OR_MAKE_IDS = {
    "gateway/app/parts.py:SystemClock.now": "the one clock, handed to everything else",
    "gateway/cli/shell.py:Shell": "the default of a field that tests set",
    "gateway/app/parts.py:new_id": "the one maker of ids, handed to everything else",
}


# --- the rules ------------------------------------------------------------------------------


def tokens_issued(of: Source) -> Found:
    if of.path.startswith("gateway/store/") or of.path == "gateway/model/tokens.py":
        return
    for where, node in placed(of):
        name = dotted(node)
        if re.search(r"\b(Permit|Running|Intent)\.issue$", name) or name.startswith("_Token."):
            yield f"{of.path}:{where}", name


def environment_read(of: Source) -> Found:
    if of.path.startswith("gateway/config/"):
        return
    for where, node in placed(of):
        if dotted(node) in ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"):
            yield f"{of.path}:{where}", dotted(node)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for name in node.names:
                if "env" in name.name:
                    yield f"{of.path}:{where}", f"from os import {name.name}"


def everything_caught(of: Source) -> Found:
    for where, node in placed(of):
        # What always raises again hides nothing.
        if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
            caught = node.type
            names = [caught] if not isinstance(caught, ast.Tuple) else caught.elts
            if caught is None or any(
                dotted(n) in ("Exception", "BaseException") for n in names if n is not None
            ):
                yield f"{of.path}:{where}", "catches everything"
        if isinstance(node, ast.Call) and dotted(node.func).endswith("suppress"):
            for argument in node.args:
                if dotted(argument) in ("Exception", "BaseException"):
                    yield f"{of.path}:{where}", "suppresses everything"


def silently_passed(of: Source) -> Found:
    for where, node in placed(of):
        if isinstance(node, ast.ExceptHandler) and all(
            isinstance(s, ast.Pass)
            or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            for s in node.body
        ):
            yield f"{of.path}:{where}", "passes over an error"


def clocks_and_ids(of: Source) -> Found:
    for where, node in placed(of):
        if isinstance(node, ast.Call) and dotted(node.func) in CLOCKS_AND_IDS:
            yield f"{of.path}:{where}", dotted(node.func)


def unfinished(of: Source) -> Found:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    for token in tokenize.generate_tokens(io.StringIO(of.text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) and marks.search(token.string):
            yield f"{of.path}:{token.start[0]}", token.string.strip()
    for where, node in placed(of):
        if isinstance(node, ast.Name) and node.id == "NotImplemented" + "Error":
            yield f"{of.path}:{where}", node.id


def bare_exemptions(of: Source) -> Found:
    for number, line in enumerate(of.text.splitlines(), 1):
        if re.search(r"#\s*(type:\s*ignore(?!\[)|noqa(?!:\s*[A-Z]+\d)|pragma: no cover\s*$)", line):
            yield f"{of.path}:{number}", line.strip()


def forbidden_names(of: Source) -> Found:
    parts = PurePosixPath(of.path).with_suffix("").parts
    for part in parts:
        if part in FORBIDDEN_NAMES:
            yield of.path, part


def skipped_without_reason(of: Source) -> Found:
    for where, node in placed(of):
        if not isinstance(node, ast.Call):
            if isinstance(node, ast.Attribute) and _mark(node) and not _is_called(of, node):
                yield f"{of.path}:{where}", dotted(node)
            continue
        name = dotted(node.func)
        given = bool(node.args) or any(k.arg == "reason" for k in node.keywords)
        if name in ("pytest.skip", "pytest.xfail") and not given:
            yield f"{of.path}:{where}", name
        if _mark(node.func) and not any(k.arg == "reason" for k in node.keywords):
            yield f"{of.path}:{where}", name


def _mark(node: ast.AST) -> bool:
    return bool(re.fullmatch(r"pytest\.mark\.(skip|skipif|xfail)", dotted(node)))


def _is_called(of: Source, mark: ast.Attribute) -> bool:
    return any(isinstance(n, ast.Call) and n.func is mark for n in ast.walk(of.tree))


def claimless_tests(of: Source) -> Found:
    """A test asserts, expects an error, or calls something that does: by its name, or because it
    stands in the same file."""
    checking = re.compile(r"(^|[._])(assert|check|expect|raises|verify|fail)")
    asserting = {name for name, node in functions(of.tree) if _asserts(node)}
    for name, node in functions(of.tree):
        if not name.split(".")[-1].startswith("test_") or _asserts(node):
            continue
        called = {dotted(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
        if not (called & asserting or any(checking.search(c) for c in called)):
            yield f"{of.path}:{name}", "claims nothing"


def _asserts(function: Function) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(function))


GATEWAY_RULES: list[tuple[Callable[[Source], Found], dict[str, str]]] = [
    (tokens_issued, {}),
    (environment_read, {}),
    (everything_caught, MAY_CATCH_EVERYTHING),
    (silently_passed, {}),
    (clocks_and_ids, MAY_READ_CLOCK_OR_MAKE_IDS),
    (unfinished, {}),
    (bare_exemptions, {}),
    (forbidden_names, {}),
]
TEST_RULES: list[Callable[[Source], Found]] = [
    unfinished,
    bare_exemptions,
    forbidden_names,
    skipped_without_reason,
    claimless_tests,
]


@pytest.mark.parametrize(
    ("rule", "allowed"), GATEWAY_RULES, ids=lambda r: getattr(r, "__name__", "")
)
def test_the_gateway_keeps(rule: Callable[[Source], Found], allowed: dict[str, str]) -> None:
    found = [(place, what) for module in python("gateway") for place, what in rule(module)]
    broken = [f"{place}: {what}" for place, what in found if place not in allowed]
    stale = sorted(set(allowed) - {place for place, _ in found})

    assert broken == []
    assert stale == [], "exceptions that are not needed any more"


@pytest.mark.parametrize("rule", TEST_RULES, ids=lambda rule: rule.__name__)
def test_the_tests_keep(rule: Callable[[Source], Found]) -> None:
    broken = [f"{place}: {what}" for module in python("tests") for place, what in rule(module)]

    assert broken == []


# --- the rules find what they are for -------------------------------------------------------

IN_THE_GATEWAY = {
    tokens_issued: ["def a():\n    return Permit.issue('c', 1)\n", "x = model.Intent.issue\n"],
    environment_read: ["import os\nx = os.environ['A']\n", "from os import getenv\n"],
    everything_caught: [
        "try:\n    a()\nexcept Exception:\n    b()\n",
        "try:\n    a()\nexcept:\n    b()\n",
        "try:\n    a()\nexcept (ValueError, BaseException):\n    b()\n",
        "with contextlib.suppress(Exception):\n    a()\n",
    ],
    silently_passed: [
        "try:\n    a()\nexcept ValueError:\n    pass\n",
        "try:\n    a()\nexcept ValueError:\n    ...\n",
    ],
    clocks_and_ids: ["x = datetime.now(UTC)\n", "x = str(uuid4())\n", "x = ULID()\n"],
    unfinished: ["# TO" + "DO: later\n", "def a():\n    raise NotImplemented" + "Error\n"],
    bare_exemptions: ["import a  # no" + "qa\n", "x = a()  # type: " + "ignore\n"],
    skipped_without_reason: [
        "@pytest.mark.skip\ndef test_a(): assert x\n",
        "@pytest.mark.xfail(strict=True)\ndef test_a(): assert x\n",
        "def test_a():\n    pytest.skip()\n",
    ],
    claimless_tests: ["def test_a():\n    run()\n"],
}
FINE = {
    everything_caught: (
        "try:\n    a()\nexcept (OSError, ValueError):\n    b()\n"
        "try:\n    a()\nexcept BaseException:\n    b()\n    raise\n"
    ),
    silently_passed: "try:\n    a()\nexcept ValueError:\n    return None\n",
    clocks_and_ids: "x = clock.now()\ny = time.monotonic()\n",
    bare_exemptions: "import a  # noqa: F401 - kept for its side effect\n",
    skipped_without_reason: "@pytest.mark.skipif(x, reason='needs it')\ndef test_a(): assert x\n",
    claimless_tests: "def test_a():\n    with pytest.raises(ValueError):\n        run()\n",
}


@pytest.mark.parametrize(
    ("rule", "text"),
    [(rule, text) for rule, texts in IN_THE_GATEWAY.items() for text in texts],
)
def test_a_rule_finds_what_it_forbids(rule: Callable[[Source], Found], text: str) -> None:
    assert list(rule(source("gateway/pipeline.py", text)))


@pytest.mark.parametrize(("rule", "text"), FINE.items())
def test_a_rule_lets_other_code_be(rule: Callable[[Source], Found], text: str) -> None:
    assert list(rule(source("gateway/pipeline.py", text))) == []


def test_a_module_called_after_nothing_is_found() -> None:
    assert list(forbidden_names(source("gateway/policy/utils.py", "")))
    assert list(forbidden_names(source("gateway/core/parse.py", "")))
    assert not list(forbidden_names(source("gateway/policy/rego.py", "")))


def test_the_store_may_issue_tokens_and_config_may_read_the_environment() -> None:
    assert not list(tokens_issued(source("gateway/store/memory.py", "Permit.issue('c', 1)\n")))
    assert not list(environment_read(source("gateway/config/environment.py", "os.environ\n")))
