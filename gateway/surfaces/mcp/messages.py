"""One POST body as one JSON-RPC message, and the checks that come before anybody acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from starlette.requests import Request

from gateway.errors import Malformed
from gateway.interfaces.mcp import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    CURRENT,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LOG_LEVEL_KEY,
    PARSE_ERROR,
    PREVIOUS,
    VERSION_KEY,
    Client,
    McpFault,
)
from gateway.model import Json
from gateway.surfaces.bodies import read_json
from gateway.surfaces.mcp.exchange import LEVELS
from gateway.surfaces.wiring import Bounds

UNSUPPORTED_VERSION = -32022
MISMATCH = -32020
_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_STATUS = {-32601: 404}
_BAD_REQUEST = frozenset({PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, MISMATCH, -32021, -32022})


class Kind(StrEnum):
    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """``document`` is the whole message; ``current`` whether it is of the stateless era."""

    kind: Kind
    document: Mapping[str, Json]
    current: bool
    id: Json = None
    method: str = ""
    params: Mapping[str, Json] = field(default_factory=dict)

    @property
    def meta(self) -> Mapping[str, Json]:
        found = self.params.get("_meta")
        return found if isinstance(found, dict) else {}

    @property
    def progress_token(self) -> Json:
        return self.meta.get("progressToken")


class BadMessage(Exception):
    """A message that is answered by an error before anybody acts on it. ``id`` as far as it is
    known."""

    def __init__(self, fault: McpFault, id: Json = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.id = id


async def read_message(request: Request, bounds: Bounds) -> Message:
    """Raises ``BadMessage``, and ``HoldfastError`` for a body that is too large, too slow or of
    another type."""
    try:
        document = await read_json(request, bounds)
    except Malformed as error:
        if "position" not in error.extra:
            raise
        raise BadMessage(McpFault(PARSE_ERROR, error.detail)) from None
    message = _message(document, request)
    _check_headers(message, request)
    return message


def _message(document: Json, request: Request) -> Message:
    if not isinstance(document, dict):
        raise _bad("The body must be one JSON-RPC message; batches are not accepted.")
    id = document.get("id")
    if "id" in document and not _is_id(id):
        raise _bad("An id must be a text of at most 256 characters or a whole number.")
    if document.get("jsonrpc") != "2.0" or not _MEMBERS.issuperset(document):
        raise _bad("The body is not a JSON-RPC 2.0 message.", id)
    method, params = document.get("method"), document.get("params", {})
    if method is None:
        return _response(document, id)
    if not isinstance(method, str) or not 1 <= len(method) <= 128:
        raise _bad("The method must be a text.", id)
    if not isinstance(params, dict) or not isinstance(params.get("_meta", {}), dict):
        raise BadMessage(McpFault(INVALID_PARAMS, "params and its _meta must be objects."), id)
    return Message(
        kind=Kind.REQUEST if "id" in document else Kind.NOTIFICATION,
        document=document,
        current=_is_current(params, request),
        id=id,
        method=method,
        params=params,
    )


def _response(document: Mapping[str, Json], id: Json) -> Message:
    if id is None or ("result" in document) == ("error" in document):
        raise _bad("The body is neither a request nor a response.", id)
    return Message(kind=Kind.RESPONSE, document=document, current=False, id=id)


def _is_id(id: Json) -> bool:
    if isinstance(id, str):
        return len(id) <= 256
    return isinstance(id, int) and not isinstance(id, bool)


def _is_current(params: Mapping[str, Json], request: Request) -> bool:
    # Either of the two makes it current; that they agree is checked next.
    header = request.headers.get("mcp-protocol-version")
    return header == CURRENT or VERSION_KEY in (params.get("_meta") or {})


def _check_headers(message: Message, request: Request) -> None:
    # Slow to import: the catalogs of servers do it at the start, where there are any.
    from mcp.shared.inbound import (
        InboundLadderRejection,
        classify_inbound_request,
        find_duplicated_routing_header,
    )

    repeated = find_duplicated_routing_header(request.headers.items())
    if repeated is not None:
        raise BadMessage(McpFault(MISMATCH, f"The header {repeated} is given twice."), message.id)
    if message.current and message.kind is Kind.REQUEST:
        verdict = classify_inbound_request(message.document, headers=_trimmed(request))
        if isinstance(verdict, InboundLadderRejection):
            fault = McpFault(verdict.code, verdict.message, verdict.data)
            raise BadMessage(fault, message.id)
        return
    version = request.headers.get("mcp-protocol-version")
    if version is not None and version not in (CURRENT, *PREVIOUS):
        known = {"supported": [CURRENT, *PREVIOUS], "requested": version[:64]}
        fault = McpFault(UNSUPPORTED_VERSION, "Unsupported protocol version", known)
        raise BadMessage(fault, message.id)


def _trimmed(request: Request) -> dict[str, str]:
    # Blanks around a value are no part of it; not every HTTP parser takes them off.
    return {name: value.strip(" \t") for name, value in request.headers.items()}


def _bad(why: str, id: Json = None) -> BadMessage:
    return BadMessage(McpFault(INVALID_REQUEST, why), id if _is_id(id) else None)


def client_of(message: Message, owner: str) -> Client:
    """The client as a message of the current era describes it. Raises ``McpFault``."""
    capabilities, info = message.meta.get(CAPABILITIES_KEY), message.meta.get(CLIENT_KEY)
    level = message.meta.get(LOG_LEVEL_KEY)
    if not isinstance(capabilities, dict) or not isinstance(info, dict | None):
        raise McpFault(INVALID_PARAMS, "The client's capabilities and info must be objects.")
    if level is not None and level not in LEVELS:
        raise McpFault(INVALID_PARAMS, "There is no such log level.")
    return Client(owner=owner, capabilities=capabilities, info=info, log_level=level)


def status_of(code: int, *, current: bool) -> int:
    """The HTTP status that goes with an error. Before the current era, only messages that cannot
    be read have one of their own."""
    if current:
        return 400 if code in _BAD_REQUEST else _STATUS.get(code, 200)
    return 400 if code in (PARSE_ERROR, INVALID_REQUEST, UNSUPPORTED_VERSION, MISMATCH) else 200
