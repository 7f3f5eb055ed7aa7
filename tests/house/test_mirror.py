from __future__ import annotations

import ast
from pathlib import PurePosixPath

from tests.house.sources import ROOT, Function, Source, functions, python, source

# Modules with logic whose tests stand elsewhere: where, and why. A name that ends in a slash covers
# a folder.
TESTED_ELSEWHERE: dict[str, tuple[str, str]] = {
    "gateway/model/": ("tests/test_model.py", "the nouns are one small package"),
    "gateway/interfaces/": ("tests/test_pipeline.py", "only no_probe, which the walk defaults to"),
    "gateway/config/shape.py": ("tests/config/test_settings.py", "what every section is made of"),
    "gateway/outcomes.py": ("tests/test_pipeline.py", "a part of the walk"),
    "gateway/selection.py": ("tests/test_revert.py", "a part of the walk back"),
    "gateway/store/approving.py": ("tests/store/test_starting.py", "a move, tested on both stores"),
    "gateway/store/cells.py": ("tests/store/test_listing.py", "what is written is read back there"),
    "gateway/store/freezing.py": ("tests/store/test_landing.py", "a move, tested on both stores"),
    "gateway/store/memory.py": ("tests/store/conftest.py", "half of the contract suite runs on it"),
    "gateway/store/queries.py": ("tests/store/test_sqlite.py", "every query runs there"),
    "gateway/upstreams/sql/postgres/grants.py": (
        "tests/upstreams/sql/postgres/test_granting.py",
        "each piece is taken away and given again there",
    ),
    "gateway/store/binding.py": (
        "tests/store/test_sealing.py",
        "what a row binds, on both stores",
    ),
    "gateway/store/reading.py": ("tests/store/test_listing.py", "every store reads by it"),
    "gateway/store/refusing.py": ("tests/store/test_starting.py", "a move, tested on both stores"),
    "gateway/store/rotating.py": (
        "tests/store/test_sealing.py",
        "rotation, on both stores",
    ),
    "gateway/store/sqlite_tables.py": ("tests/store/conftest.py", "the suite runs on it"),
    "gateway/store/trail.py": ("tests/store/test_landing.py", "every move is looked up in the log"),
    "gateway/store/transactional.py": ("tests/store/conftest.py", "both stores are made of it"),
    "gateway/upstreams/sql/mysql/items.py": (
        "tests/upstreams/sql/mysql/test_unwind.py",
        "compares rows inside a revert",
    ),
    "gateway/upstreams/sql/mysql/keeping.py": (
        "tests/upstreams/sql/mysql/test_sweep.py",
        "keeps what was swept, and gives it up",
    ),
    "gateway/upstreams/sql/mysql/ledger.py": (
        "tests/upstreams/sql/mysql/test_unwind.py",
        "what a revert did is what its redo undoes",
    ),
    "gateway/upstreams/sql/mysql/orphans.py": (
        "tests/upstreams/sql/mysql/test_unwind.py",
        "looks for orphans inside a revert",
    ),
    "gateway/upstreams/sql/mysql/restore.py": (
        "tests/upstreams/sql/mysql/test_unwind.py",
        "restores inside a revert",
    ),
    "gateway/upstreams/sql/mysql/rows.py": (
        "tests/upstreams/sql/mysql/test_shapes.py",
        "every type goes through it and back",
    ),
    "gateway/upstreams/sql/postgres/conflicts.py": (
        "tests/upstreams/sql/postgres/test_restore.py",
        "lists what a revert left",
    ),
    "gateway/upstreams/sql/postgres/phrases.py": (
        "tests/upstreams/sql/postgres/test_restore.py",
        "pieces of the statements of a revert",
    ),
    "gateway/upstreams/sql/sqlite/effects.py": (
        "tests/upstreams/sql/sqlite/test_judge.py",
        "its answers are the judge's",
    ),
    "gateway/upstreams/sql/sqlite/execution.py": (
        "tests/upstreams/sql/sqlite/test_attempt.py",
        "runs inside an attempt only",
    ),
    "gateway/upstreams/sql/sqlite/facts.py": (
        "tests/upstreams/sql/sqlite/test_judge.py",
        "its answers are the judge's",
    ),
    "gateway/upstreams/sql/sqlite/orphans.py": (
        "tests/upstreams/sql/sqlite/test_unwind.py",
        "looks for orphans inside a revert",
    ),
    "gateway/upstreams/sql/sqlite/restore.py": (
        "tests/upstreams/sql/sqlite/test_unwind.py",
        "restores inside a revert",
    ),
    "gateway/upstreams/sql/sqlite/transaction.py": (
        "tests/upstreams/sql/sqlite/test_attempt.py",
        "runs inside an attempt only",
    ),
    "gateway/surfaces/mcp/actions.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "what a call comes to is what clients see",
    ),
    "gateway/surfaces/mcp/desk.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "what is kept shows in the rounds",
    ),
    "gateway/surfaces/mcp/exchange.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "the way back to a client, tested with clients",
    ),
    "gateway/surfaces/mcp/listening.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "streams are tested as streams",
    ),
    "gateway/surfaces/mcp/messages.py": (
        "tests/surfaces/mcp/test_trust.py",
        "every bad message goes through a socket",
    ),
    "gateway/surfaces/mcp/names.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "names are those that clients see",
    ),
    "gateway/surfaces/mcp/origins.py": (
        "tests/surfaces/mcp/test_trust.py",
        "hosts and origins come with requests",
    ),
    "gateway/surfaces/mcp/parameters.py": (
        "tests/acceptance/test_mcp_conformance.py",
        "the suite has a scenario for it",
    ),
    "gateway/surfaces/mcp/rounds.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "rounds need a client",
    ),
    "gateway/surfaces/mcp/serving.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "every method is called there",
    ),
    "gateway/surfaces/mcp/sessions.py": (
        "tests/surfaces/mcp/test_trust.py",
        "whose session it is shows at the socket",
    ),
    "gateway/surfaces/mcp/streams.py": (
        "tests/surfaces/mcp/test_trust.py",
        "framing is tested with hostile data",
    ),
    "gateway/surfaces/mcp/tracks.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "a broken stream is taken up there",
    ),
    "gateway/upstreams/mcp/channel.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "only ignored, for what nobody asked",
    ),
    "gateway/upstreams/mcp/links.py": (
        "tests/surfaces/mcp/test_trust.py",
        "servers that end are started again there",
    ),
    "gateway/upstreams/mcp/parsing.py": (
        "tests/surfaces/mcp/test_trust.py",
        "refusals and hints are tested with calls",
    ),
    "gateway/upstreams/mcp/shelf.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "lists come from it",
    ),
    "gateway/upstreams/mcp/spec.py": (
        "tests/app/test_servers.py",
        "specs are made there",
    ),
    "gateway/upstreams/mcp/stdio.py": (
        "tests/surfaces/mcp/test_trust.py",
        "processes that misbehave",
    ),
    "gateway/upstreams/mcp/streamable.py": (
        "tests/acceptance/test_mcp_conformance.py",
        "a real server behind it",
    ),
    "gateway/upstreams/mcp/upstream.py": (
        "tests/surfaces/mcp/test_endpoints.py",
        "the whole of it",
    ),
    "gateway/steps.py": ("tests/test_revert.py", "a part of the walk back"),
}


def elsewhere(path: str) -> str | None:
    """The exception that covers ``path``."""
    covering = (
        name
        for name in TESTED_ELSEWHERE
        if path == name or (name[-1:] == "/" and path.startswith(name))
    )
    return next(covering, None)


def has_logic(of: Source) -> bool:
    """Whether a function does more than state a type or hand something on."""
    return any(_acts(node) for _, node in functions(of.tree))


def _acts(function: Function) -> bool:
    body = function.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return any(
        not isinstance(statement, ast.Expr | ast.Pass) or _calls(statement) for statement in body
    )


def _calls(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))


def mirror(path: str) -> str:
    """``gateway/a/b.py`` is tested by ``tests/a/test_b.py``, a package by ``tests/a/test_a.py``."""
    module = PurePosixPath(path).relative_to("gateway")
    name = module.parent.name if module.name == "__init__.py" else module.stem
    return f"tests/{module.parent.as_posix()}/test_{name}.py".replace("/./", "/")


def covered(path: str) -> bool:
    return (ROOT / mirror(path)).is_file()


def uncovered() -> list[str]:
    return [m.path for m in python("gateway") if has_logic(m) and not covered(m.path)]


def test_every_module_with_logic_has_its_own_tests() -> None:
    bare = [f"{path} (expected {mirror(path)})" for path in uncovered() if not elsewhere(path)]

    assert bare == []


def test_an_exception_from_the_mirror_is_needed_and_true() -> None:
    needed = {elsewhere(path) for path in uncovered()}

    assert sorted(set(TESTED_ELSEWHERE) - needed) == [], "exceptions that are not needed any more"
    for name, (tests, why) in TESTED_ELSEWHERE.items():
        assert (ROOT / tests).is_file(), f"{tests} is gone, which {name} relied on"
        assert why, name


def test_the_mirror_names_the_expected_file() -> None:
    assert mirror("gateway/pipeline.py") == "tests/test_pipeline.py"
    assert mirror("gateway/policy/rego.py") == "tests/policy/test_rego.py"
    assert mirror("gateway/config/__init__.py") == "tests/config/test_config.py"


def test_protocols_and_plain_nouns_have_no_logic_and_functions_do() -> None:
    protocol = 'class A:\n    def a(self) -> int:\n        """Text."""\n        ...\n'
    assert not has_logic(source("a.py", protocol))
    assert not has_logic(source("a.py", "from x import y\n\n__all__ = ['y']\n"))
    assert has_logic(source("a.py", "def a(b):\n    return b + 1\n"))
    assert has_logic(source("a.py", "def a(b):\n    b.close()\n"))
