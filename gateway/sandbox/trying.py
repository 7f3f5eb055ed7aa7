"""Which requests a rehearsal sends: ids from the sandbox's own listings, bodies from the tool's
description or from what stands there, slightly changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from gateway.model import Json
from gateway.upstreams.openapi.document import Operation
from gateway.upstreams.openapi.samples import NoSample, sample_of

_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
CHANGED = " (rehearsed)"


class CannotTry(Exception):
    """The message says what the rehearsal would need to be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a person gives for a route: the variables of its path and a body."""

    params: Mapping[str, str] = field(default_factory=dict)
    body: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One request. ``watched``: paths whose answers have to be the same afterwards."""

    method: str
    path: str
    body: Json
    watched: tuple[str, ...]


class Trials:
    """``sandbox`` speaks to the tool directly, with its credentials."""

    def __init__(
        self, sandbox: httpx.AsyncClient, operations: Sequence[Operation], skip: int = 0
    ) -> None:
        self._sandbox = sandbox
        self._operations = {(o.method, o.path): o for o in operations}
        self._skip = skip

    async def trial(self, route: str, given: Sample | None) -> Trial:
        """Raises ``CannotTry``."""
        method, _, template = route.partition(" ")
        sample = given or Sample()
        path = await self._filled(template, sample.params)
        body = sample.body
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = await self._body(method, template, path)
        return Trial(method=method, path=path, body=body, watched=self._watched(template, path))

    def _watched(self, template: str, path: str) -> tuple[str, ...]:
        parent = path.rpartition("/")[0]
        if template.endswith("}") and parent:
            return path, parent
        return (path,)

    async def _filled(self, template: str, given: Mapping[str, str]) -> str:
        path = ""
        for part in template.split("/")[1:]:
            variable = _VARIABLE.fullmatch(part)
            if variable is None:
                path += f"/{part}"
            elif variable[1] in given:
                path += "/" + quote(given[variable[1]], safe="")
            else:
                path += "/" + quote(await self._id(path, variable[1]), safe="")
        return path

    async def _id(self, collection: str, name: str) -> str:
        """An id that the listing at ``collection`` shows; another one for each trial."""
        answer = await self._json(collection)
        listed = answer if isinstance(answer, list) else _lists(answer)
        found = [_id_in(item, name) for item in listed]
        ids = [id for id in found if id is not None]
        if not ids:
            raise CannotTry(f"GET {collection} lists no {name}: give one as a sample.")
        return ids[self._skip % len(ids)]

    async def _body(self, method: str, template: str, path: str) -> Json:
        operation = self._operations.get((method, template))
        if method == "POST":
            if operation is None or operation.body is None:
                raise CannotTry("No description tells what it takes: give a body as a sample.")
            try:
                return sample_of(operation.body)
            except NoSample as error:
                raise CannotTry(f"{error}: give a body as a sample.") from None
        standing = await self._json(path)
        if not isinstance(standing, dict):
            raise CannotTry(f"GET {path} shows no object: give a body as a sample.")
        name = _changeable(standing, path)
        changed = {name: str(standing[name]) + CHANGED}
        return changed if method == "PATCH" else {**standing, **changed}

    async def _json(self, path: str) -> Json:
        try:
            answer = await self._sandbox.get(path)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise CannotTry(f"GET {path} of the sandbox failed: {error}") from None


def _lists(answer: Json) -> list[Json]:
    members = answer.values() if isinstance(answer, dict) else ()
    return next((member for member in members if isinstance(member, list)), [])


def _id_in(item: Json, name: str) -> str | None:
    if isinstance(item, dict):
        item = item.get(name, item.get("id"))
    return str(item) if isinstance(item, str | int) and not isinstance(item, bool) else None


def _changeable(standing: Mapping[str, Json], path: str) -> str:
    own = path.rpartition("/")[2]
    for name, value in standing.items():
        if isinstance(value, str) and " " in value and value != own:
            return name  # a text for people rather than a code
    for name, value in standing.items():
        if isinstance(value, str) and value != own and name != "id":
            return name
    raise CannotTry(f"GET {path} shows no text that could be changed: give a body as a sample.")
