"""``/admin/policies``."""

from __future__ import annotations

import hashlib
import re

from starlette.responses import Response

from gateway.errors import Malformed, NotFound
from gateway.surfaces import headers
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


async def listed(gateway: Gateway, _visit: Visit) -> Act:
    async def run() -> Response:
        files = [
            {"name": name, "sha256": sha256_of(text)}
            for name, text in sorted(gateway.policy.files().items())
        ]
        return answer({"revision": gateway.policy.revision, "policies": files})

    return Act(what="policies.list", run=run)


def name_of(visit: Visit) -> str:
    """The name of a file, without any way out of its folder. Raises ``NotFound``."""
    name = str(visit.request.path_params["name"])
    if _NAME.fullmatch(name) is None:
        raise NotFound("There is no such policy file.")
    return name


async def show(gateway: Gateway, visit: Visit) -> Act:
    name = name_of(visit)

    async def run() -> Response:
        text = gateway.policy.files().get(name)
        if text is None:
            raise NotFound("There is no such policy file.")
        revision = gateway.policy.revision
        document = {"name": name, "text": text, "sha256": sha256_of(text), "revision": revision}
        return answer(document, headers={"ETag": f'"{revision}"'})

    return Act(what="policies.show", about={"policy": name}, run=run)


async def put(gateway: Gateway, visit: Visit) -> Act:
    name = name_of(visit)
    if_match = headers.if_match(visit.request)
    fields = Fields(await read_json(visit.request, gateway.bounds))
    text = fields.take("text")
    fields.end()
    if not isinstance(text, str) or "\0" in text:
        raise Malformed("'text' must be the whole text of the file.")

    async def run() -> Response:
        revision = await gateway.policy.put(name, text, if_match)
        return answer({"name": name, "revision": revision}, headers={"ETag": f'"{revision}"'})

    about = {"policy": name, "sha256": sha256_of(text), "if_match": if_match}
    return Act(what="policies.put", about=about, run=run)


async def test(gateway: Gateway, _visit: Visit) -> Act:
    async def run() -> Response:
        report = await gateway.policy.test()
        return answer(
            {
                "passed": report.passed,
                "failed": [dict(failure) for failure in report.failed],
                "revision": gateway.policy.revision,
            }
        )

    return Act(what="policies.test", run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/policies",
        access=Access.ADMIN,
        read=listed,
        summary="The policy files in force.",
        answers={200: "Policies"},
    ),
    Endpoint(
        method="POST",
        path="/admin/policies/test",
        access=Access.ADMIN,
        read=test,
        summary="Runs the policies' own tests.",
        answers={200: "PolicyTests"},
    ),
    Endpoint(
        method="GET",
        path="/admin/policies/{name}",
        access=Access.ADMIN,
        read=show,
        summary="One policy file.",
        answers={200: "Policy"},
    ),
    Endpoint(
        method="PUT",
        path="/admin/policies/{name}",
        access=Access.ADMIN,
        read=put,
        summary="Replaces a policy file after compiling and testing the whole set aside.",
        headers=("If-Match",),
        body="PolicyText",
        answers={200: "PolicyRevision"},
    ),
)
