"""The load check: refuses policies that the embedded engine would judge otherwise than OPA.

It reads the syntax tree and accepts only what it knows. So a construct that the engines differ on,
a variable without a value, a misspelt rule, an unknown function, a cycle: each is a fault with file
and line when the policies are loaded, not a silent ``undefined`` when they decide. The snippets in
``tests/fixtures/decisions`` hold the differences that were found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from gateway.policy.functions import ALLOWED
from gateway.policy.queries import Checker
from gateway.policy.scope import Known, Names, Scope
from gateway.policy.syntax import Fault, Module, Path, Rule, line_of, node

_SIMPLE_ARGUMENTS = frozenset({"Var", "String", "RawString", "Number", "Bool", "Null"})
_GROUND = frozenset({"String", "RawString", "Number", "Bool", "Null"})


def faults_of(
    modules: Sequence[Module],
    data: Set[str],
    fields: Mapping[str, Set[str]] | None = None,
) -> list[Fault]:
    """Every reason to refuse ``modules``, by file and line. ``data`` holds the top keys of the
    data document; ``fields`` the two levels of input that exist (``None``: any)."""
    faults = [fault for module in modules for fault in module.faults]
    rules = [rule for module in modules for rule in module.rules]
    faults += _package_faults(modules, data)
    known = _known(rules, faults)
    links: dict[Path, set[Path]] = {path: set() for path in known}
    packages = frozenset(module.package for module in modules)
    for module in modules:
        names = Names(module=module, known=known, packages=packages, data=data, fields=fields)
        for rule in module.rules:
            checker = Checker(names, links[rule.path])
            _check_rule(rule, checker)
            faults += checker.faults
    faults += _cycles(known, links)
    return sorted(set(faults), key=lambda fault: (fault.file, fault.line, fault.message))


def _package_faults(modules: Sequence[Module], data: Set[str]) -> Iterator[Fault]:
    for module in modules:
        if module.package and module.package[0] in data:
            yield Fault(
                file=module.file,
                line=1,
                message=f"package {module.package[0]} and the data of that name would mix",
            )


def _known(rules: Sequence[Rule], faults: list[Fault]) -> dict[Path, Known]:
    known: dict[Path, Known] = {}
    packages = {rule.package for rule in rules}
    for rule in rules:
        before = known.get(rule.path)
        message = None
        if rule.path in packages:
            message = f"rule {rule.name} has the name of a package"
        elif before is not None and (before.kind, before.arity) != (rule.kind, len(rule.args)):
            message = f"rule {rule.name} is defined in another way at {before.file}:{before.line}"
        elif before is not None and before.defaulted and rule.default:
            message = f"rule {rule.name} has two defaults"
        elif _reserved(rule.name):
            message = f"rule {rule.name} has the name of a built-in function or document"
        if message is not None:
            faults.append(Fault(file=rule.file, line=rule.line, message=message))
        known[rule.path] = Known(
            path=rule.path,
            kind=rule.kind if before is None else before.kind,
            arity=len(rule.args),
            defaulted=rule.default or (before is not None and before.defaulted),
            file=rule.file if before is None else before.file,
            line=rule.line if before is None else before.line,
        )
    return known


def _reserved(name: str) -> bool:
    return name in ("input", "data", "_") or name in ALLOWED


def _check_rule(rule: Rule, checker: Checker) -> None:
    scope = Scope()
    for argument in rule.args:
        _check_argument(argument, scope, checker)
    if rule.default:
        if not _is_ground(rule.value):
            checker.refuse(rule.line, "a default is a plain value, without references or calls")
        return
    if any(not body.is_else for body in rule.bodies[1:]):
        checker.refuse(rule.line, "write one rule per body")
    if not rule.bodies:
        _check_head(rule, scope, checker)
    for at, body in enumerate(rule.bodies):
        inner = checker.query(body.query, scope)
        if at == 0:
            _check_head(rule, inner, checker)
        elif body.value is not None:
            checker.expression(body.value, inner)
        checker.close(inner)


def _check_argument(argument: Mapping[str, object], scope: Scope, checker: Checker) -> None:
    kind, members = node(argument)
    if kind not in _SIMPLE_ARGUMENTS:
        checker.refuse(line_of(argument), "an argument is a name or a plain value, not a pattern")
    elif kind == "Var" and members["value"] != "_":
        checker.declare(members["value"], scope, line_of(argument))


def _check_head(rule: Rule, scope: Scope, checker: Checker) -> None:
    for part in (rule.key, rule.value):
        if part is not None:
            checker.expression(part, scope)


def _is_ground(value: Mapping[str, object]) -> bool:
    kind, members = node(value)
    if kind in ("Array", "Set"):
        return all(_is_ground(item) for item in members["items"])
    if kind == "Object":
        return all(_is_ground(k) and _is_ground(v) for _, k, v in members["fields"])
    return kind in _GROUND


def _cycles(known: Mapping[Path, Known], links: Mapping[Path, set[Path]]) -> Iterator[Fault]:
    """Rules that depend on themselves, found without recursion of our own: peel off what depends
    on nothing; what remains on both ends of the peeling lies on a cycle."""
    left = {path: {to for to in links[path] if to in known} for path in known}
    while True:
        done = {path for path, needs in left.items() if not needs}
        if not done:
            break
        left = {path: needs - done for path, needs in left.items() if path not in done}
    for path in left:
        if any(path in needs for needs in left.values()):
            rule = known[path]
            yield Fault(
                file=rule.file, line=rule.line, message=f"rule {path[-1]} depends on itself"
            )
