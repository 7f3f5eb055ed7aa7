"""The tools of a server as people approved them. A tool whose name, description, schemas or
annotations are not the approved ones is not there until somebody approves it again."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import rfc8785

from gateway.interfaces import Clock
from gateway.interfaces.mcp import Pin, PinStore
from gateway.model import Json
from gateway.upstreams.mcp.schemas import ArgumentCheck, SchemaUnusable
from gateway.upstreams.mcp.suspicion import (
    bad_icons,
    shown_document,
    warnings,
    without_bad_icons,
)

_log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
FIRST_USE = "first_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """``check`` is ``None`` where the schema cannot be used; ``fault`` says why the tool cannot
    be used, if so. ``shown``: the document for agents. ``headed``: the arguments that its requests
    repeat in headers, by path."""

    name: str
    document: Mapping[str, Json]
    shown: Mapping[str, Json]
    check: ArgumentCheck | None
    fault: str | None
    headed: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def schema(self) -> Json:
        return self.document.get("inputSchema")

    @property
    def annotations(self) -> Mapping[str, Json]:
        found = self.document.get("annotations")
        return found if isinstance(found, dict) else {}


def digest_of_tool(document: Mapping[str, Json]) -> str:
    """Over what a model or a person is told about the tool, and what it accepts."""
    return hashlib.sha256(rfc8785.dumps(_pinned(document))).hexdigest()


def _pinned(document: Mapping[str, Json]) -> dict[str, Json]:
    """Icons count where they are more than pictures: then a person has to look."""
    names = (*_PINNED, "icons") if bad_icons(document) else _PINNED
    return {key: document[key] for key in names if key in document}


class Catalog:
    """``mode``: ``first_use`` approves what is seen first, unless there is something hidden in it;
    ``approved`` approves nothing by itself."""

    def __init__(self, server: str, *, pins: PinStore, clock: Clock, mode: str) -> None:
        # The SDK takes a second of CPU to import, which whoever has no MCP server need not pay; who
        # has one pays it here, at the start, and not in a request.
        import mcp.shared.inbound  # noqa: F401

        self._server = server
        self._store = pins
        self._clock = clock
        self._mode = mode
        self._pins: dict[str, Pin] | None = None
        self._made: dict[tuple[str, bool], Tool] = {}  # by digest and whether it is usable

    async def take(self, documents: Sequence[Json]) -> dict[str, Tool]:
        """The tools of a ``tools/list``, each compared with what is approved."""
        pins = await self._known()
        tools: dict[str, Tool] = {}
        for document in documents:
            name = document.get("name") if isinstance(document, dict) else None
            if not isinstance(name, str) or NAME.fullmatch(name) is None or name in tools:
                _log.warning("a tool of %s has no acceptable name: %.100r", self._server, name)
                continue
            pin = await self._seen(name, document, pins.get(name))
            pins[name] = pin
            tools[name] = self._tool(name, document, pin)
        return tools

    async def pins(self) -> list[Pin]:
        return sorted((await self._known()).values(), key=lambda pin: pin.tool)

    async def approve(self, tool: str, *, seen: str | None, by: str) -> Pin | None:
        """Approves the tool as it was seen last; with ``seen``, only if that is its digest."""
        pins = await self._known()
        pin = pins.get(tool)
        if pin is None or (seen is not None and pin.seen != seen):
            return None
        pins[tool] = replace(pin, approved=pin.seen, by=by, updated_at=self._clock.now())
        await self._store.put_pin(pins[tool])
        return pins[tool]

    async def _known(self) -> dict[str, Pin]:
        if self._pins is None:
            self._pins = {pin.tool: pin for pin in await self._store.pins(self._server)}
        return self._pins

    async def _seen(self, name: str, document: Mapping[str, Json], pin: Pin | None) -> Pin:
        digest = digest_of_tool(document)
        if pin is not None and pin.seen == digest:
            return pin
        found = warnings(_pinned(document))
        approved = None if pin is None else pin.approved
        if pin is None and self._mode == FIRST_USE and not found:
            approved = digest
        kept = Pin(
            server=self._server,
            tool=name,
            seen=digest,
            approved=approved,
            document=shown_document(_pinned(document)),
            warnings=found,
            updated_at=self._clock.now(),
            by="server" if pin is not None else self._mode,
        )
        await self._store.put_pin(kept)
        if not kept.usable:
            _log.warning("the tool %s of %s waits for approval", name, self._server)
        return kept

    def _tool(self, name: str, document: Mapping[str, Json], pin: Pin) -> Tool:
        known = self._made.get((pin.seen, pin.usable))
        if known is not None and known.document == document:
            return known
        fault: str | None = None
        check: ArgumentCheck | None = None
        if not pin.usable:
            fault = "it is not the one that was approved, or nobody has approved it yet"
        if _task_only(document):
            fault = fault or "it can be called as a task only, and tasks are not served"
        try:
            check = ArgumentCheck(document.get("inputSchema"))
        except SchemaUnusable as unusable:
            fault = fault or str(unusable)
        from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map

        schema = document.get("inputSchema")
        headed = {} if find_invalid_x_mcp_header(schema) else x_mcp_header_map(schema)
        tool = Tool(
            name=name,
            document=document,
            shown=without_bad_icons(document),
            check=check,
            fault=fault,
            headed=headed,
        )
        self._made[(pin.seen, pin.usable)] = tool
        return tool


def _task_only(document: Mapping[str, Json]) -> bool:
    execution = document.get("execution")
    return isinstance(execution, dict) and execution.get("taskSupport") == "required"
