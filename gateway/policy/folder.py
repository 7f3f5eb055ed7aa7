"""The policy folder: what lies in it, read strictly, named by a revision, written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gateway.errors import PolicyInvalid
from gateway.model import Json
from gateway.policy.syntax import Fault

NAME = re.compile(r"[a-z0-9_]+\.rego|data\.yaml")
TEST_SUFFIX = "_test.rego"
_MAX_FILE = 256 * 1024
_MAX_DEPTH = 32
# YAML 1.1 and 1.2 read these as different things; people mean a text, so it has to be quoted.
_AMBIGUOUS = re.compile(
    r"(?i)y|n|yes|no|on|off|[-+.]?(?:inf|nan)|\.\S+|0[xob]?[0-9a-f_]+|[-+].*|[0-9][0-9_:.,e+-]*"
    r"|\d{4}-\d\d?-\d\d?.*|null|true|false|~|=|<<"
)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,6})\.[0-9]{0,7}[1-9]")
_PLAIN: Mapping[str, Json] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The texts of one set of policies by file name."""

    texts: Mapping[str, str]

    @property
    def revision(self) -> str:
        """Short, and the same for the same files wherever they lie."""
        shown = json.dumps(sorted(self.texts.items()), ensure_ascii=True)
        return hashlib.sha256(shown.encode()).hexdigest()[:16]

    @property
    def policies(self) -> dict[str, str]:
        return {name: text for name, text in sorted(self.texts.items()) if name.endswith(".rego")}

    def data(self) -> dict[str, Json]:
        """The data document. Raises ``PolicyInvalid``."""
        if "data.json" in self.texts:
            return parse_json(self.texts["data.json"])
        text = self.texts.get("data.yaml")
        return {} if text is None else parse_data(text)

    def without_tests(self) -> Files:
        kept = {name: text for name, text in self.texts.items() if not name.endswith(TEST_SUFFIX)}
        return Files(texts=kept)

    def with_file(self, name: str, text: str) -> Files:
        return Files(texts={**self.texts, name: text})


def invalid(faults: Sequence[Fault]) -> PolicyInvalid:
    """The error for ``faults``; its detail names the first."""
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return PolicyInvalid(
        f"{first.file}:{first.line}: {first.message}{more}",
        faults=[fault.as_json() for fault in faults],
    )


def read_folder(folder: Path) -> Files:
    """Every policy file of ``folder``. Raises ``PolicyInvalid`` for anything that OPA would load
    from there and we would not."""
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise invalid([_fault(folder.name, f"cannot be read: {error.strerror}")]) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if (NAME.fullmatch(entry.name) or entry.name == "data.json") and entry.is_file():
            text = _read(entry)
            if isinstance(text, Fault):
                faults.append(text)
            else:
                texts[entry.name] = text
        elif entry.is_dir() or entry.suffix == ".rego" or entry.name == "data.yml":
            message = "only NAME.rego (a-z, 0-9, _) and data.yaml lie here, without folders"
            faults.append(_fault(entry.name, message))
    if {"data.yaml", "data.json"} <= texts.keys():
        faults.append(_fault("data.json", "stands beside data.yaml: keep one of them"))
    if faults:
        raise invalid(faults)
    return Files(texts=texts)


def _read(path: Path) -> str | Fault:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        return data.decode() if len(data) <= _MAX_FILE else _fault(path.name, "is over 256 KiB")
    except OSError as error:
        return _fault(path.name, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _fault(path.name, "is not UTF-8")


def _fault(file: str, message: str, line: int = 1) -> Fault:
    return Fault(file=file, line=line, message=message)


def check_file(name: str, text: str) -> None:
    """Raises ``PolicyInvalid`` for a name or size that ``read_folder`` would not take back."""
    if NAME.fullmatch(name) is None:
        raise invalid([_fault(name[:100], "a policy file is NAME.rego (a-z, 0-9, _) or data.yaml")])
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise invalid([_fault(name, "is not UTF-8")]) from error
    if size > _MAX_FILE:
        raise invalid([_fault(name, "is over 256 KiB")])


def write_file(folder: Path, name: str, text: str) -> None:
    """Puts ``text`` in place of ``folder/name`` so that a crash leaves the old or the new."""
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        target = folder / name
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- data.yaml ------------------------------------------------------------------------------


class _Unclear(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def parse_data(text: str) -> dict[str, Json]:
    """``data.yaml`` as every YAML reader understands it: no duplicate keys, only text keys, no
    anchors, tags or ambiguous words. Raises ``PolicyInvalid`` with the line."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "tag", None) is not None:
                raise _Unclear(_line(event), "tags are not accepted")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return {}
        value = _value(node, _MAX_DEPTH, set())
        if not isinstance(value, dict):
            raise _Unclear(1, "the data document is a mapping")
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        message = error.problem or "cannot be read"
        raise invalid([_fault("data.yaml", message, line)]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise invalid([_fault("data.yaml", "cannot be read as YAML")]) from error
    except _Unclear as error:
        raise invalid([_fault("data.yaml", error.message, error.line)]) from error
    return value


def _line(at: yaml.Node | yaml.Event) -> int:
    return 1 if at.start_mark is None else at.start_mark.line + 1


def _value(node: yaml.Node, depth: int, seen: set[int]) -> Json:
    line = _line(node)
    if depth == 0:
        raise _Unclear(line, "nested too deeply")
    if id(node) in seen:
        raise _Unclear(line, "anchors and aliases are not accepted")
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, line)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, depth - 1, seen) for item in node.value]
    assert isinstance(node, yaml.MappingNode)
    members: dict[str, Json] = {}
    for key_node, member in node.value:
        key_line = _line(key_node)
        key = _value(key_node, depth - 1, seen)
        if not isinstance(key, str):
            raise _Unclear(key_line, "a key has to be a text: put it in quotes")
        if key in members:
            raise _Unclear(key_line, f"the key {key} stands here twice")
        members[key] = _value(member, depth - 1, seen)
    return members


def _scalar(node: yaml.ScalarNode, line: int) -> Json:
    text: str = node.value
    if "\x00" in text:
        raise _Unclear(line, "holds a NUL character")
    if node.style is not None:
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if text == "":
        return None
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _AMBIGUOUS.fullmatch(text):
        raise _Unclear(line, f"{text} means different things to different readers: quote it")
    return text


# --- data.json ------------------------------------------------------------------------------


def parse_json(text: str) -> dict[str, Json]:
    """``data.json``, without duplicate keys or numbers that readers round differently. Raises
    ``PolicyInvalid``."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_members_once,
            parse_int=_whole,
            parse_float=_decimal,
            parse_constant=_decimal,
        )
    except json.JSONDecodeError as error:
        raise invalid([_fault("data.json", error.msg, error.lineno)]) from error
    except (_Unclear, RecursionError) as error:
        raise invalid([_fault("data.json", str(error))]) from error
    if not isinstance(value, dict):
        raise invalid([_fault("data.json", "the data document is an object")])
    return value


def _members_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unclear(1, "a key stands twice in one object")
    return members


def _whole(text: str) -> int:
    if _WHOLE.fullmatch(text) is None:
        raise _Unclear(1, f"{text} is too long a number")
    return int(text)


def _decimal(text: str) -> float:
    if _DECIMAL.fullmatch(text) is None:
        raise _Unclear(1, f"{text}: write numbers without exponent and with few digits")
    return float(text)
