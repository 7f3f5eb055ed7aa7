"""``/openapi.json``: OpenAPI 3.1, made from the endpoints themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import Response

from gateway import __version__
from gateway.model import Json
from gateway.surfaces.answers import answer
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.problems import MEDIA_TYPE
from gateway.surfaces.schemas import SCHEMAS, ref
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

_PARAMETER = re.compile(r"\{([a-z_]+)(?::[a-z]+)?\}")
_SCHEMES: dict[Access, list[Json]] = {
    Access.OPEN: [],
    Access.AGENT: [{"agent": []}],
    Access.EITHER: [{"agent": []}, {"admin": []}],
    Access.ADMIN: [{"admin": []}],
    Access.SCRAPE: [{"admin": []}, {"metrics": []}],
}


def description(endpoints: Sequence[Endpoint]) -> dict[str, Json]:
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint)
    bearer = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": __version__,
            "description": "Agents act through it; people can take it back.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "agent": {**bearer, "description": "an agent's token"},
                "admin": {**bearer, "description": "the admin token"},
                "metrics": {**bearer, "description": "telemetry.metrics_token"},
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Json]:
    operation: dict[str, Json] = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "security": _SCHEMES[endpoint.access],
        "parameters": _parameters(endpoint),
        "responses": {
            **{
                str(status): _response(status, name, endpoint.media_type)
                for status, name in endpoint.answers.items()
            },
            "default": {
                "description": "A refusal or failure",
                "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
            },
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.optional_body,
            "content": {"application/json": {"schema": ref(endpoint.body)}},
        }
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"[a-z]+", _PARAMETER.sub(r"\1", endpoint.path))
    return "_".join([endpoint.method.lower(), *words])


def _parameters(endpoint: Endpoint) -> list[dict[str, Json]]:
    text = {"type": "string"}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    in_query = [
        {"name": name, "in": "query", "schema": schema} for name, schema in endpoint.query.items()
    ]
    in_headers = [{"name": name, "in": "header", "schema": text} for name in endpoint.headers]
    return [*in_path, *in_query, *in_headers]


def _response(status: int, name: str | None, media_type: str) -> dict[str, Json]:
    response: dict[str, Json] = {"description": HTTPStatus(status).phrase}
    if name is not None:
        response["content"] = {"application/json": {"schema": ref(name)}}
    else:
        response["content"] = {media_type: {"schema": {"type": "string"}}}
    return response


def endpoint_for(endpoints: Sequence[Endpoint]) -> Endpoint:
    """``GET /openapi.json`` for ``endpoints`` and itself."""

    async def read(_gateway: Gateway, _visit: Visit) -> Act:
        async def run() -> Response:
            return answer(described)

        return Act(what="openapi", run=run)

    own = Endpoint(
        method="GET",
        path="/openapi.json",
        access=Access.OPEN,
        read=read,
        summary="This description.",
        answers={200: "OpenApi"},
    )
    described = description([*endpoints, own])
    return own
