"""A YAML file as plain data in which every value knows its line.

Stricter than YAML: keys are unique, only JSON's types exist, anchors and tags are refused. So what
the file says and what the gateway does cannot be told apart by a trick of the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from gateway.errors import ConfigInvalid
from gateway.model import Json

Path = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\{)")
_NOT_YAML = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PASSWORD_IN_URL = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_TYPES = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``line`` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value as it stands in the file: ``written`` before, ``text`` after the environment was
    read. A value that names a variable is text, quoted or not, until its type is known."""

    written: str
    text: str

    @property
    def interpolated(self) -> bool:
        return _VARIABLE.search(self.written) is not None

    def typed(self) -> Json:
        """The value that ``text`` would be if it stood in the file."""
        tag = _Loader("").resolve(yaml.ScalarNode, self.text, (True, False))  # type: ignore[no-untyped-call]
        return _value(_TYPES.get(tag, "str"), self.text)

    @property
    def from_environment(self) -> bool:
        """Nothing of the value is written in the file, not even as a default."""
        return not _VARIABLE.sub("", self.written) and all(
            m[1] and not m[2] for m in _VARIABLE.finditer(self.written)
        )

    @property
    def names_a_secret(self) -> bool:
        """A variable stands in the value, and none has a default that could pass for a secret."""
        found = list(_VARIABLE.finditer(self.written))
        return any(m[1] for m in found) and not any(m[2] for m in found)

    @property
    def default_password(self) -> bool:
        """A default for a variable is a URL with a password in it."""
        return any(m[2] and _PASSWORD_IN_URL.search(m[2]) for m in _VARIABLE.finditer(self.written))


@dataclass(slots=True, kw_only=True)
class Document:
    """``data`` holds what could be read even where there are ``faults``."""

    data: Json = None
    lines: dict[Path, int] = field(default_factory=dict)
    keys: dict[Path, int] = field(default_factory=dict)
    scalars: dict[Path, Scalar] = field(default_factory=dict)
    unreadable: set[Path] = field(default_factory=set)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest thing around it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def join(self, other: str, key: str) -> None:
        """Moves the members of the top key ``other`` to ``key``; a name that both have is a
        fault."""
        if not isinstance(self.data, dict) or not isinstance(self.data.get(other), dict):
            return
        moved = self.data.pop(other)
        kept = self.data.setdefault(key, {})
        for name in moved:
            if isinstance(kept, dict) and name in kept:
                line = self.key_line((other, name))
                self.faults.append(Fault(line=line, message=f"{name!r} is in {key} already"))
        if isinstance(kept, dict):
            self.data[key] = {**moved, **kept}

        def moved_to(path: Path) -> Path:
            return (key, *path[1:]) if path[:1] == (other,) else path

        self._move(moved_to)

    def rename(self, path: Path, to: Path) -> None:
        """What stood at ``path`` is at ``to`` from now on."""

        def moved_to(old: Path) -> Path:
            return (*to, *old[len(path) :]) if old[: len(path)] == path else old

        self._move(moved_to)

    def _move(self, moved_to: Callable[[Path], Path]) -> None:
        self.scalars = {moved_to(path): scalar for path, scalar in self.scalars.items()}
        self.lines = {moved_to(path): line for path, line in self.lines.items()}
        self.keys = {moved_to(path): line for path, line in self.keys.items()}
        self.unreadable = {moved_to(path) for path in self.unreadable}

    def key_line(self, path: Path) -> int:
        return self.keys.get(path, self.line(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where each key of a configuration stands; without a file, everything is on line 1."""

    file: str = "<text>"
    document: Document = field(default_factory=Document)

    def invalid(self, faults: Sequence[tuple[Path, str]]) -> ConfigInvalid:
        """``ConfigInvalid`` with file, line and message of each fault, in the file's order."""
        found = [
            Fault(line=self.document.line(path), message=f"{dotted(path)}: {message}")
            for path, message in faults
        ]
        return invalid(self.file, found)


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def invalid(file: str, faults: Sequence[Fault]) -> ConfigInvalid:
    """The error that lists ``faults`` once each, in the order of the file."""
    ordered = sorted(dict.fromkeys(faults), key=lambda f: f.line)
    listed = [{"file": file, "line": f.line, "message": f.message} for f in ordered]
    count = "1 fault" if len(listed) == 1 else f"{len(listed)} faults"
    return ConfigInvalid(f"The configuration {file} has {count}.", faults=listed)


class _Loader(yaml.SafeLoader):
    """Composes only. ``true``, ``null`` and numbers as in JSON: ``no`` and ``12:30`` are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not accepted", problem_mark=event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


for _name, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~", "n~"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-0123456789"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), [*_first]
    )
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


# Gives the value of a variable that stands at the start of a text, if it knows it.
Foreign = Callable[[str, Path], "tuple[re.Match[str], Callable[[list[str]], str]] | None"]


def no_others(_written: str, _path: Path) -> None:
    return None


def read(text: str, environ: Mapping[str, str], foreign: Foreign = no_others) -> Document:
    """Never raises for what the file holds: everything wrong is in ``faults``. ``foreign`` knows
    variables beside ``${NAME}`` and ``${NAME:-default}``."""
    document = Document(environ=environ)
    node = _composed(text)
    if isinstance(node, Fault):
        document.faults.append(node)
    else:
        document.data = _Builder(document, environ, foreign).build(node, ())
    return document


def _composed(text: str) -> yaml.Node | Fault:
    bad = _NOT_YAML.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        return Fault(line=line, message="YAML: a control character")
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(filter(None, (error.context, error.problem)))
        return Fault(line=mark.line + 1 if mark else 1, message=f"YAML: {message}")
    except RecursionError:
        return Fault(line=1, message="YAML: nested too deeply")
    return Fault(line=1, message="the file is empty") if node is None else node


class _Builder:
    def __init__(self, document: Document, environ: Mapping[str, str], foreign: Foreign) -> None:
        self._document = document
        self._environ = environ
        self._foreign = foreign

    def build(self, node: yaml.Node, path: Path) -> Json:
        self._document.lines[path] = _line(node)
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _TYPES:
            return self._scalar(node, path)
        return self._fault(node, path, f"the tag {node.tag} is not accepted")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not isinstance(key.value, str):
                self._fault(key, path, "a key must be plain text")
                continue
            name = key.value
            here = (*path, name)
            if name in found:
                first = self._document.keys[here]
                message = f"{name!r} is given twice (first on line {first})"
                self._document.faults.append(Fault(line=_line(key), message=message))
                continue
            self._document.keys[here] = _line(key)
            found[name] = self.build(value, here)
        return found

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Json:
        missing: list[str] = []
        text = self._interpolated(node.value, path, missing)
        self._document.scalars[path] = Scalar(written=node.value, text=text)
        for message in missing:
            self._fault(node, path, message)
        return _value(_TYPES[node.tag], text)

    def _interpolated(self, written: str, path: Path, missing: list[str]) -> str:
        out, at = [], 0
        while (match := _VARIABLE.search(written, at)) is not None:
            out.append(written[at : match.start()])
            other = self._foreign(written[match.start() :], path)
            if other is None:
                out.append(self._value(match, missing))
                at = match.end()
            else:
                found, value = other
                out.append(value(missing))
                at = match.start() + found.end()
        return "".join((*out, written[at:]))

    def _value(self, match: re.Match[str], missing: list[str]) -> str:
        name, default = match[1], match[2]
        if match[0] == "$$":
            return "$"
        if name is None:
            missing.append("'${' must be followed by NAME} or NAME:-default}")
            return ""
        if default is not None:
            return self._environ.get(name) or default
        if name not in self._environ:
            missing.append(f"the environment variable {name} is not set")
        return self._environ.get(name, "")

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        self._document.unreadable.add(path)
        self._document.faults.append(Fault(line=_line(node), message=message))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _value(kind: str, text: str) -> Json:
    """``text`` as its type; an explicit tag that does not fit leaves the text for validation."""
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    if kind == "bool":
        return {"true": True, "false": False}.get(text, text)
    return None if kind == "null" else text
