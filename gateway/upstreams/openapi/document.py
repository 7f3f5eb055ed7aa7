"""An OpenAPI 3 document as operations with their references resolved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 8 * 1024 * 1024
_METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
_MAX_HOPS = 32
_MAX_DEPTH = 6


class DocumentInvalid(ValueError):
    """Not an OpenAPI 3 document that can be read whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``inputs``: names of header parameters, lower case. ``body``: the schema of the JSON request
    body. ``answers``: by status, the JSON schema (or ``None``) and the names of headers, lower
    case."""

    method: str
    path: str
    inputs: frozenset[str]
    path_names: tuple[str, ...]
    body: Mapping[str, Any] | None
    answers: Mapping[str, tuple[Mapping[str, Any] | None, frozenset[str]]]

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"

    def success(self) -> tuple[Mapping[str, Any] | None, frozenset[str]] | None:
        """Schema and headers of the first 2xx answer that has a schema, or of any 2xx one."""
        found = [self.answers[status] for status in sorted(self.answers) if status[:1] == "2"]
        return next((answer for answer in found if answer[0]), found[0] if found else None)


def digest_of_document(text: str) -> str:
    """SHA-256 (hex) that a proof of what was derived from the document names it by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read(text: str) -> tuple[Operation, ...]:
    """Raises ``DocumentInvalid``; references out of the document are refused, never followed."""
    if len(text.encode()) > MAX_BYTES:
        raise DocumentInvalid(f"The document is over {MAX_BYTES} bytes.")
    try:
        document = json.loads(text) if text.lstrip()[:1] == "{" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DocumentInvalid(f"The document is neither JSON nor YAML: {error}") from None
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        raise DocumentInvalid("The document is not OpenAPI 3.")
    paths = document.get("paths")
    if not isinstance(paths, dict):
        raise DocumentInvalid("The document has no paths.")
    return tuple(_Reader(document).operations(paths))


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def operations(self, paths: Mapping[str, Any]) -> Iterator[Operation]:
        for path, item in paths.items():
            item = self._mapping(item, f"paths.{path}")
            shared = item.get("parameters", ())
            for method in _METHODS:
                if method in item:
                    where = f"{method.upper()} {path}"
                    yield self._operation(where, self._mapping(item[method], where), shared)

    def _operation(self, where: str, given: Mapping[str, Any], shared: Any) -> Operation:
        method, _, path = where.partition(" ")
        named = [
            self._mapping(parameter, where) for parameter in (*shared, *given.get("parameters", ()))
        ]
        answers = self._mapping(given.get("responses", {}), where)
        return Operation(
            method=method,
            path=path,
            inputs=frozenset(str(p.get("name")).lower() for p in named if p.get("in") == "header"),
            path_names=tuple(part[1:-1] for part in path.split("/") if part[:1] == "{"),
            body=self._json_schema(self._mapping(given.get("requestBody", {}), where)),
            answers={str(status): self._answer(a, where) for status, a in answers.items()},
        )

    def _answer(self, answer: Any, where: str) -> tuple[Mapping[str, Any] | None, frozenset[str]]:
        answer = self._mapping(answer, where)
        headers = self._mapping(answer.get("headers", {}), where)
        return self._json_schema(answer), frozenset(name.lower() for name in headers)

    def _json_schema(self, holder: Mapping[str, Any]) -> Mapping[str, Any] | None:
        for kind, media in self._mapping(holder.get("content", {}), "content").items():
            if kind.split(";")[0].strip().endswith(("/json", "+json")):
                media = self._mapping(media, kind)
                if "schema" in media:
                    return self.flat(media["schema"])
        return None

    def flat(self, schema: Any, depth: int = 0, hops: int = 0) -> Mapping[str, Any]:
        """The schema without references, ``allOf`` merged; below ``_MAX_DEPTH`` anything goes."""
        if isinstance(schema, bool) or depth > _MAX_DEPTH:
            return {}
        schema = self._mapping(schema, "schema")
        merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
        for part in schema.get("allOf", ()):
            if hops > _MAX_HOPS:
                raise DocumentInvalid("A schema refers to itself without end.")
            more = self.flat(part, depth, hops + 1)
            merged["properties"] = {**more.get("properties", {}), **merged.get("properties", {})}
            merged["required"] = [*merged.get("required", ()), *more.get("required", ())]
        merged["properties"] = {
            name: self.flat(value, depth + 1)
            for name, value in merged.get("properties", {}).items()
        }
        for key in ("anyOf", "oneOf"):
            if key in merged:
                merged[key] = [self.flat(choice, depth + 1) for choice in merged[key]]
        if "items" in merged:
            merged["items"] = self.flat(merged["items"], depth + 1)
        return merged

    def _mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        for _ in range(_MAX_HOPS):
            if not isinstance(value, Mapping):
                raise DocumentInvalid(f"{where} is not an object.")
            if "$ref" not in value:
                return value
            value = self._target(str(value["$ref"]))
        raise DocumentInvalid(f"{where} refers to itself without end.")

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise DocumentInvalid(f"{reference!r} lies outside the document and is not followed.")
        found: Any = self._document
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise DocumentInvalid(f"{reference!r} names nothing.")
            found = found[key]
        return found
