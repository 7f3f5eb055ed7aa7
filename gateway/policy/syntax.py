"""Policies as the engine parsed them, in the shape that the checks read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.model import Json

Path = tuple[str, ...]
Node = tuple[str, Mapping[str, Json]]

_PLACE = re.compile(r"--> (?P<file>[^\n:]+):(?P<line>\d+):\d+")
_NOISE = re.compile(r"\n+Stack backtrace:.*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a set of policies is refused, and where."""

    file: str
    line: int
    message: str

    def as_json(self) -> dict[str, Json]:
        return {"file": self.file, "line": self.line, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One body of a rule: its statements, and the value it gives (``None``: the rule's own)."""

    query: Mapping[str, Json]
    value: Json
    is_else: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One definition of a rule. ``kind``: ``value``, ``set``, ``object``, ``function``."""

    package: Path
    name: str
    kind: str
    file: str
    line: int
    default: bool = False
    args: tuple[Json, ...] = ()
    key: Json = None
    value: Json = None
    bodies: tuple[Body, ...] = ()

    @property
    def path(self) -> Path:
        return (*self.package, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One ``.rego`` file."""

    file: str
    source: bytes
    package: Path
    rules: tuple[Rule, ...]
    faults: tuple[Fault, ...] = field(default=())

    @property
    def is_test(self) -> bool:
        return self.file.endswith("_test.rego")

    def text(self, span: Mapping[str, Json]) -> str:
        """The source under ``span``, whose offsets are in bytes."""
        return self.source[span["start"] : span["end"]].decode()


def engine_fault(error: BaseException, file: str = "") -> Fault:
    """The engine's complaint without its stack, with the place that it names."""
    text = _NOISE.sub("", str(error)).strip()
    place = _PLACE.search(text)
    message = text.rpartition("error:")[2].strip().partition("\n")[0] or "the engine failed"
    return Fault(
        file=place["file"] if place else file, line=int(place["line"]) if place else 1,
        message=message,
    )  # fmt: skip


def node(value: Mapping[str, Json]) -> Node:
    """The kind of an expression or literal, and its members."""
    ((kind, members),) = value.items()
    return kind, members


def line_of(value: Mapping[str, Json]) -> int:
    _, members = node(value)
    line: int = members["span"]["line"]
    return line


def modules_of(ast: str) -> list[Module]:
    """The modules in the engine's syntax tree."""
    return [_module(entry) for entry in json.loads(ast)]


def dotted(value: Mapping[str, Json]) -> Path | None:
    """``a.b["c"]`` as its segments; ``None`` when any part is not static."""
    kind, members = node(value)
    if kind == "Var":
        return (members["value"],)
    if kind == "RefDot":
        base = dotted(members["refr"])
        return None if base is None else (*base, members["field"][1])
    if kind == "RefBrack":
        base = dotted(members["refr"])
        index, inner = node(members["index"])
        return None if base is None or index != "String" else (*base, inner["value"])
    return None


def _module(entry: Mapping[str, Json]) -> Module:
    tree, source = entry["ast"], entry["source"]
    file, text = source["file"], source["contents"].encode()
    faults: list[Fault] = []
    package = dotted(tree["package"]["refr"]) or ()
    for item in tree["imports"]:
        if dotted(item["refr"]) != ("rego", "v1") or item.get("as"):
            # The engine loses a `with` on its way through an imported name.
            message = "import only rego.v1; write data.PACKAGE.NAME out"
            faults.append(Fault(file=file, line=item["span"]["line"], message=message))
    rules = []
    for item in tree["rules"]:
        rule = _rule(item, package, text, file)
        if isinstance(rule, Fault):
            faults.append(rule)
        else:
            rules.append(rule)
    return Module(
        file=file,
        source=text,
        package=package,
        rules=tuple(rules),
        faults=tuple(faults),
    )


def _rule(item: Mapping[str, Json], package: Path, source: bytes, file: str) -> Rule | Fault:
    form, members = node(item)
    line = members["span"]["line"]
    if form == "Default":
        name = _plain_name(members["refr"])
        if name is None:
            return Fault(file=file, line=line, message="a default needs a plain rule name")
        args = tuple(members["args"])
        return Rule(
            package=package,
            name=name,
            kind="function" if args else "value",
            file=file,
            line=line,
            default=True,
            args=args,
            value=members["value"],
        )
    shape, head = node(members["head"])
    bodies = tuple(_bodies(members["bodies"]))
    return _headed(shape, head, bodies, package, source, file, line)


def _headed(
    shape: str,
    head: Mapping[str, Json],
    bodies: tuple[Body, ...],
    package: Path,
    source: bytes,
    file: str,
    line: int,
) -> Rule | Fault:
    assign = head.get("assign")
    value = None if assign is None else assign["value"]
    kind, key, refr = "value", None, head["refr"]
    form, inner = node(refr)
    if shape == "Set":
        kind, key = "set", head.get("key")
        if key is None or not _says_contains(head, source):
            return Fault(file=file, line=line, message="a set rule is written NAME contains VALUE")
    elif shape == "Func":
        kind = "function"
    elif form == "RefBrack":
        kind, key, refr = "object", inner["index"], inner["refr"]
        if assign is None or node(key)[0] == "String":
            message = "write NAME contains VALUE for a set, an object literal for constant keys"
            return Fault(file=file, line=line, message=message)
    name = _plain_name(refr)
    if name is None:
        return Fault(file=file, line=line, message="a rule has a plain name, without dots")
    if assign is not None and assign["op"] != "ColEq":
        return Fault(file=file, line=line, message="give a rule its value with :=, not =")
    args = tuple(head.get("args") or ())
    if kind == "function" and not args:
        return Fault(file=file, line=line, message="a function needs at least one argument")
    return Rule(
        package=package,
        name=name,
        kind=kind,
        file=file,
        line=line,
        args=args,
        key=key,
        value=value,
        bodies=bodies,
    )


def _says_contains(head: Mapping[str, Json], source: bytes) -> bool:
    # The tree has the same shape for `p contains x` and the older `p[x]`.
    span = head["span"]
    _, name = node(head["refr"])
    after = source[span["start"] : span["end"]][name["span"]["end"] - span["start"] :]
    return after.lstrip().startswith(b"contains")


def _plain_name(refr: Mapping[str, Json]) -> str | None:
    path = dotted(refr)
    return path[0] if path is not None and len(path) == 1 else None


def _bodies(items: Sequence[Mapping[str, Json]]) -> Iterator[Body]:
    for item in items:
        assign = item.get("assign")
        yield Body(
            query=item["query"],
            value=None if assign is None else assign["value"],
            is_else=item["is_else"],
            line=item["span"]["line"],
        )
