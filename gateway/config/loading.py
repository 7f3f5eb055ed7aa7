"""From a file to a ``Config``, or to the list of everything that is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.config.document import Document, Fault, Places, Scalar, dotted, invalid, read
from gateway.config.document import Path as KeyPath
from gateway.config.pasted import adopt, foreign_variable, is_toml
from gateway.config.settings import Config
from gateway.config.values import SecretMarker
from gateway.model import Json

# Keys of later versions: an unknown key that says why it is unknown.
NOT_SERVED: Mapping[KeyPath, str] = {
    ("server", "wire_port"): "The PostgreSQL wire protocol is",
}

_CREDENTIAL = re.compile(r"auth|cookie|token|secret|key|password|session|credential", re.IGNORECASE)
_WANTS_TYPE = ("int_type", "float_type", "bool_type")


def load(path: str | Path, environ: Mapping[str, str]) -> Config:
    """Reads ``path``, with ``${VAR}`` from ``environ``. Raises ``ConfigInvalid`` whose
    ``extra["faults"]`` lists every ``{"file", "line", "message"}`` in the order of the file."""
    file = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise invalid(file, [Fault(line=1, message=_why_unreadable(error))]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise invalid(file, [Fault(line=line, message="the file is not UTF-8")]) from None
    return parse(text, environ, file=file)


def parse(text: str, environ: Mapping[str, str], *, file: str = "<text>") -> Config:
    """``load`` for a text at hand."""
    folder = Path(file).resolve().parent

    def elsewhere(written: str, path: KeyPath) -> Any:
        return foreign_variable(written, path, environ, folder)

    document = read(text, environ, elsewhere)
    faults = document.faults
    if faults and is_toml(text):
        message = "servers in TOML: `holdfast connect codex` moves them here, or write them as YAML"
        raise invalid(file, [Fault(line=1, message=message)])
    if document.data is None and faults:
        raise invalid(file, faults)
    adopt(document, folder)
    faults += _literal_secrets(document)
    config = _validated(document, faults)
    if config is None or faults:
        raise invalid(file, faults)
    return config.located(Places(file=file, document=document))


def _why_unreadable(error: OSError) -> str:
    return f"the file cannot be read: {error.strerror or type(error).__name__}"


def _validated(document: Document, faults: list[Fault]) -> Config | None:
    config, errors = _validate(document.data)
    if errors and _retyped(document, errors):
        config, errors = _validate(document.data)
    for error in errors:
        path = error["loc"]
        if any(path[: len(bad)] == bad for bad in document.unreadable if bad):
            continue  # said already, and better
        if error["type"] == "misplaced":
            for deeper, message in error["ctx"]["faults"]:
                at = (*path, *deeper)
                faults.append(Fault(line=document.line(at), message=f"{dotted(at)}: {message}"))
        else:
            faults.append(_fault(document, error))
    return config


def _validate(data: Any) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        # Through JSON: strict types, while lists may become tuples and text enumerations.
        return Config.model_validate_json(json.dumps(data)), []
    except ValidationError as invalid:
        return None, invalid.errors(include_url=False, include_context=True, include_input=False)


def _retyped(document: Document, errors: list[ErrorDetails]) -> bool:
    """Values from the environment are text; where a number or a truth value is wanted, they are
    read as one. Whether any was."""
    changed = False
    for error in errors:
        scalar = document.scalars.get(error["loc"])
        if error["type"] in _WANTS_TYPE and scalar is not None and scalar.interpolated:
            _put(document.data, error["loc"], scalar.typed())
            changed = True
    return changed


def _put(data: Any, path: KeyPath, value: Json) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def _fault(document: Document, error: ErrorDetails) -> Fault:
    path = tuple(part for part in error["loc"] if part != "[key]")
    where = ".".join(str(part) for part in path) or "the file"
    kind = error["type"]
    if kind == "extra_forbidden":
        if path in NOT_SERVED:
            message = f"{NOT_SERVED[path]} not served by this version: remove {where}"
        else:
            message = f"{where}: unknown key{_suggestion(path)}"
        return Fault(line=document.key_line(path), message=message)
    if kind == "missing":
        return Fault(line=document.line(path), message=f"{where}: required, but not given")
    line = document.key_line(path) if error["loc"][-1:] == ("[key]",) else document.line(path)
    message = error["msg"]
    if kind == "value_error":
        return Fault(line=line, message=f"{where}: {message.removeprefix('Value error, ')}")
    return Fault(line=line, message=f"{where}: {message[:1].lower()}{message[1:]}")


def _suggestion(path: KeyPath) -> str:
    model = _model_at(path[:-1])
    keys = [key_of(*field) for field in model.model_fields.items()] if model else []
    close = difflib.get_close_matches(str(path[-1]), keys, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    model: Any = Config
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            known = {key_of(*field): field[1] for field in model.model_fields.items()}
            model = known[str(part)].annotation if str(part) in known else None
        else:  # the index of a tuple or the name in a dict
            model = typing.get_args(model)[-1 if typing.get_origin(model) is dict else 0]
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _literal_secrets(document: Document) -> Iterator[Fault]:
    patterns = list(secret_paths())
    for path, scalar in document.scalars.items():
        if scalar.default_password:
            yield Fault(
                line=document.line(path),
                message=f"{dotted(path)}: a password must not be the default of a variable",
            )
        if _injected(path) and not _keeps_secrets(path[-1], scalar):
            yield Fault(
                line=document.line(path),
                message=f"{dotted(path)}: a credential must come from the environment: write "
                '"${SOME_VARIABLE}" where it belongs, without a default',
            )
        if scalar.from_environment or not any(_matches(path, p) for p in patterns):
            continue
        document.unreadable.add(path)
        yield Fault(
            line=document.line(path),
            message=f"{dotted(path)}: a secret must come from the environment: write "
            '"${SOME_VARIABLE}", without a default',
        )


def _injected(path: KeyPath) -> bool:
    return len(path) == 4 and path[0] == "tools" and path[2] == "headers"


def _keeps_secrets(header: str | int, scalar: Scalar) -> bool:
    """A header that carries credentials needs a variable, whatever words stand around it."""
    return _CREDENTIAL.search(str(header)) is None or scalar.names_a_secret


def _matches(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(
        want in ("*", have) for want, have in zip(pattern, path, strict=True)
    )


def secret_paths(
    model: type[BaseModel] = Config, at: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The key paths of tokens, ``*`` for any index or name."""
    for field, known in model.model_fields.items():
        name = key_of(field, known)
        if any(isinstance(m, SecretMarker) for m in known.metadata):
            yield (*at, name)
        for inner, path in nested(known.annotation, (*at, name)):
            yield from secret_paths(inner, path)


def key_of(name: str, field: FieldInfo) -> str:
    """The key under which a setting is written."""
    return field.alias or name


def nested(
    annotation: Any, path: tuple[str, ...]
) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """The models inside an annotation, with the path at which each stands."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, path
        return
    several = typing.get_origin(annotation) in (tuple, dict)
    for argument in typing.get_args(annotation):
        yield from nested(argument, (*path, "*") if several else path)
