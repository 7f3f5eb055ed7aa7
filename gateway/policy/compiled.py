"""One set of policies, checked and ready to decide."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import regorus

from gateway.model import Json
from gateway.policy.folder import TEST_SUFFIX, Files, invalid
from gateway.policy.functions import COUNT_ASTRAL, REPLACED, Replacement
from gateway.policy.input import FIELDS
from gateway.policy.remembering import Remembered
from gateway.policy.samples import samples
from gateway.policy.syntax import Fault, Module, Rule, engine_fault, modules_of
from gateway.policy.vet import faults_of

Value = TypeVar("Value")
_OWN = threading.local()
_KEPT = 6  # engines that a thread keeps
ENTRY = ("gateway", "decision")
_LAST_BMP = "\uffff"


def release() -> None:
    """Drops the engines of this thread. Those of a thread that lives on would be dropped, and
    complain, in every process that is forked from this one."""
    _OWN.__dict__.pop("made", None)


class EngineFailed(Exception):
    """The engine gave no value; ``fault`` has its complaint in one line and the place. Neither the
    engine's own error nor its frames are kept: they could carry the engine to another thread."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """What the policies' own tests said. ``failed``: ``{"name", "file", "line", "message"}``."""

    __test__ = False  # not a test class, whatever pytest reads in its name

    passed: int
    failed: list[dict[str, Json]] = field(default_factory=list)


class Compiled:
    """Policies that passed the load check. Instances are never changed and may be used from any
    thread: an engine must not leave the thread that made it, so each thread has its own."""

    def __init__(self, files: Files, modules: Sequence[Module], *, always_astral: bool) -> None:
        self.files = files
        self.revision = files.revision
        self._modules = modules
        self._data = files.data()
        self._always_astral = always_astral
        self._remembered = Remembered(modules)

    def decision(
        self, document: Mapping[str, Json], text_of: Callable[[Mapping[str, Json]], str]
    ) -> Json:
        """The decision on ``document``, which ``text_of`` makes JSON where that is needed. Raises
        ``EngineFailed`` and what ``text_of`` raises."""
        key = self._remembered.key(document)
        answer = self._remembered.get(key)
        if answer is None:
            answer = self.evaluate(text_of(document))
            self._remembered.keep(key, answer)
        return answer

    def evaluate(
        self, document: str, rule: str = "data.gateway.decision", *, with_tests: bool = False
    ) -> Json:
        """The value of ``rule`` for the JSON text ``document``; ``None`` when it is undefined.
        Rules of test files exist only ``with_tests``. Raises ``EngineFailed``."""
        astral = self._always_astral or is_astral(document)
        engine = self._engine(astral=astral, with_tests=with_tests).clone()
        text = _guarded(lambda: _value_of(engine, document, rule))
        value = json.loads(text)
        return None if value == "<undefined>" else value

    def _engine(self, *, astral: bool, with_tests: bool) -> regorus.Engine:
        made: dict[tuple[str, bool, bool], regorus.Engine] = _OWN.__dict__.setdefault("made", {})
        key = (self.revision, astral, with_tests)
        engine = made.get(key)
        if engine is None:
            files = self.files if with_tests else self.files.without_tests()
            replaced = (*REPLACED, COUNT_ASTRAL) if astral else REPLACED
            engine = _warm(_engine(files, replaced, self._data))
            while len(made) >= _KEPT:
                del made[next(iter(made))]
            made[key] = engine
        return engine

    def rules(self) -> list[Rule]:
        """Every rule with a value of its own, once, without functions."""
        found = {
            rule.path: rule
            for module in self._modules
            for rule in module.rules
            if rule.kind != "function"
        }
        return list(found.values())

    def test(self) -> TestReport:
        """Runs every rule whose name starts with ``test_``; it passes when it is true."""
        passed, failed = 0, []
        for rule in self.rules():
            if not rule.name.startswith("test_"):
                continue
            message = "the test is not true"
            try:
                value = self.evaluate("{}", _path(rule), with_tests=True)
            except EngineFailed as error:
                value, message = None, str(error)
            if value is True:
                passed += 1
            else:
                where = {"name": _path(rule), "file": rule.file, "line": rule.line}
                failed.append({**where, "message": message})
        return TestReport(passed=passed, failed=failed)


def is_astral(text: str) -> bool:
    """Whether ``text``, which may be JSON, can hold a character beyond the Basic Multilingual
    Plane."""
    if "\\ud" in text or "\\uD" in text:
        return True
    return not text.isascii() and max(text) > _LAST_BMP


def compile_files(files: Files, *, deadline_s: float) -> tuple[Compiled, TestReport]:
    """Parses, checks, tries on samples and tests. Raises ``PolicyInvalid`` with every fault of the
    first of these steps that finds one."""
    compiled = parse_files(files)
    _try_samples(compiled, deadline_s)
    report = compiled.test()
    if report.failed:
        raise invalid(
            [
                Fault(
                    file=failure["file"],
                    line=failure["line"],
                    message=f"test {failure['name']} failed: {failure['message']}",
                )
                for failure in report.failed
            ]
        )
    return compiled, report


def parse_files(files: Files) -> Compiled:
    """Parses and checks without running anything. Raises ``PolicyInvalid``."""
    data = files.data()
    engine = _engine(files, (), {})
    ast = engine.get_ast_as_json()
    modules = modules_of(ast)
    faults = faults_of(modules, data.keys(), FIELDS) + _gateway_faults(modules)
    if faults:
        raise invalid(faults)
    # Decoded, so that an escape in a policy counts like the character itself.
    constants = json.dumps([json.loads(ast), data], ensure_ascii=False)
    return Compiled(files, modules, always_astral=is_astral(constants))


def _gateway_faults(modules: Sequence[Module]) -> list[Fault]:
    faults = [
        Fault(
            file=module.file,
            line=1,
            message="policies are of package gateway, tests of gateway_test, or below these",
        )
        for module in modules
        if module.package[:1] not in (("gateway",), ("gateway_test",))
        or (module.package[0] == "gateway_test" and not module.is_test)
    ]
    rules = [rule for module in modules for rule in module.rules]
    if not any(rule.path == ENTRY and rule.kind == "value" for rule in rules):
        faults.append(Fault(file="gateway.rego", line=1, message="package gateway has no decision"))
    return faults


def _engine(files: Files, replaced: Sequence[Replacement], data: dict[str, Json]) -> regorus.Engine:
    engine = regorus.Engine()
    for replacement in replaced:
        engine.add_extension(replacement.name, replacement.arity, replacement.answer)
    faults = []
    for name, text in files.policies.items():
        try:
            _guarded(partial(engine.add_policy, name, text), name)
        except EngineFailed as error:
            faults.append(error.fault)
    if faults:
        raise invalid(faults)
    if data:
        _guarded(lambda: engine.add_data_json(json.dumps(data)))
    return engine


def _warm(engine: regorus.Engine) -> regorus.Engine:
    """Has the engine plan its rules, which every clone would otherwise do again."""
    with contextlib.suppress(EngineFailed):  # what goes wrong here goes wrong when it decides
        _guarded(lambda: _value_of(engine, "{}", ".".join(("data", *ENTRY))))
    return engine


def _try_samples(compiled: Compiled, deadline_s: float) -> None:
    """The engine finds some faults only when it runs a rule; so every rule runs, on every kind of
    call, before any of them decides."""
    faults: dict[Fault, None] = {}
    for sample in samples():
        document = json.dumps(sample)
        began = time.monotonic()
        try:
            compiled.evaluate(document)
        except EngineFailed as error:
            faults[error.fault] = None
        took = time.monotonic() - began
        if took > deadline_s:
            message = f"a decision took {took:.2f} s; at most {deadline_s} s are allowed"
            faults[Fault(file="gateway.rego", line=1, message=message)] = None
        for rule in compiled.rules():
            if rule.file.endswith(TEST_SUFFIX) or rule.name.startswith(("test_", "todo_test_")):
                continue
            try:
                compiled.evaluate(document, _path(rule))
            except EngineFailed as error:
                faults[error.fault] = None
    if faults:
        raise invalid(list(faults))


def _path(rule: Rule) -> str:
    return ".".join(("data", *rule.path))


def _value_of(engine: regorus.Engine, document: str, rule: str) -> str:
    engine.set_input_json(document)
    value: str = engine.eval_rule_as_json(rule)
    return value


def _guarded(work: Callable[[], Value], file: str = "") -> Value:
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
        raise
    except BaseException as error:  # noqa: BLE001
        # A panic of the engine is a BaseException of its own; it must be a refusal too.
        fault = engine_fault(error, file)
    raise EngineFailed(fault)
