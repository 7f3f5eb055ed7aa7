"""``/admin/audit``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from starlette.responses import Response

from gateway.audit import Verdict, verify
from gateway.errors import Malformed, PreconditionFailed
from gateway.interfaces import AuditStore
from gateway.model import Json
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields, Query
from gateway.surfaces.bodies import read_optional_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.views import time_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

_PAGE = 1000
_MOST_SEQ = 2**53
_CHECKPOINT = re.compile(r"([1-9]\d{0,15}):([0-9a-f]{64})", re.ASCII)


async def listed(gateway: Gateway, visit: Visit) -> Act:
    after = visit.query.number("after", default=0, most=_MOST_SEQ)
    limit = visit.query.number("limit", default=100, most=_PAGE, least=1)

    async def run() -> Response:
        entries = await gateway.store.entries(after=after, limit=limit)
        shown = [{"seq": e.seq, "hash": e.hash, "body": e.body} for e in entries]
        more = entries[-1].seq if len(entries) == limit else None
        return answer({"entries": shown, "after": more})

    return Act(what="audit.read", about={"after": after}, run=run)


async def verified(store: AuditStore, checkpoints: tuple[tuple[int, str], ...] = ()) -> Verdict:
    """Reads the whole log page by page, in a thread: neither memory nor the loop holds it."""
    loop = asyncio.get_running_loop()

    def entries() -> Iterator[tuple[int, str, str]]:
        after = 0
        while True:
            read = store.entries(after=after, limit=_PAGE)
            page = asyncio.run_coroutine_threadsafe(read, loop).result()
            yield from ((e.seq, e.hash, e.body) for e in page)
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    return await asyncio.to_thread(lambda: verify(entries(), checkpoints))


async def check(gateway: Gateway, visit: Visit) -> Act:
    checkpoints = checkpoints_of(visit.query)

    async def run() -> Response:
        return answer(verdict_json(await verified(gateway.store, checkpoints)))

    return Act(what="audit.verify", run=run)


def checkpoints_of(query: Query) -> tuple[tuple[int, str], ...]:
    """``checkpoint=SEQ:HASH`` of an earlier checkpoint, if any."""
    given = query.text("checkpoint")
    if given is None:
        return ()
    match = _CHECKPOINT.fullmatch(given)
    if match is None:
        raise Malformed("'checkpoint' must be SEQ:HASH.")
    return ((int(match[1]), match[2]),)


def verdict_json(verdict: Verdict) -> dict[str, Json]:
    fault = verdict.fault
    return {
        "ok": fault is None,
        "entries": verdict.entries,
        "head": verdict.head,
        "fault": None if fault is None else {"seq": fault.seq, "why": fault.why},
    }


async def checkpoint(gateway: Gateway, visit: Visit) -> Act:
    fields = Fields(await read_optional_json(visit.request, gateway.bounds))
    fields.end()

    async def run() -> Response:
        verdict = await verified(gateway.store)
        if verdict.fault is not None:
            raise PreconditionFailed(
                "The log does not verify; no checkpoint was made.", **verdict_json(verdict)
            )
        at = time_json(gateway.clock.now())
        document = {"seq": verdict.entries, "hash": verdict.head, "at": at}
        return answer(document, status=201)

    return Act(what="audit.checkpoint", run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/audit",
        access=Access.ADMIN,
        read=listed,
        summary="Audit entries, each body byte for byte as it was hashed.",
        query={
            "after": {"type": "integer", "minimum": 0, "default": 0},
            "limit": {"type": "integer", "minimum": 1, "maximum": _PAGE, "default": 100},
        },
        answers={200: "AuditEntries"},
    ),
    Endpoint(
        method="GET",
        path="/admin/audit/verify",
        access=Access.ADMIN,
        read=check,
        summary="Verifies the whole log and names the first bad entry.",
        query={"checkpoint": {"type": "string", "pattern": _CHECKPOINT.pattern}},
        answers={200: "AuditVerdict"},
    ),
    Endpoint(
        method="POST",
        path="/admin/audit/checkpoints",
        access=Access.ADMIN,
        read=checkpoint,
        summary="Verifies the log and gives its end, to be kept elsewhere.",
        body="Nothing",
        optional_body=True,
        answers={201: "Checkpoint"},
    ),
)
