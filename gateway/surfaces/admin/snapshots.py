"""``/admin/snapshots``."""

from __future__ import annotations

from starlette.responses import Response

from gateway.errors import NotFound
from gateway.interfaces import SnapshotInfo, SnapshotStore
from gateway.model import Json
from gateway.surfaces.admin import paging
from gateway.surfaces.answers import answer
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.hiding import hiding
from gateway.surfaces.views import snapshot_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

_MOST_OFFSET = 10**12


async def listed(gateway: Gateway, visit: Visit) -> Act:
    page = paging.page_of(visit.query)
    call = visit.query.text("call")

    async def run() -> Response:
        found, cursor = await gateway.store.snapshots(
            call=call, limit=page.limit, cursor=page.cursor
        )
        return answer({"snapshots": [snapshot_json(s) for s in found], "cursor": cursor})

    return Act(what="snapshots.list", about={"call": call}, run=run)


async def show(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()
    limit = paging.page_of(visit.query).limit
    offset = visit.query.number("offset", default=0, most=_MOST_OFFSET)

    async def run() -> Response:
        info = await found(gateway.store, id)
        images = await _images(gateway, info, offset, limit)
        more = images is not None and len(images) == limit
        document = {
            **snapshot_json(info),
            "images": images,
            "offset": offset,
            "next_offset": offset + limit if more else None,
        }
        return answer(document)

    return Act(what="snapshots.show", about={"snapshot": id, "offset": offset}, run=run)


async def found(store: SnapshotStore, id: str) -> SnapshotInfo:
    """Raises ``NotFound``."""
    info = await store.snapshot(id)
    if info is None:
        raise NotFound("There is no such snapshot.")
    return info


async def _images(
    gateway: Gateway, info: SnapshotInfo, offset: int, limit: int
) -> list[dict[str, Json]] | None:
    """``None`` once they were deleted, or when their source is no longer configured."""
    reader = gateway.images.get(info.upstream)
    if reader is None or info.deleted_at is not None:
        return None
    undo = await gateway.store.undo_of(info.call)
    if undo is None:
        return None
    hidden = await hiding(gateway, [info.call], own=False)
    images = await reader.images(undo, offset=offset, limit=limit)
    return [hidden.image(info.call, image) for image in images]


async def delete(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        if not await gateway.store.delete_snapshot(id, by=visit.subject.id):
            raise NotFound("There is no such snapshot.")
        return answer({"id": id, "deleted": True})

    return Act(what="snapshots.delete", about={"snapshot": id}, run=run)


async def rotate(gateway: Gateway, visit: Visit) -> Act:
    async def run() -> Response:
        turned = await gateway.store.rotate_keys(by=visit.subject.id)
        return answer(
            {
                "key": turned.key,
                "rewrapped": turned.rewrapped,
                "damaged": turned.damaged,
                "plain": turned.plain,
            }
        )

    return Act(what="snapshots.rotate", about={}, run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/snapshots",
        access=Access.ADMIN,
        read=listed,
        summary="Snapshots, newest first.",
        query={"call": {"type": "string"}, **paging.SCHEMA},
        answers={200: "Snapshots"},
    ),
    Endpoint(
        method="GET",
        path="/admin/snapshots/{id}",
        access=Access.ADMIN,
        read=show,
        summary="One snapshot and a page of its images.",
        query={
            "limit": paging.SCHEMA["limit"],
            "offset": {"type": "integer", "minimum": 0, "default": 0},
        },
        answers={200: "Snapshot"},
    ),
    Endpoint(
        method="DELETE",
        path="/admin/snapshots/{id}",
        access=Access.ADMIN,
        read=delete,
        summary="Deletes the images for good; the call can no longer be taken back.",
        answers={200: "Deleted"},
    ),
    Endpoint(
        method="POST",
        path="/admin/snapshots/rotate",
        access=Access.ADMIN,
        read=rotate,
        summary="Puts the keys of all images under the active key; the images stay as they are.",
        answers={200: "Rotated"},
    ),
)
